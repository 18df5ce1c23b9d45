"""Compression that a graph already has: quantized layers and weights in few bits.

A layer is quantized if all that it multiplies is: its data come from a quantizer, and its weights
too, or from a constant of at most 8 bits. Quantizers are ``FakeQuantize`` and ``FakeConvert``, and
values that the graph itself rounds to 8-bit integers (``DynamicQuantizeLinear`` of ONNX).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.graph.operations import FLOATS, count_elements, is_constant, walk_operations
from ovtool.graph.weights import (
    WEIGHT_INPUTS,
    classify_codebook,
    drop_shared,
    find_weights,
)

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.graph.weights import LayerWeights

NONE = "none"
_WEIGHTS = "weights"
_QUANTIZERS = {"FakeQuantize", "FakeConvert"}
_TRANSPARENT = {
    "Broadcast", "Concat", "Convert", "DepthToSpace", "Gather", "MaxPool", "Multiply", "Pad",
    "Relu", "Reshape", "ShuffleChannels", "Slice", "SpaceToDepth", "Split", "Squeeze",
    "StridedSlice", "Subtract", "Tile", "Transpose", "Unsqueeze", "VariadicSplit",
}  # fmt: skip
"""Types of operations that quantized values pass: they move them, or undo the scale."""
_SCALING = {"Multiply", "Subtract"}
_PRODUCTS = {name for name in WEIGHT_INPUTS if name == "MatMul" or "Convolution" in name}


@dataclass(frozen=True, slots=True)
class GraphCompression:
    """Compression of a graph.

    Args:
        activations: Type that quantizers round to, such as ``int8`` or ``fp8``; None without any.
        weights: Types of the weights in few bits, such as ``int4``, most weights first.
        quantized: Names of the quantized layers.
        products: Number of convolutions and matrix products.
    """

    activations: str | None
    weights: tuple[str, ...]
    quantized: frozenset[str]
    products: int

    @property
    def label(self) -> str:
        """``none``, ``int8`` or another type of activations and weights, or ``weights int4``."""
        if self.activations is not None:
            return self.activations
        return f"{_WEIGHTS} {'+'.join(self.weights)}" if self.weights else NONE


def is_quantized(label: str) -> bool:
    """Whether a label of :class:`GraphCompression` means quantized activations."""
    return label != NONE and not label.startswith(_WEIGHTS)


def detect_compression(model: ov.Model) -> GraphCompression:
    """Return the compression of a graph, from its operations and the types of its constants."""
    operations = list(walk_operations(model))
    weights = list(find_weights(model))
    on_weights = {node.get_name() for stored in weights for node in stored.path}
    quantizers = [
        node
        for node in operations
        if node.get_type_name() in _QUANTIZERS and node.get_name() not in on_weights
    ]
    layers = [node for node in operations if node.get_type_name() in _PRODUCTS]
    quantized = find_quantized(layers, weights)
    activations = {_quantizer_type(node) for node in quantizers}
    if quantized and not activations:
        activations = {"int8"}  # rounded by operations of the graph
    low_bits: dict[str, int] = {}
    for stored in drop_shared(weights):
        if (name := _low_bit_type(stored)) is not None:
            low_bits[name] = low_bits.get(name, 0) + stored.constant.data.size
    return GraphCompression(
        "+".join(sorted(activations)) or None,
        tuple(sorted(low_bits, key=lambda name: -low_bits[name])),
        frozenset(node.get_friendly_name() for node in quantized),
        len(layers),
    )


@dataclass(frozen=True, slots=True)
class LowBitLayers:
    """Numbers of layers with weights, and with weights in few bits, and the types of these."""

    layers: int
    low_bit: int
    types: tuple[str, ...]


def count_low_bit_layers(model: ov.Model) -> LowBitLayers:
    """Return how many layers have weights in few bits."""
    by_layer: dict[str, str | None] = {}
    for stored in find_weights(model):
        name = stored.layer.get_name()
        by_layer[name] = by_layer.get(name) or _low_bit_type(stored)
    types = [name for name in by_layer.values() if name is not None]
    return LowBitLayers(len(by_layer), len(types), tuple(dict.fromkeys(types)))


def find_quantized(layers: list[Any], weights: list[LayerWeights]) -> list[Any]:
    """Return the layers of which all inputs are quantized."""
    low_bit = {
        (stored.layer.get_name(), stored.index)
        for stored in weights
        if _low_bit_type(stored) is not None
    }
    stored = {(w.layer.get_name(), w.index) for w in weights}

    def quantized(layer: Any, index: int) -> bool:
        key = (layer.get_name(), index)
        return key in low_bit if key in stored else _is_rounded(layer.input_value(index))

    return [layer for layer in layers if quantized(layer, 0) and quantized(layer, 1)]


def _is_rounded(value: Any) -> bool:
    """Return whether a value comes from a quantizer, through operations that only move it."""
    while True:
        node = value.get_node()
        if quantizer_bits(node) is not None:
            return True
        if not is_transparent(node):
            return False
        value = node.input_value(0)


def quantizer_bits(node: Any) -> int | None:
    """Return the bits to which an operation rounds its input; None if it is no quantizer."""
    kind = node.get_type_name()
    if kind == "FakeConvert":
        return 8
    if kind == "FakeQuantize":
        return _bits_of_levels(node)
    if kind == "Convert" and _is_8_bit(node.get_element_type()):
        rounds = node.input_value(0).get_element_type().get_type_name() in FLOATS
        return 8 if rounds else None
    return None


def is_transparent(node: Any) -> bool:
    """Whether an operation only moves its input, or undoes its scale."""
    kind = node.get_type_name()
    if kind == "Convert" and _is_8_bit(node.get_element_type()):
        return False
    return kind in _TRANSPARENT and (kind not in _SCALING or _is_scale(node))


def bits_of_type(kind: Any) -> int | None:
    """Return the bits of a type that holds quantized values: an integer, or a float of 8 bits."""
    if kind.get_type_name() in FLOATS or kind.bitwidth > 16:
        return None
    return int(kind.bitwidth)


def _is_scale(node: Any) -> bool:
    """Return whether the second input of an operation is a scale or a zero point."""
    value = node.input_value(1)
    shape = value.get_partial_shape()
    scalar = shape.is_static and count_elements(shape.to_shape()) == 1
    return bool(scalar or is_constant(value.get_node()))


def _is_8_bit(kind: Any) -> bool:
    return kind.get_type_name() in {"i8", "u8", "f8e4m3", "f8e5m2"}


def _low_bit_type(stored: LayerWeights) -> str | None:
    """Return the type of weights in at most 8 bits, or of a quantizer; None if in floating point.

    Tables of shared weights are ``codebook``.
    """
    if any(classify_codebook(node) for node in stored.path):
        return "codebook"
    for node in stored.path:
        if node.get_type_name() in _QUANTIZERS:
            return _quantizer_type(node)
    kind = stored.constant.get_element_type()
    name = kind.get_type_name()
    if name in FLOATS or kind.bitwidth > 8:
        return None
    if name.startswith("f"):
        return f"fp{kind.bitwidth}"
    return f"int{kind.bitwidth}" if name[0] in "iu" else str(name)


def _quantizer_type(node: Any) -> str:
    if node.get_type_name() == "FakeConvert":
        return "fp8"
    return f"int{_bits_of_levels(node)}"


def _bits_of_levels(node: Any) -> int:
    levels = int(node.get_attributes()["levels"])
    return next((bits for bits in (1, 2, 4, 8, 16) if levels <= 2**bits), 32)
