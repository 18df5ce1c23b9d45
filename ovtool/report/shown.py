"""Which rows a page holds when there are too many for it: fronts and summaries first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ovtool.report.front import not_dominated
from ovtool.report.rows import Config

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pandas as pd

LIMIT = 2000
"""Rows of a page: more could neither be read nor drawn, and it would outgrow 5 MB."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Some rows of a table.

    Args:
        table: The rows, in their order.
        total: How many there were.
        why: Which they are, in words; empty when they are all.
    """

    table: pd.DataFrame
    total: int
    why: str = ""


def shown(table: pd.DataFrame, always: Collection[str] = (), limit: int = LIMIT) -> Shown:
    """Return all rows, or of too many the ones that decide.

    These are, until the limit is reached: those asked for, the Pareto front of latency and
    throughput, of each configuration the row of most throughput and that of least latency, the
    rows of batch 1 under the latency hint, the failed, and then the others in order.

    Args:
        table: Of :func:`ovtool.report.table.load`.
        always: Trials whose rows are kept in any case.
        limit: Most rows.
    """
    if len(table) <= limit:
        return Shown(table, len(table))
    places = list(dict.fromkeys(_ranked(table, always)))[:limit]
    return Shown(
        table.iloc[sorted(places)],
        len(table),
        "the recommended and the next best, the Pareto front of latency and throughput, the row of"
        " most throughput and of least latency of each configuration and the failed come first,"
        " then the others in order",
    )


def front(table: pd.DataFrame) -> list[int]:
    """Return the places of the rows that none beats in both p50 latency and throughput."""
    real = _real(table)
    values = real[["latency_p50_ms", "throughput_fps"]].to_numpy(float) * (-1.0, 1.0)
    return [int(place) for place in real.index[not_dominated(values)]]


def _ranked(table: pd.DataFrame, always: Collection[str]) -> Iterator[int]:
    """Yield the places of the rows, those that tell most first; some more than once."""
    numbered = table.reset_index(drop=True)
    yield from numbered.index[numbered["trial"].isin(list(always))]
    yield from front(table)
    real = _real(table)
    configurations = real.groupby([field.name for field in fields(Config)], dropna=False)
    yield from configurations["throughput_fps"].idxmax()
    yield from configurations["latency_p50_ms"].idxmin()
    single = real[(real["batch"] == 1) & (real["load"] == "latency")]
    yield from single.index
    yield from numbered.index[numbered["status"] != "ok"]
    yield from numbered.index


def _real(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with both figures, of real devices, with their places as the index."""
    numbered = table.reset_index(drop=True)
    known = numbered["latency_p50_ms"].notna() & numbered["throughput_fps"].notna()
    return numbered[known & (numbered["status"] == "ok") & numbered["emulated"].isna()]
