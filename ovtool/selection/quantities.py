"""Quantities that limits and objectives are about: a column, or a figure worked out from a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.columns import BY_NAME, Column
from ovtool.results.labels import column_label, figure_text, interval_text
from ovtool.results.rows import Figures, Row, Rows, get_figures, resolve_column, resolve_figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.results.table import ResultsTable
    from ovtool.selection.prices import Prices

NOT_KEPT = "rate-not-kept"
"""Id of the note of a row whose requests arrived faster than they were served."""
_PER_MILLION = 1e6 / 3600


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of rows, under the name, unit and direction of a column.

    Args:
        column: What it is called, its unit, and which way is better.
        of: The figures of some rows; NaN where unknown.
        evidence: What the figure of a row comes from, in words; empty where that is the column.
    """

    column: Column
    of: Callable[[Rows], Figures]
    evidence: Callable[[Row], str] = lambda _: ""

    @property
    def words(self) -> str:
        """What it is called inside a sentence."""
        return column_label(self.column.name) if self.column.name in BY_NAME else self.column.title

    @property
    def lower(self) -> bool:
        """Whether less is better."""
        return self.column.better == "lower"

    def text(self, row: Row) -> str:
        """Return the figure of a row with its interval, its unit and what it comes from."""
        shown = interval_text(self.of(Rows.from_row(row))[0], self.column)
        evidence = self.evidence(row)
        return f"{shown} ({evidence})" if evidence else shown


def measured_in(name: str) -> Quantity:
    """Return the quantity of a column; a row that is an estimate answers any latency with it."""

    def evidence(row: Row) -> str:
        return "the compiler's estimate" if resolve_column(row, name) != name else ""

    return Quantity(BY_NAME[name], lambda rows: resolve_figures(rows, name), evidence)


def cost(prices: Prices) -> Quantity:
    """Return what a million samples cost at the measured throughput, on the machine of the row.

    ``price per hour / (throughput in samples/s * 3600) * 1e6``: the machine is paid for whole, and
    is taken to be busy all the time.  Unknown where the machine has no price.
    """

    def of(rows: Rows) -> Figures:
        factor, rate = np.full(len(rows), np.nan), get_figures(rows, "throughput_fps")
        for machine in rows.unique("machine"):
            price = prices.of(machine)
            if price is not None:
                factor[rows.equal("machine", machine)] = price * _PER_MILLION
        value, low, high = (
            np.where(end > 0, end, np.nan) for end in (rate.value, rate.low, rate.high)
        )
        return Figures(factor / value, factor / high, factor / low)

    def evidence(row: Row) -> str:
        price = prices.of(row["machine"])
        if price is None:
            return "its machine has no price"
        return f"{price:g} {prices.currency}/h at {figure_text(row, 'throughput_fps')}"

    column = Column(
        "cost_per_million",
        "cost",
        "derived",
        "price of the machine's time for a million samples, at the measured throughput",
        f"{prices.currency}/million samples",
        "lower",
        interval=True,
    )
    return Quantity(column, of, evidence)


def sustained_rate(table: ResultsTable) -> Quantity:
    """Return the requests a second that a row sustains.

    Where requests arrived on their own, the rate that was kept up with, or what was served of one
    that was not; else throughput / batch with every request kept busy: a capacity, which says
    nothing of how long requests wait when they arrive at random.
    """

    def kept(row: Row) -> bool:
        return all(note.id != NOT_KEPT for note in table.details_of(row).notes)

    def of(rows: Rows) -> Figures:
        rate, batch = get_figures(rows, "throughput_fps"), rows.numbers("batch")
        arrived = get_figures(rows, "rate_rps")
        own = rows.known("rate_rps")
        own[own] = [kept(row) for row in rows.take(own)]
        low, high = (
            np.where(arrived.known, end, arrived.value) for end in (arrived.low, arrived.high)
        )
        return Figures(
            np.where(own, arrived.value, rate.value / batch),
            np.where(own, low, rate.low / batch),
            np.where(own, high, rate.high / batch),
        )

    def evidence(row: Row) -> str:
        if row["rate_rps"] is None:
            return "throughput / batch, every request kept busy"
        if kept(row):
            return "requests that arrived at this rate were kept up with"
        return f"served of {row['rate_rps']:g} requests/s that arrived"

    column = Column(
        "sustained_rps",
        "sustained rate",
        "derived",
        "requests a second that are kept up with",
        "requests/s",
        "higher",
        interval=True,
    )
    return Quantity(column, of, evidence)
