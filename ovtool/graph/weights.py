"""The weights of a graph: where these are stored, their values, and the layers that use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov
    from numpy.typing import NDArray

# Layers that hold weights, and the inputs that may be them.
_WEIGHT_INPUTS = {
    "Convolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (1,),
    "GroupConvolutionBackpropData": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
}


# Axes of the weights that tell output channels apart; of MatMul, all but the one summed over.
_CHANNEL_AXES = {
    "Convolution": (0,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolution": (0, 1),
    "GroupConvolutionBackpropData": (0, 2),
    "Gather": (0,),
}


# What stands between stored weights and the layer: decompression and changes of shape.
_PASSED = {"Convert", "FakeConvert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose"}


_SHAPING = {"Convert", "Reshape", "Transpose"}


_FLOATS = {"f16", "bf16", "f32", "f64"}


_LEAST_GATHERED = 1024  # a smaller table is a shape or an index, not an embedding


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights of a layer.

    Args:
        layer: The operation that uses them.
        index: The input that they are.
        constant: What is stored.
        passed: Operations between the layer and the constant, from the layer on.
    """

    layer: Any
    index: int
    constant: Any
    passed: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.get_friendly_name())

    @property
    def plain(self) -> bool:
        """Whether floating-point weights are stored as they are, up to their shape."""
        return self.constant.get_element_type().get_type_name() in _FLOATS and all(
            node.get_type_name() in _SHAPING for node in self.passed
        )

    @property
    def channel_axes(self) -> tuple[int, ...]:
        """The axes of :meth:`values` that tell output channels apart."""
        kind, rank = self.layer.get_type_name(), len(self.layer.input(self.index).get_shape())
        if kind in _CHANNEL_AXES:
            return _CHANNEL_AXES[kind]
        turned = self.layer.get_attributes()[f"transpose_{'ab'[self.index]}"]
        summed = max(0, rank - (1 if bool(turned) == bool(self.index) else 2))
        return tuple(axis for axis in range(rank) if axis != summed)

    def values(self) -> NDArray[np.float32]:
        """Return plain weights in the shape that the layer reads."""
        array: NDArray[np.float32] = self.constant.get_data(dtype=np.float32)
        for node in reversed(self.passed):
            if node.get_type_name() == "Reshape":
                array = array.reshape(list(node.output(0).get_shape()))
            elif node.get_type_name() == "Transpose":
                array = array.transpose(node.input_value(1).get_node().get_data())
        return array

    def replace(self, node: Any) -> None:
        """Let all that reads these weights read a node of the same shape and type instead."""
        source = self.layer.input_value(self.index)
        name = self.constant.get_friendly_name()
        source.replace(node.output(0))
        node.set_friendly_name(f"{name}/values")


def weights(model: ov.Model) -> Iterator[Stored]:
    """Yield the weights of convolutions, matrix products and embeddings, in the graph's order.

    Weights that several layers read come once for each.
    """
    for operation in model.get_ordered_ops():
        for index in _WEIGHT_INPUTS.get(operation.get_type_name(), ()):
            found = _behind(operation, index)
            if found is not None:
                yield found


def _behind(operation: Any, index: int) -> Stored | None:
    """Return what is stored behind an input, or None where that is no constant."""
    gathered = operation.get_type_name() == "Gather"
    if gathered and codebook(operation):
        return None  # it is passed on the way to the layer that it decodes for
    node, passed = operation.input_value(index).get_node(), []
    while node.get_type_name() in _PASSED or codebook(node):
        passed.append(node)
        node = node.input_value(1 if codebook(node) == "stored" else 0).get_node()
    if node.get_type_name() != "Constant" or (gathered and size(node) < _LEAST_GATHERED):
        return None
    return Stored(operation, index, node, tuple(passed))


def codebook(node: Any) -> Literal["stored", "computed"] | None:
    """Return how weights that are looked up in a table have their places in it.

    ``stored`` as a constant, whose bits count then and not the table's, or ``computed`` in the
    graph by a hash; None for what is no such table.
    """
    if node.get_type_name() != "Gather":
        return None
    places = node.input_value(1)
    while places.get_node().get_type_name() in {"Convert", "Reshape"}:
        places = places.get_node().input_value(0)
    if _elements(places.get_partial_shape()) <= _size_of_input(node):
        return None
    if places.get_node().get_type_name() == "Constant":
        return "stored"
    return "computed" if _of_constants(places.get_node()) else None


def _of_constants(node: Any) -> bool:
    """Whether a value is computed without anything that a model is given."""
    if node.get_type_name() in {"Parameter", "ReadValue"}:
        return False
    return all(_of_constants(port.get_source_output().get_node()) for port in node.inputs())


def _size_of_input(node: Any) -> int:
    shape = node.input_value(0).get_partial_shape()
    return int(shape.get_length()) if shape.is_static and len(shape) == 0 else _elements(shape)


def size(constant: Any) -> int:
    """Return the number of elements of a constant."""
    return _elements(constant.get_output_partial_shape(0))


def _elements(shape: Any) -> int:
    product = 1
    for dimension in shape:
        product *= dimension.get_length() if dimension.is_static else 0
    return product
