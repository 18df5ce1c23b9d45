"""Counts of the operations, parameters and bytes of one inference, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.graph import flops, op_formulas, op_rules
from ovtool.graph.operations import (
    LOOP_TYPES,
    NO_WORK,
    count_elements,
    find_bodies,
    is_compile_time,
    is_static,
)
from ovtool.graph.parameters import ParameterCount, count_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov

    from ovtool.graph.op_rules import RuleKind

BITS = {"f32": 32, "f16": 16, "i8": 8, "i4": 4}
"""Precisions in which bytes of weights and activations are reported; bf16 takes as many as f16."""


@dataclass(frozen=True, slots=True)
class LayerCounts:
    """Counts of one operation.

    Args:
        kind: How the operation is counted; None if its type has no rule.
        macs: Multiply-adds; None if unknown.
        other_flops: Operations except multiply-adds, see :mod:`ovtool.graph.op_rules`; None if
            unknown.
        parameters: See :mod:`ovtool.graph.parameters`.
        weight_bytes: Stored bytes of the parameters, tables and scales included.
        input_elements: Values that the operation reads, without parameters.
        output_shape: Shape of the first output; None if dynamic.
        uncounted: Why the arithmetic is unknown; None if it is known.
    """

    name: str
    type: str
    kind: RuleKind | None
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
        """Whether the arithmetic is known."""
        return self.macs is not None and self.other_flops is not None

    @property
    def flops(self) -> int | None:
        """``2 macs + other_flops``; None if unknown."""
        if self.macs is None or self.other_flops is None:
            return None
        return 2 * self.macs + self.other_flops

    @property
    def activation_elements(self) -> int:
        """Values that the operation reads and writes, without parameters; 0 for a view."""
        return 0 if self.kind == "view" else self.input_elements + self.output_elements

    @property
    def moved_bytes(self) -> int:
        """Stored bytes that the operation reads and writes; 0 for a view."""
        if self.kind == "view":
            return 0
        weights = self.weight_bytes
        if self.type == "Gather":  # reads the selected rows of a table only
            weights = min(weights, self.output_bytes)
        return weights + self.input_bytes + self.output_bytes

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte that is read or written; None if either is unknown or 0."""
        return self.flops / self.moved_bytes if self.flops and self.moved_bytes else None

    def activation_bytes(self, precision: str) -> float:
        """Return the bytes of the values read and written, in a precision of :data:`BITS`."""
        return self.activation_elements * BITS[precision] / 8

    def parameter_bytes(self, precision: str) -> float:
        """Return the bytes of the parameters, in a precision of :data:`BITS`, without scales."""
        return self.parameters * BITS[precision] / 8


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over layers; ``uncounted`` is the number of layers with unknown arithmetic."""

    layers: int
    uncounted: int
    macs: int
    other_flops: int
    parameters: int
    weight_bytes: int
    moved_bytes: int

    @property
    def known(self) -> bool:
        """Whether a layer is counted; if not, the arithmetic is unknown rather than 0."""
        return self.uncounted < self.layers or not self.layers

    @property
    def flops(self) -> int:
        """``2 macs + other_flops``."""
        return 2 * self.macs + self.other_flops

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte that is read or written; None if unknown or without bytes."""
        return self.flops / self.moved_bytes if self.moved_bytes and self.known else None

    @classmethod
    def of(cls, layers: Sequence[LayerCounts]) -> Totals:
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
    """Counts of the layers of a graph, in its order."""

    layers: tuple[LayerCounts, ...]

    @property
    def total(self) -> Totals:
        """Sums over all layers."""
        return Totals.of(self.layers)

    @property
    def not_counted(self) -> tuple[LayerCounts, ...]:
        """Layers with unknown arithmetic."""
        return tuple(layer for layer in self.layers if not layer.counted)

    def by_type(self) -> dict[str, Totals]:
        """Return the sums by type of operation, most FLOPs first."""
        types: dict[str, list[LayerCounts]] = {}
        for layer in self.layers:
            types.setdefault(layer.type, []).append(layer)
        sums = {name: Totals.of(layers) for name, layers in types.items()}
        return dict(sorted(sums.items(), key=lambda pair: -pair[1].flops))


def analyze(model: ov.Model) -> Analysis:
    """Count the operations, parameters and bytes of one inference.

    Operations with dynamic shapes are not counted, see :attr:`Analysis.not_counted`.
    """
    compile_time: set[str] = set()
    parameters = count_parameters(model)
    inferred = {o.get_friendly_name(): o for o in flops.infer_shapes(model).get_ordered_ops()}
    layers = []
    for operation in model.get_ordered_ops():
        name = operation.get_friendly_name()
        if is_compile_time(operation, compile_time):
            compile_time.add(name)
        elif operation.get_type_name() not in NO_WORK:
            twin = inferred.get(name, operation)
            own = parameters.get(operation.get_name(), ParameterCount())
            layers.append(_count_layer(operation, twin, compile_time, own))
    return Analysis(tuple(layers))


def _count_layer(
    stored: Any, operation: Any, compile_time: set[str], parameters: ParameterCount
) -> LayerCounts:
    """Count one operation of the stored graph; ``operation`` is its twin with more known shapes."""
    kind = operation.get_type_name()
    rule = op_rules.RULES.get(kind)
    static = is_static(operation)
    read = [
        inferred
        for source, inferred in zip(stored.input_values(), operation.input_values(), strict=True)
        if source.get_node().get_friendly_name() not in compile_time
    ]
    written = operation.outputs()
    arithmetic = _count_arithmetic(operation)
    return LayerCounts(
        name=operation.get_friendly_name(),
        type=kind,
        kind="loop" if kind in LOOP_TYPES else rule.kind if rule else None,
        macs=arithmetic.macs if arithmetic else None,
        other_flops=arithmetic.others if arithmetic else None,
        parameters=parameters.values,
        weight_bytes=parameters.stored_bytes,
        input_elements=sum(map(_count_elements, read)),
        input_bytes=sum(map(_count_bytes, read)),
        output_elements=sum(map(_count_elements, written)),
        output_bytes=sum(map(_count_bytes, written)),
        output_shape=tuple(map(int, operation.get_output_shape(0))) if static and written else None,
        uncounted=None if arithmetic else op_rules.explain_uncounted(kind, static=static),
    )


@dataclass(frozen=True, slots=True)
class _Arithmetic:
    macs: int
    others: int


def _count_arithmetic(operation: Any) -> _Arithmetic | None:
    """Return the arithmetic of an operation; None if it is unknown."""
    kind = operation.get_type_name()
    if kind in LOOP_TYPES:
        return _count_loop(operation)
    rule = op_rules.RULES.get(kind)
    if rule is None or not (is_static(operation) or rule.kind == "view"):
        return None  # a view computes nothing
    doubled = flops.RULES.get(kind, op_formulas.nothing)(operation)
    others = rule.operations(operation)
    return None if doubled is None or others is None else _Arithmetic(doubled // 2, others)


def _count_loop(operation: Any) -> _Arithmetic | None:
    """Return the arithmetic of the body, in all iterations."""
    iterations = flops.count_iterations(operation)
    if iterations is None:
        return None
    macs = others = 0
    compile_time: set[str] = set()
    for node in (node for b in find_bodies(operation) for node in b.model.get_ordered_ops()):
        if is_compile_time(node, compile_time):
            compile_time.add(node.get_friendly_name())
        elif node.get_type_name() not in NO_WORK:
            arithmetic = _count_arithmetic(node)
            if arithmetic is None:
                return None
            macs, others = macs + arithmetic.macs, others + arithmetic.others
    return _Arithmetic(iterations * macs, iterations * others)


def _count_elements(value: Any) -> int:
    return 0 if value.get_partial_shape().is_dynamic else count_elements(value.get_shape())


def _count_bytes(value: Any) -> int:
    return -(-_count_elements(value) * int(value.get_element_type().bitwidth) // 8)
