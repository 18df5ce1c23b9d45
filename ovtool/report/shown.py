"""Which rows a page holds when there are too many for it: fronts and summaries first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.results.rows import first_of_each
from ovtool.selection.pareto import not_dominated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from ovtool.results.rows import Rows

LIMIT = 2000
"""Rows of a page: more could neither be read nor drawn, and it would outgrow 5 MB."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Some rows of a table.

    Args:
        rows: The rows, in their order.
        total: How many there were.
        why: Which they are, in words; empty when they are all.
    """

    rows: Rows
    total: int
    why: str = ""


def shown(rows: Rows, always: Collection[str] = (), limit: int = LIMIT) -> Shown:
    """Return all rows, or of too many the ones that decide.

    These are, until the limit is reached: those asked for, the Pareto front of latency and
    throughput, of each configuration the row of most throughput and that of least latency, the
    rows of batch 1 under the latency hint, the failed, and then the others in order.

    Args:
        rows: Of a table.
        always: Trials whose rows are kept in any case.
        limit: Most rows.
    """
    if len(rows) <= limit:
        return Shown(rows, len(rows))
    kept: dict[int, None] = {}
    for places in _ranked(rows, always):
        kept |= dict.fromkeys(places)
        if len(kept) >= limit:
            break
    return Shown(
        rows.take(sorted(list(kept)[:limit])),
        len(rows),
        "the recommended and the next best, the Pareto front of latency and throughput, the row of"
        " most throughput and of least latency of each configuration and the failed come first,"
        " then the others in order",
    )


def front(rows: Rows) -> list[int]:
    """Return the indices of the rows that none beats in both p50 latency and throughput."""
    drawn = np.flatnonzero(_drawn(rows))
    kept = rows.take(drawn)
    values = np.column_stack([-kept.numbers("latency_p50_ms"), kept.numbers("throughput_fps")])
    return [int(drawn[place]) for place in not_dominated(values)]


def _ranked(rows: Rows, always: Collection[str]) -> Iterator[list[int]]:
    """Yield indices of the rows, those that tell most first; some more than once."""
    for trial in always:
        yield np.flatnonzero(rows.equal("trial", trial)).tolist()
    yield front(rows)
    drawn = np.flatnonzero(_drawn(rows))
    kept = rows.take(drawn)
    for values in (-kept.numbers("throughput_fps"), kept.numbers("latency_p50_ms")):
        yield drawn[first_of_each(kept.kinds(), np.argsort(values, kind="stable"))].tolist()
    single = (kept.numbers("batch") == 1) & kept.equal("load", "latency")
    yield drawn[single].tolist()
    yield np.flatnonzero(~rows.equal("status", "ok")).tolist()
    yield list(range(len(rows)))


def _drawn(rows: Rows) -> NDArray[np.bool_]:
    """Return which rows have both figures, of real devices."""
    known = rows.known("latency_p50_ms") & rows.known("throughput_fps")
    return known & rows.equal("status", "ok") & ~rows.known("emulated")
