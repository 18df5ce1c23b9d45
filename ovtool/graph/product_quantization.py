"""How a graph quantizes each of its products, as far as decides whether a device runs it in INT8.

A device runs a product in INT8 if both operands are rounded to at most 8 bits right before it.  The
graph shows what may prevent that: an operand without a quantizer, an operation between the
quantizer and the product, more than 8 bits, or weights with zero points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.graph.flops import RULES
from ovtool.graph.operations import walk_operations
from ovtool.graph.quantization import bits_of_type, is_transparent, quantizer_bits
from ovtool.graph.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

    from ovtool.graph.weights import LayerWeights

_MAX_STEPS = 12
"""Operations that are searched for a quantizer."""
_QUANTIZATION_TYPES = {"FakeQuantize", "FakeConvert"}
_SCALE_TYPES = {"Convert", "Multiply", "Subtract"}


@dataclass(frozen=True, slots=True)
class ProductQuantization:
    """Quantization of the operands of a convolution, matrix product or recurrent cell.

    Args:
        type: Type of the operation.
        data_bits: Bits of the widest quantizer of an operand without weights; None if an operand
            has none.
        weight_bits: Bits of the weights; None if they are in floating point, or without weights.
        zero_points: Whether weights have zero points other than 0.
        between: Types of the operations between an operand and the nearest quantizer before it;
            empty if the quantizer is right before the product, or if there is none.
    """

    type: str
    data_bits: int | None
    weight_bits: int | None
    zero_points: bool
    between: tuple[str, ...]
    has_weights: bool = True

    @property
    def bits(self) -> int | None:
        """Bits of the widest operand; None if an operand is not quantized."""
        if not self.has_weights:
            return self.data_bits
        return _widest([self.data_bits, self.weight_bits])


@dataclass(frozen=True, slots=True)
class GraphQuantization:
    """Quantization of a graph by the friendly names of its operations.

    ``rounding`` are the operations that only quantize or undo it; ``types`` has the type of every
    operation.
    """

    products: Mapping[str, ProductQuantization]
    rounding: frozenset[str]
    types: Mapping[str, str]


def read_quantization(model: ov.Model) -> GraphQuantization:
    """Return how a graph quantizes its products."""
    by_layer: dict[str, list[LayerWeights]] = {}
    for stored in find_weights(model):
        by_layer.setdefault(stored.layer.get_name(), []).append(stored)
    operations = list(walk_operations(model))
    return GraphQuantization(
        {
            node.get_friendly_name(): _describe(node, by_layer.get(node.get_name(), []))
            for node in operations
            if node.get_type_name() in RULES
        },
        frozenset(node.get_friendly_name() for node in operations if _only_rounds(node)),
        {node.get_friendly_name(): node.get_type_name() for node in operations},
    )


def _describe(node: Any, weights: list[LayerWeights]) -> ProductQuantization:
    weighted = {stored.index for stored in weights}
    both = 2 if node.get_type_name() == "MatMul" else 1
    traced = [_trace(node.input_value(i)) for i in range(both) if i not in weighted]
    bits = [each.bits for each in traced]
    stored_bits = [_weight_bits(stored) for stored in weights]
    return ProductQuantization(
        type=node.get_type_name(),
        data_bits=_widest(bits),
        weight_bits=_widest(stored_bits),
        zero_points=any(_has_zero_points(stored) for stored in weights),
        between=next((each.between for each in traced if each.bits is None), ()),
        has_weights=bool(weights),
    )


def _widest(bits: list[int | None]) -> int | None:
    known = [each for each in bits if each is not None]
    return max(known) if known and len(known) == len(bits) else None


@dataclass(frozen=True, slots=True)
class _Trace:
    """Bits of the quantizer right before a value, or the types up to the nearest one."""

    bits: int | None
    between: tuple[str, ...] = ()


def _trace(value: Any) -> _Trace:
    passed: list[str] = []
    for _ in range(_MAX_STEPS):
        node = value.get_node()
        bits = quantizer_bits(node)
        if bits is not None:
            return _Trace(None, tuple(passed)) if passed else _Trace(bits)
        if node.get_type_name() in RULES or node.get_input_size() == 0:
            break
        if not is_transparent(node):
            passed.append(node.get_type_name())
        value = node.input_value(0)
    return _Trace(None)


def _weight_bits(stored: LayerWeights) -> int | None:
    """Return the bits of stored weights, or of their quantizer; None in floating point."""
    for node in stored.path:
        if (bits := quantizer_bits(node)) is not None:
            return bits
    return bits_of_type(stored.constant.get_element_type())


def _has_zero_points(stored: LayerWeights) -> bool:
    """Whether a constant other than 0 is subtracted from the weights."""
    for node in stored.path:
        if node.get_type_name() == "Subtract":
            points = node.input_value(1).get_node()
            while points.get_type_name() == "Convert":
                points = points.input_value(0).get_node()
            return points.get_type_name() != "Constant" or bool(points.get_data().any())
    return False


def _only_rounds(node: Any) -> bool:
    """Whether an operation is a quantizer, or undoes the scale of one."""
    kind = node.get_type_name()
    if kind in _QUANTIZATION_TYPES:
        return True
    while kind in _SCALE_TYPES:
        if kind == "Convert" and bits_of_type(node.input_value(0).get_element_type()) is not None:
            return True
        node = node.input_value(0).get_node()
        kind = node.get_type_name()
        if kind in _QUANTIZATION_TYPES:
            return True
    return False
