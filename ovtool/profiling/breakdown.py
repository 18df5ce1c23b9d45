"""The layers of a profile as table rows: by layer, and by type and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ovtool.graph.runtime import Layer


@dataclass(frozen=True, slots=True)
class Slice:
    """Time of a layer, or of a group of ``layers``, in one inference; unknown figures are None.

    A group has no name, label and primitive, and no device if its layers run on several.
    ``cumulative_pct`` is the share of this row and all rows above.
    """

    name: str
    label: str
    type: str
    precision: str | None
    device: str | None
    primitive: str
    layers: int
    time_ms: float
    share_pct: float
    cumulative_pct: float
    gflops: float | None
    gflops_per_s: float | None


def by_layer(layers: Sequence[Layer]) -> list[Slice]:
    """Return a row for each layer, the slowest first."""
    return _ranked([layer] for layer in layers)


def by_kind(layers: Sequence[Layer]) -> list[Slice]:
    """Return a row for each type and precision, the slowest first."""
    groups: dict[tuple[str, str | None], list[Layer]] = {}
    for layer in layers:
        groups.setdefault((layer.type, layer.precision), []).append(layer)
    return _ranked(groups.values())


def _ranked(groups: Iterable[Sequence[Layer]]) -> list[Slice]:
    ordered = sorted(groups, key=lambda group: -_time_ms(group))
    total_ms = sum(_time_ms(group) for group in ordered)
    rows: list[Slice] = []
    cumulative_ms = 0.0
    for group in ordered:
        cumulative_ms += _time_ms(group)
        rows.append(_slice(group, total_ms, cumulative_ms))
    return rows


def _slice(group: Sequence[Layer], total_ms: float, cumulative_ms: float) -> Slice:
    first, single, time_ms = group[0], len(group) == 1, _time_ms(group)
    flops = [layer.flops for layer in group if layer.flops is not None]
    gflops = sum(flops) / 1e9 if flops else None
    return Slice(
        name=first.name if single else "",
        label=first.label if single else "",
        type=first.type,
        precision=first.precision,
        device=first.device if len({layer.device for layer in group}) == 1 else None,
        primitive=first.primitive if single else "",
        layers=len(group),
        time_ms=time_ms,
        share_pct=100 * time_ms / total_ms if total_ms else 0.0,
        cumulative_pct=100 * cumulative_ms / total_ms if total_ms else 0.0,
        gflops=gflops,
        gflops_per_s=1000 * gflops / time_ms if gflops is not None and time_ms else None,
    )


def _time_ms(group: Sequence[Layer]) -> float:
    return sum(layer.time_ms or 0.0 for layer in group)
