"""The user's limits, and how a row stands to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core import units
from ovtool.selection.quantities import Quantity, cost, measured_in, sustained_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Figures, Row
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice_spec import ChoiceSpec

    _Values = float | NDArray[np.float64]

Outcome = Literal["met", "uncertain", "missed", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One limit against one row.

    The value decides whether a limit is kept; the interval says how sure that is.  Without an
    interval the value is taken as it is.
    """

    quantity: Quantity
    limit: float
    figure: Interval
    text: str
    """The figure with its interval and unit, and what it comes from."""

    @property
    def upper(self) -> bool:
        """Whether the limit is a greatest value, and not a least one."""
        return self.quantity.lower

    @property
    def kept(self) -> bool:
        """Whether the value keeps the limit."""
        return bool(kept(self.figure.value, self.limit, self.upper))

    @property
    def outcome(self) -> Outcome:
        """``met`` or ``missed`` by the whole interval, ``uncertain`` when it straddles."""
        if math.isnan(self.figure.value):
            return "unknown"
        if self.figure.known and self.figure.low < self.limit < self.figure.high:
            return "uncertain"
        return "met" if self.kept else "missed"

    @property
    def excess(self) -> float:
        """By what share of the limit it is missed; 0 when kept, NaN when unknown."""
        return float(excess(self.figure.value, self.limit, self.upper))

    @property
    def limit_text(self) -> str:
        """The limit in words."""
        return Asked(self.quantity, self.limit).text

    @property
    def miss_text(self) -> str:
        """By how much it is missed, in words."""
        if self.outcome == "unknown":
            told = self.quantity.words
            return f"{told} is not known{self.text.partition(units.UNKNOWN)[2]}"
        by = units.text(abs(self.figure.value - self.limit))
        unit = self.quantity.column.unit
        side = "over" if self.upper else "under"
        straddles = ", within its interval" if self.outcome == "uncertain" else ""
        return (
            f"{self.quantity.words} {self.text}: {by}{' ' + unit if unit else ''} "
            f"({units.text(100 * self.excess, 2)} %) {side} {self.limit:g}{straddles}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        value = self.figure.value
        return {
            "column": self.quantity.column.name,
            "unit": self.quantity.column.unit,
            "limit": self.limit,
            "value": None if math.isnan(value) else value,
            "text": self.text,
            "outcome": self.outcome,
            "excess": None if math.isnan(self.excess) else self.excess,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A limit that was set, and the quantity that it is about."""

    quantity: Quantity
    limit: float

    @property
    def text(self) -> str:
        """The limit in words."""
        least = "at most" if self.quantity.lower else "at least"
        unit = self.quantity.column.unit
        return f"{self.quantity.words} {least} {self.limit:g}{' ' + unit if unit else ''}"

    def check(self, row: Row, figure: Interval) -> Check:
        """Hold a row with its figure against it."""
        return Check(self.quantity, self.limit, figure, self.quantity.text(row))

    def kept(self, figures: Figures) -> NDArray[np.bool_]:
        """Return which figures keep it."""
        return np.asarray(kept(figures.value, self.limit, self.quantity.lower))

    def excess(self, figures: Figures) -> NDArray[np.float64]:
        """Return by what share of the limit each figure misses it; NaN where unknown."""
        return np.asarray(excess(figures.value, self.limit, self.quantity.lower))


def kept(value: _Values, limit: float, upper: bool) -> NDArray[np.bool_]:
    """Return whether values keep a limit; one that is unknown does not."""
    return np.asarray(value <= limit if upper else value >= limit)


def excess(value: _Values, limit: float, upper: bool) -> NDArray[np.float64]:
    """Return by what share of a limit values miss it; 0 where kept, NaN where unknown."""
    over = np.asarray(value) - limit
    return np.maximum(0.0, over if upper else -over) / limit


def asked(spec: ChoiceSpec, table: ResultsTable) -> tuple[Asked, ...]:
    """Return the limits that are set.

    Args:
        spec: The limits, and the latency percentile of the latency limit.
        table: Table of the rows: its quality metric and details.
    """
    return tuple(_asked(spec, table))


def _asked(spec: ChoiceSpec, table: ResultsTable) -> Iterator[Asked]:
    columns = (
        (f"latency_p{spec.percentile}_ms", spec.max_latency_ms),
        ("throughput_fps", spec.min_throughput_fps),
        (table.quality_metric or "agreement_top1", spec.min_quality),
        ("model_mib", spec.max_model_mib),
        ("peak_rss_mib", spec.max_memory_mib),
        ("energy_mj_per_sample", spec.max_energy_mj),
    )
    for column, limit in columns:
        if limit is not None:
            yield Asked(measured_in(column), limit)
    if spec.max_cost is not None and (prices := spec.price_table()) is not None:
        yield Asked(cost(prices), spec.max_cost)
    if spec.rate is not None:
        yield Asked(sustained_rate(table), spec.rate)
