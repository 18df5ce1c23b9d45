"""Quantities of limits and objectives: a column, or a figure computed from a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.columns import BY_NAME, Column
from ovtool.results.labels import column_label, figure_text, interval_text
from ovtool.results.rows import Figures, Row, Rows, get_figures, resolve_column, resolve_figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.core.columns import QualityMetric
    from ovtool.results.table import ResultsTable
    from ovtool.selection.prices import Prices

COMPARED: tuple[QualityMetric, ...] = ("agreement_top1", "output_cosine")
"""Metrics without labels: the uncompressed model has 1 by definition."""
_HOURLY_TO_MILLION = 1e6 / 3600


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of rows, with the name, unit and direction of a column."""

    column: Column
    of: Callable[[Rows], Figures]
    """Figures of rows; NaN where unknown."""
    evidence: Callable[[Row], str] = lambda _: ""
    """Source of a row's figure; empty if the figure is the column."""

    @property
    def label(self) -> str:
        """The name inside a sentence."""
        name = self.column.name
        return column_label(name) if name in BY_NAME else self.column.title

    @property
    def lower(self) -> bool:
        """Whether lower figures are better."""
        return self.column.better == "lower"

    def text(self, row: Row) -> str:
        """Return the figure of a row with its interval, unit and source."""
        figure = interval_text(self.of(Rows.from_row(row))[0], self.column)
        evidence = self.evidence(row)
        return f"{figure} ({evidence})" if evidence else figure


def column_quantity(name: str) -> Quantity:
    """Return the quantity of a column; estimated rows use their estimate for every latency."""

    def evidence(row: Row) -> str:
        return "the compiler's estimate" if resolve_column(row, name) != name else ""

    return Quantity(BY_NAME[name], lambda rows: resolve_figures(rows, name), evidence)


def drop_quantity(metric: QualityMetric | None) -> Quantity:
    """Return the loss of quality against the uncompressed model, in the unit of the metric.

    Metrics that compare outputs with those of the uncompressed model are 1 without a loss.  That of
    the perplexity is its rise as a share of the perplexity of the uncompressed model.
    """
    if metric == "perplexity":
        return _perplexity_rise()
    if metric is None or metric not in COMPARED:
        return column_quantity("quality_loss")

    def of(rows: Rows) -> Figures:
        figures = resolve_figures(rows, metric)
        return Figures(1 - figures.value, 1 - figures.high, 1 - figures.low)

    column = Column("quality_drop", f"loss of {BY_NAME[metric].title}", "derived",
                    f"1 - {BY_NAME[metric].title}", "", "lower", interval=True)  # fmt: skip
    return Quantity(column, of)


def _perplexity_rise() -> Quantity:
    def of(rows: Rows) -> Figures:
        figures = resolve_figures(rows, "perplexity_rise_pct")
        return Figures(figures.value / 100, figures.low / 100, figures.high / 100)

    column = Column("perplexity_rise", "rise of the perplexity", "derived",
                    "perplexity / that of the uncompressed model - 1", "", "lower",
                    interval=True)  # fmt: skip
    return Quantity(column, of)


def cost_quantity(prices: Prices) -> Quantity:
    """Return the cost of a million samples on the machine of the row.

    ``price per hour / (throughput in samples/s * 3600) * 1e6``: the machine is assumed to be fully
    used.  Unknown if the machine has no price.
    """

    def of(rows: Rows) -> Figures:
        codes = rows.group_codes(("machine", "host", "host_labels"))
        _, first, machine = np.unique(codes, return_index=True, return_inverse=True)
        known = [prices.of_row(rows[int(index)]) for index in first]
        factor = np.array(known, float)[machine] * _HOURLY_TO_MILLION  # None becomes NaN
        rate = get_figures(rows, "throughput_fps")
        value, low, high = (
            np.where(end > 0, end, np.nan) for end in (rate.value, rate.low, rate.high)
        )
        return Figures(factor / value, factor / high, factor / low)

    def evidence(row: Row) -> str:
        price = prices.of_row(row)
        if price is None:
            return "the machine has no price"
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


def sustained_rate_quantity(table: ResultsTable) -> Quantity:
    """Return the sustained request rate of a row.

    In an open loop: the arrival rate, or the rate served if the device did not keep up.  In a
    closed loop: throughput / batch, a capacity without the waiting time of random arrivals.
    """

    def sustained(row: Row) -> bool:
        return all(note.id != "rate-not-kept" for note in table.details_of(row).notes)

    def of(rows: Rows) -> Figures:
        served, batch = get_figures(rows, "throughput_fps"), rows.numbers("batch")
        arrivals = get_figures(rows, "rate_rps")
        by_arrivals = rows.known("rate_rps")
        by_arrivals[by_arrivals] = [sustained(row) for row in rows.take(by_arrivals)]
        low, high = (
            np.where(arrivals.known, end, arrivals.value) for end in (arrivals.low, arrivals.high)
        )
        return Figures(
            np.where(by_arrivals, arrivals.value, served.value / batch),
            np.where(by_arrivals, low, served.low / batch),
            np.where(by_arrivals, high, served.high / batch),
        )

    def evidence(row: Row) -> str:
        if row["rate_rps"] is None:
            return "closed loop: throughput / batch"
        if sustained(row):
            return "open loop: this arrival rate was sustained"
        return f"open loop: served of {row['rate_rps']:g} requests/s"

    column = Column(
        "sustained_rps",
        "sustained rate",
        "derived",
        "request rate that is sustained",
        "requests/s",
        "higher",
        interval=True,
    )
    return Quantity(column, of, evidence)
