"""Which cause the time of each layer belongs to.

A layer with arithmetic belongs to the reason why it does not run in INT8, or gains little from it.
A conversion belongs to the layer in floating point that needs it.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.graph.runtime import Layer
from ovtool.profiling.causes import FALLBACKS, Cause, make_cause
from ovtool.profiling.layer_matching import LayerPair, TimedLayer, match

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.graph.product_quantization import GraphQuantization, ProductQuantization

Bound = Callable[[Layer], str | None]
"""Returns what limits a layer: compute, memory or overhead; None if unknown."""
GAIN = 1.25
"""Speed-up from which a layer in INT8 counts as faster than in f32."""
REDUCED_GAIN = 1.6
"""The same over bf16 and f16, whose peak is about half of that of INT8."""
REDUCED = ("bf16", "f16")
_CONVERSIONS = {"convert", "fakequantize", "quantize", "reorder"}
_TOKENIZED = {"subgraph", "eltwise"}
_GENERATED = re.compile(r"(Convert|FakeQuantize|Multiply|Subtract)(_\d+)+")
"""Names of operations that a plugin creates to undo a scale."""
_USUAL = ("Convolution", "GroupConvolution", "MatMul")
"""Types that devices run in INT8 if their quantizers are fused."""


class Attribution:
    """Assigns the layers of B, and their counterparts in A, to causes.

    ``graph`` is the quantization of B's graph.  The bounds are those of each model's layers.
    """

    def __init__(
        self,
        a: Sequence[TimedLayer],
        b: Sequence[TimedLayer],
        graph: GraphQuantization,
        bound_a: Bound,
        bound_b: Bound,
    ) -> None:
        self._graph, self._bound_a, self._bound_b = graph, bound_a, bound_b
        self._layers = {timed.layer.name: timed.layer for timed in b}
        self._inputs = {n: [i for i in la.inputs if i in self._layers]
                        for n, la in self._layers.items()}  # fmt: skip
        self._outputs: dict[str, list[str]] = {name: [] for name in self._layers}
        for name, sources in self._inputs.items():
            for source in sources:
                self._outputs[source].append(name)
        computed = [layer for layer in self._layers.values() if layer.computes]
        self._int8 = any(la.precision == "i8" or la.quantized for la in computed) or any(
            product.bits is not None for product in graph.products.values()
        )
        self._causes: dict[str, str] = {}
        self.pairs = self._assign(match(a, b, self._is_conversion))

    def _assign(self, pairs: Sequence[LayerPair]) -> list[LayerPair]:
        """Assign layers with arithmetic first: the layers around them follow."""
        assigned: list[LayerPair] = []
        for pair in sorted(pairs, key=lambda p: p.b is None or not p.b.layer.computes):
            done = self._with_cause(pair)
            if pair.b is not None:
                self._causes[pair.b.layer.name] = done.cause
            assigned.append(done)
        return assigned

    def _with_cause(self, pair: LayerPair) -> LayerPair:
        if pair.b is None:
            return replace(pair, cause=self._cause_in_a(pair))
        if pair.b.layer.computes:
            return self._arithmetic(pair, pair.b.layer)
        return replace(pair, cause=self._other(pair, pair.b.layer))

    def _cause_in_a(self, pair: LayerPair) -> str:
        """Return the cause of a layer that only A executes."""
        layer = pair.a.layer if pair.a is not None else None
        if layer is None or layer.computes:
            return "unmatched"
        return "conversions" if self._is_conversion(layer) else "fusion-lost"

    def _arithmetic(self, pair: LayerPair, layer: Layer) -> LayerPair:
        """Assign a layer of B with arithmetic."""
        if layer.precision != "i8":
            product = self._product(layer)
            return replace(pair, cause=self._fallback(layer, product), reason=_reason(product))
        if pair.a is None:
            return replace(pair, cause="unmatched")
        before = pair.a.layer
        if before.precision == "i8":
            return replace(pair, cause="other-layers")
        if self._bound_b(layer) == self._bound_a(before) == "overhead":
            return replace(pair, cause="small-layers")
        if before.precision in REDUCED:
            cause = "in-int8" if pair.speedup >= REDUCED_GAIN else "baseline-reduced"
        elif pair.speedup >= GAIN:
            cause = "in-int8"
        else:
            cause = "memory-bound" if self._bound_b(layer) == "memory" else "int8-slow"
        return replace(pair, cause=cause)

    def _product(self, layer: Layer) -> ProductQuantization | None:
        names = (layer.name, *layer.original)
        products = (self._graph.products.get(name) for name in names)
        return next((product for product in products if product is not None), None)

    def _fallback(self, layer: Layer, product: ProductQuantization | None) -> str:
        """Return why a layer of B does not run in INT8."""
        if product is not None and product.bits is not None:
            if product.bits > 8:
                return "quantized-wide"
            if product.zero_points:
                return "weights-zero-points"
            return "quantizers-not-fused" if product.type in _USUAL else "type-not-int8"
        if not self._int8:
            compressed = product is not None and product.weight_bits is not None
            return "weights-only" if compressed else "no-quantization"
        return "float-island" if self._is_island(layer.name) else "not-quantized"

    def _is_island(self, name: str) -> bool:
        """Whether layers in INT8 come both before and after a layer."""
        before = self._nearest(name, self._inputs)
        after = self._nearest(name, self._outputs)
        return all(any(self._layers[n].precision == "i8" for n in side) for side in (before, after))

    def _nearest(self, name: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
        """Return the nearest layers with arithmetic along the edges."""
        nearest, seen, queue = set(), {name}, deque(edges[name])
        while queue:
            current = queue.popleft()
            if current in seen:
                continue
            seen.add(current)
            if self._layers[current].computes:
                nearest.add(current)
            else:
                queue.extend(edges[current])
        return nearest

    def _other(self, pair: LayerPair, layer: Layer) -> str:
        """Return the cause of a layer of B without arithmetic."""
        if self._is_conversion(layer):
            return self._conversion(layer)
        if pair.a is None:
            return "float-island" if self._is_float_between(layer) else "fusion-lost"
        if layer.precision == "i8" != pair.a.layer.precision and pair.speedup >= GAIN:
            return "in-int8"
        bounds = self._bound_a(pair.a.layer), self._bound_b(layer)
        if bounds == ("overhead", "overhead"):
            return "small-layers"
        return "memory-bound" if "memory" in bounds else "other-layers"

    def _conversion(self, layer: Layer) -> str:
        """Return the cause of the layer in floating point that needs a conversion."""
        around = self._nearest(layer.name, self._inputs) | self._nearest(layer.name, self._outputs)
        blamed = Counter(self._causes.get(name, "") for name in around)
        for cause, _ in blamed.most_common():
            if cause in FALLBACKS:
                return cause
        beside = (*self._inputs[layer.name], *self._outputs[layer.name])
        if any(self._is_float_between(self._layers[name]) for name in beside):
            return "float-island"
        return "conversions"

    def _is_float_between(self, layer: Layer) -> bool:
        """Whether a layer without arithmetic runs in floating point between layers in INT8."""
        return (
            not layer.computes
            and layer.precision != "i8"
            and not self._is_conversion(layer)
            and self._is_island(layer.name)
        )

    def _is_conversion(self, layer: Layer) -> bool:
        """Whether a layer only changes layout or precision."""
        kind = layer.type.lower()
        if kind in _CONVERSIONS:
            return True
        names = layer.original or (layer.name,)
        return kind in _TOKENIZED and all(
            name in self._graph.rounding
            or (name not in self._graph.types and _GENERATED.fullmatch(name) is not None)
            for name in names
        )

    def causes(self, rounds: int, speedup: float) -> list[Cause]:
        """Return the causes with their times in each round."""
        groups: dict[str, list[LayerPair]] = {}
        for pair in self.pairs:
            groups.setdefault(pair.cause, []).append(pair)
        return [_cause(name, pairs, rounds, speedup) for name, pairs in groups.items()]


def _reason(product: ProductQuantization | None) -> str:
    """Return what the graph shows of the operands of a layer in floating point."""
    if product is None:
        return ""
    if product.bits is not None:
        return f"{product.bits} bits" if product.bits > 8 else ""
    if product.between:
        return f"{', '.join(product.between)} after the quantizer"
    if product.data_bits is not None and product.weight_bits is None and product.has_weights:
        return "weights not quantized"
    return ""


def _cause(name: str, pairs: Sequence[LayerPair], rounds: int, speedup: float) -> Cause:
    pairs = sorted(pairs, key=lambda pair: -max(pair.a_ms, pair.b_ms))
    in_a = [pair.a for pair in pairs if pair.a is not None]
    in_b = [pair.b for pair in pairs if pair.b is not None]
    precision = next((t.layer.precision for t in in_a if t.layer.precision in REDUCED), None)
    return make_cause(
        name,
        _evidence(pairs),
        _sums(in_a, rounds),
        _sums(in_b, rounds),
        speedup=speedup,
        layers=[timed.layer.label for timed in in_b],
        precision=precision or "a reduced precision",
    )


def _sums(layers: Sequence[TimedLayer], rounds: int) -> list[float]:
    return [sum(timed.times_ms[i] for timed in layers) for i in range(rounds)]


def _evidence(pairs: Sequence[LayerPair]) -> str:
    """Return the layers of B by type and precision, and what the graph shows of them."""
    in_b = [pair.b for pair in pairs if pair.b is not None]
    if not in_b:
        return f"{units.count_text(len(pairs), 'layer')} of A"
    kinds: Counter[str] = Counter()
    times: dict[str, float] = {}
    for timed in in_b:
        kind = f"{timed.layer.type} {timed.layer.precision or 'unknown'}"
        kinds[kind] += 1
        times[kind] = times.get(kind, 0.0) + timed.mean_ms
    ordered = sorted(kinds, key=lambda kind: -times[kind])
    parts = [f"{kinds[kind]} {kind} {units.text(times[kind])} ms" for kind in ordered]
    reasons = Counter(pair.reason for pair in pairs if pair.reason)
    why = [f"{count} with {reason}" for reason, count in reasons.most_common(2)]
    return "; ".join([units.listing(parts, 3), *why])
