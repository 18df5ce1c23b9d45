"""Weights of a graph: their constants, their values, and the layers that use them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.graph.operations import count_elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov
    from numpy.typing import NDArray

# Inputs that may be weights, by type of layer.
_WEIGHT_INPUTS = {
    "Convolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (1,),
    "GroupConvolutionBackpropData": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
}
# Axes of the weights that are output channels; of MatMul, all axes except the summed one.
_CHANNEL_AXES = {
    "Convolution": (0,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (0, 1),
    "GroupConvolutionBackpropData": (0, 2),
    "Gather": (0,),
}
# Types of nodes between the constant and the layer: decompression and reshaping.
_PASSED = {"Convert", "FakeConvert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose"}
_SHAPING = {"Convert", "Reshape", "Transpose"}
_FLOATS = {"f16", "bf16", "f32", "f64"}
_MIN_EMBEDDING = 1024  # a smaller table holds shapes or indices


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Weights at one input of a layer; ``path`` leads from the layer to their constant."""

    layer: Any
    index: int
    constant: Any
    path: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The name of the layer."""
        return str(self.layer.get_friendly_name())

    @property
    def plain(self) -> bool:
        """Whether the constant holds the weights in floating point, up to their shape."""
        return self.constant.get_element_type().get_type_name() in _FLOATS and all(
            node.get_type_name() in _SHAPING for node in self.path
        )

    @property
    def channel_axes(self) -> tuple[int, ...]:
        """The axes of :meth:`values` that are output channels."""
        kind, rank = self.layer.get_type_name(), len(self.layer.input(self.index).get_shape())
        if kind in _CHANNEL_AXES:
            return _CHANNEL_AXES[kind]
        transposed = self.layer.get_attributes()[f"transpose_{'ab'[self.index]}"]
        summed = max(0, rank - (1 if bool(transposed) == bool(self.index) else 2))
        return tuple(axis for axis in range(rank) if axis != summed)

    def values(self) -> NDArray[np.float32]:
        """Return plain weights in the shape of the input."""
        array: NDArray[np.float32] = self.constant.get_data(dtype=np.float32)
        for node in reversed(self.path):
            if node.get_type_name() == "Reshape":
                array = array.reshape(list(node.output(0).get_shape()))
            elif node.get_type_name() == "Transpose":
                array = array.transpose(node.input_value(1).get_node().get_data())
        return array

    def replace(self, node: Any) -> None:
        """Replace these weights for all readers by a node of the same shape and type."""
        source = self.layer.input_value(self.index)
        name = self.constant.get_friendly_name()
        source.replace(node.output(0))
        node.set_friendly_name(f"{name}/values")


def find_weights(model: ov.Model) -> Iterator[LayerWeights]:
    """Yield the weights of convolutions, matrix products and embeddings, in the order of the graph.

    Weights that several layers share are yielded for each layer.
    """
    for operation in model.get_ordered_ops():
        for index in _WEIGHT_INPUTS.get(operation.get_type_name(), ()):
            weights = _trace_weights(operation, index)
            if weights is not None:
                yield weights


def _trace_weights(operation: Any, index: int) -> LayerWeights | None:
    """Return the weights at an input, or None if the input does not come from a constant."""
    is_gather = operation.get_type_name() == "Gather"
    if is_gather and classify_codebook(operation):
        return None  # it is on the path to the layer that it decodes for
    node, path = operation.input_value(index).get_node(), []
    while node.get_type_name() in _PASSED or classify_codebook(node):
        path.append(node)
        node = node.input_value(1 if classify_codebook(node) == "stored" else 0).get_node()
    if node.get_type_name() != "Constant" or (is_gather and count_weights(node) < _MIN_EMBEDDING):
        return None
    return LayerWeights(operation, index, node, tuple(path))


def classify_codebook(node: Any) -> Literal["stored", "computed"] | None:
    """Return whether the indices into a table of weights are stored or computed.

    ``stored`` indices are a constant, and its bits count instead of those of the table.
    ``computed`` indices are a hash in the graph. The kind of any other node is None.
    """
    if node.get_type_name() != "Gather":
        return None
    indices = node.input_value(1)
    while indices.get_node().get_type_name() in {"Convert", "Reshape"}:
        indices = indices.get_node().input_value(0)
    if _count_static(indices.get_partial_shape()) <= _count_static(
        node.input_value(0).get_partial_shape()
    ):
        return None
    if indices.get_node().get_type_name() == "Constant":
        return "stored"
    return "computed" if _is_constant(indices.get_node()) else None


def _is_constant(node: Any) -> bool:
    """Return whether a value depends neither on inputs nor on states."""
    if node.get_type_name() in {"Parameter", "ReadValue"}:
        return False
    return all(_is_constant(value.get_node()) for value in node.input_values())


def count_weights(constant: Any) -> int:
    """Return the number of elements of a constant."""
    return count_elements(constant.get_output_shape(0))


def _count_static(shape: Any) -> int:
    """Return the number of elements of a shape; 0 if it is dynamic."""
    return count_elements(shape.to_shape()) if shape.is_static else 0


@dataclass(frozen=True, slots=True)
class TypeShare:
    """The weights that are stored in one type."""

    type: str
    bits: int
    layers: int
    weights: int
    share_pct: float


@dataclass(frozen=True, slots=True)
class WeightTypes:
    """Types in which the layers of a model store their weights, the widest first.

    ``quantized_activations`` is the number of FakeQuantize operations that are not on weights.
    """

    shares: tuple[TypeShare, ...]
    quantized_activations: int

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON types."""
        return {
            "weights": [asdict(share) for share in self.shares],
            "quantized_activations": self.quantized_activations,
        }


def count_weight_types(model: ov.Model) -> WeightTypes:
    """Count the weights of convolutions, matrix products and embeddings by their stored type.

    Biases, scales and zero points are not counted. Shared weights count once.
    """
    weights = list(find_weights(model))
    constants = {w.constant.get_friendly_name(): w.constant for w in weights}
    on_weights = {node.get_friendly_name() for w in weights for node in w.path}
    by_type: dict[str, list[Any]] = {}
    for constant in constants.values():
        by_type.setdefault(constant.get_element_type().get_type_name(), []).append(constant)
    counts = {name: sum(map(count_weights, same)) for name, same in by_type.items()}
    total = sum(counts.values())
    shares = [
        TypeShare(
            name,
            same[0].get_element_type().bitwidth,
            len(same),
            counts[name],
            round(100 * counts[name] / total, 2),
        )
        for name, same in by_type.items()
    ]
    operations = model.get_ordered_ops()
    quantizers = {o.get_friendly_name() for o in operations if o.get_type_name() == "FakeQuantize"}
    return WeightTypes(
        tuple(sorted(shares, key=lambda share: (-share.bits, share.type))),
        len(quantizers - on_weights),
    )
