"""The layers of a graph, and what one inference asks of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.graph import flops
from ovtool.graph import op_rules as rules
from ovtool.graph.op_formulas import elements
from ovtool.graph.uncounted import why

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov

    from ovtool.graph.op_rules import Kind

BITS = {"f32": 32, "f16": 16, "i8": 8, "i4": 4}
"""Precisions in which the bytes of weights and activations are told; bf16 takes those of f16."""
_FLOATS = ("f64", "f32", "f16", "bf16")
_UNMEASURED = ("Parameter", "Result", "Constant")
_NO_WEIGHTS = ("FakeQuantize", "FakeConvert", "ReadValue")
"""Operations whose floating-point constants are ranges, scales or first states, and no weights."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What one inference asks of an operation.

    Args:
        name: Of the operation.
        type: Of the operation.
        kind: What it is counted as; None where nothing tells how.
        macs: Multiply-adds; None where they cannot be told.
        other_flops: Operations beside multiply-adds, as :mod:`ovtool.graph.op_rules` counts them;
            None where they cannot be told.
        parameters: Values of its weights, biases and scales, without single numbers of a formula;
            what layers share counts at the first.
        weight_bytes: What these take as they are stored, tables and scales of theirs included.
        input_elements: Values that it reads, besides its parameters.
        input_bytes: Of these, in the graph's own types.
        output_elements: Values that it writes.
        output_bytes: Of these, in the graph's own types.
        output_shape: Of its first output; None where it is open.
        uncounted: Why its operations are not known; None where they are.
    """

    name: str
    type: str
    kind: Kind | None
    macs: int | None
    other_flops: int | None
    parameters: int
    weight_bytes: int
    input_elements: int
    input_bytes: int
    output_elements: int
    output_bytes: int
    output_shape: tuple[int, ...] | None
    uncounted: str | None = None

    @property
    def counted(self) -> bool:
        """Whether its operations are known."""
        return self.macs is not None and self.other_flops is not None

    @property
    def flops(self) -> int | None:
        """``2 macs + other_flops``; None where they cannot be told."""
        if self.macs is None or self.other_flops is None:
            return None
        return 2 * self.macs + self.other_flops

    @property
    def activation_elements(self) -> int:
        """Values that it reads and writes, besides its parameters; none for a view."""
        return 0 if self.kind == "view" else self.input_elements + self.output_elements

    @property
    def moved_bytes(self) -> int:
        """Bytes that it reads and writes, as they are stored."""
        if self.kind == "view":
            return 0
        weights = self.weight_bytes
        if self.type == "Gather":  # of a table only the rows that are looked up
            weights = min(weights, self.output_bytes)
        return weights + self.input_bytes + self.output_bytes

    @property
    def intensity(self) -> float | None:
        """FLOPs for each byte that is read or written; None where either is unknown or none."""
        return self.flops / self.moved_bytes if self.flops and self.moved_bytes else None

    def activation_bytes(self, precision: str) -> float:
        """What the values that it reads and writes take in one of :data:`BITS`."""
        return self.activation_elements * BITS[precision] / 8

    def parameter_bytes(self, precision: str) -> float:
        """What its parameters take in one of :data:`BITS`, without scales."""
        return self.parameters * BITS[precision] / 8


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over layers; the arithmetic of those that are not counted is not in them."""

    layers: int
    uncounted: int
    """Of the layers, those whose arithmetic cannot be told."""
    macs: int
    other_flops: int
    parameters: int
    weight_bytes: int
    moved_bytes: int

    @property
    def told(self) -> bool:
        """Whether any layer's arithmetic is in the sums: else these are unknown, and not 0."""
        return self.uncounted < self.layers or not self.layers

    @property
    def flops(self) -> int:
        """``2 macs + other_flops``."""
        return 2 * self.macs + self.other_flops

    @property
    def intensity(self) -> float | None:
        """FLOPs for each byte that is read or written; None without any, or where not told."""
        return self.flops / self.moved_bytes if self.moved_bytes and self.told else None

    @classmethod
    def of(cls, layers: Sequence[LayerWork]) -> Totals:
        """Return the sums over some layers."""
        return cls(
            len(layers),
            sum(not layer.counted for layer in layers),
            sum(layer.macs or 0 for layer in layers),
            sum(layer.other_flops or 0 for layer in layers),
            sum(layer.parameters for layer in layers),
            sum(layer.weight_bytes for layer in layers),
            sum(layer.moved_bytes for layer in layers),
        )


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one inference asks for, layer by layer, in the order of the graph."""

    layers: tuple[LayerWork, ...]

    @property
    def total(self) -> Totals:
        """Sums over all layers that are counted."""
        return Totals.of(self.layers)

    @property
    def not_counted(self) -> tuple[LayerWork, ...]:
        """Layers whose operations cannot be told, which the sums leave out."""
        return tuple(layer for layer in self.layers if not layer.counted)

    def by_type(self) -> dict[str, Totals]:
        """Return the sums by type of operation, the most FLOPs first."""
        types: dict[str, list[LayerWork]] = {}
        for layer in self.layers:
            types.setdefault(layer.type, []).append(layer)
        sums = {name: Totals.of(layers) for name, layers in types.items()}
        return dict(sorted(sums.items(), key=lambda pair: -pair[1].flops))


def analyze(model: ov.Model) -> Analysis:
    """Count what one inference of a graph asks for.

    Args:
        model: With static shapes; operations whose shapes stay open are not counted, and named by
            :attr:`Analysis.not_counted`.
    """
    compiled: set[str] = set()
    stored: set[str] = set()
    sized = {one.get_friendly_name(): one for one in flops.sized(model).get_ordered_ops()}
    found = []
    for operation in model.get_ordered_ops():
        name = operation.get_friendly_name()
        if rules.at_compile_time(operation, compiled):
            compiled.add(name)
        elif operation.get_type_name() not in _UNMEASURED:
            found.append(_layer(operation, sized.get(name, operation), compiled, stored))
    return Analysis(tuple(found))


def _layer(stored_as: Any, operation: Any, compiled: set[str], stored: set[str]) -> LayerWork:
    """Count one operation.

    Args:
        stored_as: The operation in the graph as it is stored.
        operation: The same where shapes are known best.
        compiled: Names of what is computed when the graph is compiled.
        stored: Names of the constants that counted already; those of this one are added.
    """
    kind = operation.get_type_name()
    rule = rules.RULES.get(kind)
    static = _static(operation)
    read: list[Any] = []
    weights: list[Any] = []
    for place, value in enumerate(stored_as.inputs()):
        source = value.get_source_output()
        if source.get_node().get_friendly_name() in compiled:
            weights.append(source)
        else:
            read.append(operation.input_value(place))
    parameters, weight_bytes = _parameters(kind, weights, stored)
    written = operation.outputs()
    known = rule is not None and (static or rule.kind == "view")  # which does and moves nothing
    macs = _macs(operation) if known else None
    others = rule.operations(operation) if known and rule else None
    counted = macs is not None and others is not None
    return LayerWork(
        name=operation.get_friendly_name(),
        type=kind,
        kind=rule.kind if rule else None,
        macs=macs if counted else None,
        other_flops=others if counted else None,
        parameters=parameters,
        weight_bytes=weight_bytes,
        input_elements=sum(map(_elements, read)),
        input_bytes=sum(map(_bytes, read)),
        output_elements=sum(map(_elements, written)),
        output_bytes=sum(map(_bytes, written)),
        output_shape=tuple(map(int, operation.get_output_shape(0))) if static and written else None,
        uncounted=None if counted else why(kind, static=static),
    )


def _macs(operation: Any) -> int | None:
    rule = flops.RULES.get(operation.get_type_name())
    if rule is None:
        return 0
    doubled = rule(operation)
    return None if doubled is None else doubled // 2


def _parameters(kind: str, weights: Sequence[Any], stored: set[str]) -> tuple[int, int]:
    """Return the number of parameters among the constant inputs, and the bytes stored for them."""
    count = size = 0
    for value in weights:
        if value.get_element_type().get_type_name() not in _FLOATS or kind in _NO_WEIGHTS:
            continue  # shapes, axes and places
        if kind not in flops.RULES and _elements(value) == 1:
            continue  # a number of a formula
        behind = list(rules.constants_behind(value))
        new = [c for c in behind if c.get_friendly_name() not in stored]
        if new:
            count += _elements(value)
        size += sum(c.get_byte_size() for c in new)
        stored.update(c.get_friendly_name() for c in new)
    return count, size


def _static(operation: Any) -> bool:
    values = [*(i.get_source_output() for i in operation.inputs()), *operation.outputs()]
    return all(value.get_partial_shape().is_static for value in values)


def _elements(value: Any) -> int:
    shape = value.get_partial_shape()
    return 0 if shape.is_dynamic else elements(value.get_shape())


def _bytes(value: Any) -> int:
    return -(-_elements(value) * int(value.get_element_type().bitwidth) // 8)
