"""Weights of a graph: their constants, their values, and the layers that use them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.graph.operations import (
    FLOATS,
    count_elements,
    find_bodies,
    is_constant,
    walk_operations,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import openvino as ov
    from numpy.typing import NDArray

# Inputs that may be weights, by type of layer.
WEIGHT_INPUTS = {
    "Convolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (1,),
    "GroupConvolutionBackpropData": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
    "DeformableConvolution": (2,),
    "EmbeddingBagOffsets": (0,),
    "EmbeddingBagOffsetsSum": (0,),
    "EmbeddingBagPacked": (0,),
    "EmbeddingBagPackedSum": (0,),
    "EmbeddingSegmentsSum": (0,),
    "LSTMCell": (3, 4),
    "GRUCell": (2, 3),
    "RNNCell": (2, 3),
    "LSTMSequence": (4, 5),
    "GRUSequence": (3, 4),
    "RNNSequence": (3, 4),
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
_PASSED = {
    "Convert", "FakeConvert", "FakeQuantize", "Multiply", "Reshape", "Squeeze", "Subtract",
    "Transpose", "Unsqueeze",
}  # fmt: skip
_SHAPING = {"Convert", "Reshape", "Transpose"}
_MIN_EMBEDDING = 1024  # a smaller table holds shapes or indices


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Weights at one input of a layer; ``path`` leads from the layer to their constant.

    ``in_body``: whether the layer is in the body of a loop or of a branch.
    """

    layer: Any
    index: int
    constant: Any
    path: tuple[Any, ...]
    in_body: bool = False

    @property
    def name(self) -> str:
        """The name of the layer."""
        return str(self.layer.get_friendly_name())

    @property
    def plain(self) -> bool:
        """Whether the constant holds the weights in floating point, up to their shape."""
        return self.constant.get_element_type().get_type_name() in FLOATS and all(
            node.get_type_name() in _SHAPING for node in self.path
        )

    @property
    def replaceable(self) -> bool:
        """Whether methods can rewrite the weights: plain, and not of recurrent cells or bodies."""
        kind = self.layer.get_type_name()
        return self.plain and not self.in_body and (kind == "MatMul" or kind in _CHANNEL_AXES)

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
    """Yield the weights of convolutions, products, recurrent cells and embeddings, in order.

    The bodies of loops and branches are included. Weights that several layers share are yielded for
    each layer.
    """
    return _find_weights(model, {}, in_body=False)


def _find_weights(
    model: ov.Model, bound: Mapping[str, Any], *, in_body: bool
) -> Iterator[LayerWeights]:
    for operation in model.get_ordered_ops():
        for index in WEIGHT_INPUTS.get(operation.get_type_name(), ()):
            weights = _trace_weights(operation, index, bound)
            if weights is not None:
                yield replace(weights, in_body=in_body)
        for body in find_bodies(operation):
            yield from _find_weights(body.model, {**bound, **body.bound}, in_body=True)


def _trace_weights(operation: Any, index: int, bound: Mapping[str, Any]) -> LayerWeights | None:
    """Return the weights at an input, or None if the input does not come from a constant."""
    is_gather = operation.get_type_name() == "Gather"
    if is_gather and classify_codebook(operation):
        return None  # it is on the path to the layer that it decodes for
    constant, path = trace_constant(operation.input_value(index), bound)
    if constant is None or (is_gather and not is_embedding(operation, constant)):
        return None
    return LayerWeights(operation, index, constant, path)


def trace_constant(value: Any, bound: Mapping[str, Any]) -> tuple[Any | None, tuple[Any, ...]]:
    """Return the constant that a value decodes, and the nodes that decode it, the last first.

    The constant is None where the value depends on an input or on several constants.
    """
    node, path = value.get_node(), []
    while node.get_type_name() != "Constant":
        kind = node.get_type_name()
        if kind == "Parameter" and node.get_name() in bound:
            node = bound[node.get_name()].get_node()
            continue
        codebook = classify_codebook(node)
        if not codebook and kind not in _PASSED:
            return None, ()
        data = 1 if codebook == "stored" else 0
        if kind in {"Multiply", "Subtract"}:
            others = [node.input_value(i) for i in (0, 1)]
            data = int(_count_static(others[1]) > _count_static(others[0]))
            if not is_constant(others[1 - data].get_node()):
                return None, ()
        path.append(node)
        node = node.input_value(data).get_node()
    return node, tuple(path)


def is_embedding(gather: Any, constant: Any) -> bool:
    """Return whether the table of a Gather holds weights, rather than shapes or indices."""
    kind = gather.get_element_type()
    low_bit = kind.get_type_name() not in {"boolean", "string"} and kind.bitwidth <= 8
    return count_weights(constant) >= _MIN_EMBEDDING and (kind.get_type_name() in FLOATS or low_bit)


def drop_shared(weights: Iterable[LayerWeights]) -> list[LayerWeights]:
    """Return the weights without those of a constant that was yielded before.

    A file stores constants of equal values once. Equal values of a whole layer are shared weights,
    such as tied embeddings, unless they are all the same number.
    """
    distinct: dict[object, LayerWeights] = {}
    for stored in weights:
        distinct.setdefault(identify_constant(stored.constant), stored)
    return list(distinct.values())


def identify_constant(constant: Any) -> object:
    """Return a key that is equal for constants which are the same parameters of a network."""
    data: NDArray[Any] = constant.data
    head = data.ravel()[:64]
    if (head == head[:1]).all() and (data == head[:1]).all():  # zeros, ones: equal by accident
        return constant.get_name()
    return data.ctypes.data, data.nbytes


def classify_codebook(node: Any) -> Literal["stored", "computed"] | None:
    """Return whether the indices into a table of weights are stored or computed.

    Both the table and the indices are constants, and the indices are more than the table has
    values.  ``stored`` indices are a constant, and its bits count instead of those of the table.
    ``computed`` indices are a hash in the graph. The kind of any other node is None.
    """
    if node.get_type_name() != "Gather":
        return None
    table, indices = _skip_casts(node.input_value(0)), _skip_casts(node.input_value(1))
    if table.get_node().get_type_name() != "Constant" or indices.get_partial_shape().is_dynamic:
        return None
    if _count_static(indices) <= _count_static(table):
        return None
    if indices.get_node().get_type_name() == "Constant":
        return "stored"
    return "computed" if is_constant(indices.get_node()) else None


def _skip_casts(value: Any) -> Any:
    """Return where a value comes from, up to its type and shape."""
    while value.get_node().get_type_name() in {"Convert", "Reshape"}:
        value = value.get_node().input_value(0)
    return value


def count_weights(constant: Any) -> int:
    """Return the number of elements of a constant."""
    return count_elements(constant.get_output_shape(0))


def _count_static(value: Any) -> int:
    """Return the number of elements of a value; 0 if its shape is dynamic."""
    shape = value.get_partial_shape()
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
    """Count the weights of :func:`find_weights` by their stored type.

    Biases, scales and zero points are not counted. Shared weights count once.
    """
    weights = list(find_weights(model))
    on_weights = {node.get_name() for w in weights for node in w.path}
    by_type: dict[str, list[Any]] = {}
    for constant in (stored.constant for stored in drop_shared(weights)):
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
    operations = walk_operations(model)
    quantizers = {o.get_name() for o in operations if o.get_type_name() == "FakeQuantize"}
    return WeightTypes(
        tuple(sorted(shares, key=lambda share: (-share.bits, share.type))),
        len(quantizers - on_weights),
    )
