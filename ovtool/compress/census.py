"""Counting in a graph what is stored in how many bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino as ov

# Layers that hold weights, and the inputs that may be them.
_WEIGHT_INPUTS = {
    "Convolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (1,),
    "GroupConvolutionBackpropData": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
}
# What stands between stored weights and the layer: decompression and changes of shape.
_PASSED = {"Convert", "FakeConvert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose"}
# Types that NumPy holds, without a zero point as NNCF writes them.
_ZERO_IS_ZERO = {"f64", "f32", "f16", "i8"}
_LEAST_GATHERED = 1024  # a smaller table is a shape or an index, not an embedding


@dataclass(frozen=True, slots=True)
class Share:
    """The weights that are stored in one type.

    ``zeros`` are those that are exactly 0; None of a type whose 0 lies elsewhere or is not told.
    """

    type: str
    bits: int
    layers: int
    weights: int
    share_pct: float
    zeros: int | None


@dataclass(frozen=True, slots=True)
class Census:
    """What a model's layers store.

    Args:
        shares: By type, the widest first.
        quantized_activations: Number of FakeQuantize operations that are not on weights.
    """

    shares: tuple[Share, ...]
    quantized_activations: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "weights": [asdict(share) for share in self.shares],
            "quantized_activations": self.quantized_activations,
        }


def count(model: ov.Model) -> Census:
    """Count the weights of convolutions, matrix products and embeddings by their stored type.

    Biases, scales and zero points are not counted.  Weights that several layers share count once.
    """
    stored: dict[str, Any] = {}
    on_weights: set[str] = set()
    operations = model.get_ordered_ops()
    for operation in operations:
        for index in _WEIGHT_INPUTS.get(operation.get_type_name(), ()):
            constant = _stored(operation, index, on_weights)
            if constant is not None:
                stored[constant.get_friendly_name()] = constant
    by_type: dict[str, list[Any]] = {}
    for constant in stored.values():
        by_type.setdefault(constant.get_element_type().get_type_name(), []).append(constant)
    total = sum(_size(constant) for constant in stored.values())
    shares = [
        Share(
            name,
            constants[0].get_element_type().bitwidth,
            len(constants),
            sum(map(_size, constants)),
            round(100 * sum(map(_size, constants)) / total, 2),
            sum(map(_zeros, constants)) if name in _ZERO_IS_ZERO else None,
        )
        for name, constants in by_type.items()
    ]
    quantizers = {o.get_friendly_name() for o in operations if o.get_type_name() == "FakeQuantize"}
    return Census(
        tuple(sorted(shares, key=lambda share: (-share.bits, share.type))),
        len(quantizers - on_weights),
    )


def _stored(operation: Any, index: int, on_weights: set[str]) -> Any:
    """Return the Constant behind an input, or None; notes the FakeQuantize passed on the way."""
    gathered = operation.get_type_name() == "Gather"
    node, passed = operation.input_value(index).get_node(), []
    while node.get_type_name() in _PASSED or _is_codebook(node):
        passed.append(node)
        node = node.input_value(1 if _is_codebook(node) else 0).get_node()
    if node.get_type_name() != "Constant" or (gathered and _size(node) < _LEAST_GATHERED):
        return None
    on_weights.update(n.get_friendly_name() for n in passed if n.get_type_name() == "FakeQuantize")
    return node


def _is_codebook(node: Any) -> bool:
    """Whether weights are looked up by stored indices (their bits count, not the table's)."""
    if node.get_type_name() != "Gather":
        return False
    indices = node.input_value(1).get_node()
    while indices.get_type_name() == "Convert":
        indices = indices.input_value(0).get_node()
    return bool(indices.get_type_name() == "Constant" and _size(indices) > _size_of_input(node))


def _size_of_input(node: Any) -> int:
    shape = node.input_value(0).get_partial_shape()
    return int(shape.get_length()) if shape.is_static and len(shape) == 0 else _elements(shape)


def _size(constant: Any) -> int:
    return _elements(constant.get_output_partial_shape(0))


def _zeros(constant: Any) -> int:
    values = constant.data
    return int(values.size - np.count_nonzero(values))


def _elements(shape: Any) -> int:
    product = 1
    for dimension in shape:
        product *= dimension.get_length() if dimension.is_static else 0
    return product
