"""Which layers of two models correspond to each other.

Layers with arithmetic are matched by the operations that they execute, then by their order and
FLOPs; other layers by their names without numbers, which plugins generate, then by their order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from ovtool.graph.runtime import Layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class TimedLayer:
    """A layer with its time in each round, in ms; 0 in a round that did not execute it."""

    layer: Layer
    times_ms: tuple[float, ...]

    @property
    def mean_ms(self) -> float:
        """Mean over the rounds."""
        return sum(self.times_ms) / len(self.times_ms)


@dataclass(frozen=True, slots=True)
class LayerPair:
    """Corresponding layers of A and B, or a layer of one alone, and the cause of their times."""

    a: TimedLayer | None
    b: TimedLayer | None
    cause: str = ""
    reason: str = ""

    @property
    def label(self) -> str:
        """The name of the layer."""
        timed = self.b or self.a
        return timed.layer.label if timed is not None else ""

    @property
    def a_ms(self) -> float:
        """Mean time in A; 0 without a layer in A."""
        return self.a.mean_ms if self.a is not None else 0.0

    @property
    def b_ms(self) -> float:
        """Mean time in B; 0 without a layer in B."""
        return self.b.mean_ms if self.b is not None else 0.0

    @property
    def speedup(self) -> float:
        """Time in A / time in B; infinite if B takes none."""
        return self.a_ms / self.b_ms if self.b_ms else math.inf


def collect(rounds: Sequence[Sequence[Layer]]) -> list[TimedLayer]:
    """Return the layers of several profiles of one model, each with its time by round."""
    keyed = [dict(zip(_keys(layers), layers, strict=True)) for layers in rounds]
    merged: dict[tuple[str, str, int], Layer] = {}
    for layers in keyed:
        merged = layers | merged
    return [
        TimedLayer(layer, tuple((r[key].time_ms or 0.0) if key in r else 0.0 for r in keyed))
        for key, layer in merged.items()
    ]


def _keys(layers: Iterable[Layer]) -> list[tuple[str, str, int]]:
    """Return the identity of each layer: generated names differ from compilation to compilation."""
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for layer in layers:
        name = re.sub(r"\d+", "#", layer.name), layer.type
        keys.append((*name, seen[name]))
        seen[name] += 1
    return keys


def match(
    a: Sequence[TimedLayer], b: Sequence[TimedLayer], is_conversion: Callable[[Layer], bool]
) -> list[LayerPair]:
    """Return the layers of both models in pairs, and those of one model alone."""
    pairs: list[LayerPair] = []
    left, right = list(a), list(b)
    other = _make_other(is_conversion)
    for find in (_same_operations, _same_order, _same_names(other), _same_types(other)):
        for i, j in find(left, right):
            pairs.append(LayerPair(left[i], right[j]))
        used_a = {id(pair.a) for pair in pairs}
        used_b = {id(pair.b) for pair in pairs}
        left = [timed for timed in left if id(timed) not in used_a]
        right = [timed for timed in right if id(timed) not in used_b]
    return [
        *pairs,
        *(LayerPair(None, timed) for timed in right),
        *(LayerPair(timed, None) for timed in left),
    ]


Indices = list[tuple[int, int]]


def _same_operations(a: Sequence[TimedLayer], b: Sequence[TimedLayer]) -> Indices:
    """Match layers with arithmetic that execute an operation of the same name and FLOPs."""
    by_name = {
        name: j
        for j, timed in enumerate(b)
        if timed.layer.computes
        for name in (*timed.layer.original, timed.layer.name)
    }
    found: Indices = []
    for i, timed in enumerate(a):
        if not timed.layer.computes:
            continue
        for name in (timed.layer.name, *timed.layer.original):
            j = by_name.get(name)
            free = j is not None and all(j != used for _, used in found)
            if j is not None and free and b[j].layer.flops == timed.layer.flops:
                found.append((i, j))
                break
    return found


def _same_order(a: Sequence[TimedLayer], b: Sequence[TimedLayer]) -> Indices:
    """Match layers with arithmetic by their order and FLOPs."""
    return _align(a, b, lambda layer: layer.computes, lambda layer: layer.flops)


IsOther = Callable[[Layer], bool]
"""Whether a layer neither has arithmetic nor is a conversion, which has no counterpart."""


def _make_other(is_conversion: Callable[[Layer], bool]) -> IsOther:
    return lambda layer: not (layer.computes or is_conversion(layer))


def _same_names(other: IsOther) -> Callable[[Sequence[TimedLayer], Sequence[TimedLayer]], Indices]:
    """Match layers without arithmetic by names without numbers, and types."""

    def match_names(a: Sequence[TimedLayer], b: Sequence[TimedLayer]) -> Indices:
        def keyed(layers: Sequence[TimedLayer]) -> dict[tuple[str, str, int], int]:
            others = [i for i, timed in enumerate(layers) if other(timed.layer)]
            return dict(zip(_keys(layers[i].layer for i in others), others, strict=True))

        left, right = keyed(a), keyed(b)
        return [(left[key], right[key]) for key in left if key in right]

    return match_names


def _same_types(other: IsOther) -> Callable[[Sequence[TimedLayer], Sequence[TimedLayer]], Indices]:
    """Match layers without arithmetic by their order and types."""
    return lambda a, b: _align(a, b, other, lambda layer: layer.type)


def _align(
    a: Sequence[TimedLayer],
    b: Sequence[TimedLayer],
    takes: Callable[[Layer], bool],
    key: Callable[[Layer], object],
) -> Indices:
    """Match the layers that ``takes`` in the longest common order of their keys."""
    left, right = ([i for i, t in enumerate(side) if takes(t.layer)] for side in (a, b))
    matcher = SequenceMatcher(
        None, [key(a[i].layer) for i in left], [key(b[j].layer) for j in right], autojunk=False
    )
    return [
        (left[block.a + k], right[block.b + k])
        for block in matcher.get_matching_blocks()
        for k in range(block.size)
    ]
