"""The user's limits, and how a row stands to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.selection.quantities import Quantity, cost, measured_in, sustained_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Figures, Row
    from ovtool.results.table import ResultsTable
    from ovtool.selection.prices import Prices

    _Values = float | NDArray[np.float64]

Outcome = Literal["met", "uncertain", "missed", "unknown"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row must keep to; None is no limit.

    Args:
        max_latency_ms: Of one inference request, at the percentile that is asked for with it.
        min_throughput_fps: In samples a second.
        min_quality: Top-1 or character accuracy; agreement where there were no labels; 0 to 1.
        max_model_mib: Of the IR's two files.
        allow_estimates: Whether a row may be a compiler's estimate, and need not be measured.
        max_memory_mib: Greatest resident memory of the measuring process.
        max_energy_mj: Of one sample.
        max_cost: Of a million samples, in the currency of ``prices``.
        rate_rps: Requests a second that must be sustained.
        prices: Of the machines, for ``max_cost`` and for cost as an objective.

    Raises:
        InputError: A limit is not a positive number, the quality is not a share, or a greatest
            cost comes without prices.
    """

    max_latency_ms: float | None = None
    min_throughput_fps: float | None = None
    min_quality: float | None = None
    max_model_mib: float | None = None
    allow_estimates: bool = False
    max_memory_mib: float | None = None
    max_energy_mj: float | None = None
    max_cost: float | None = None
    rate_rps: float | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        """Check them."""
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, not {value}")
        if self.min_quality is not None and not 0 <= self.min_quality <= 1:
            raise InputError(
                f"min_quality must be a share within 0 and 1, not {self.min_quality}",
                "95 % is 0.95",
            )
        if self.max_cost is not None and self.prices is None:
            raise InputError("max_cost needs the prices of the machines", "give them with --prices")


_POSITIVE = (
    "max_latency_ms",
    "min_throughput_fps",
    "max_model_mib",
    "max_memory_mib",
    "max_energy_mj",
    "max_cost",
    "rate_rps",
)


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


def asked(limits: Limits, percentile: int, table: ResultsTable) -> tuple[Asked, ...]:
    """Return the limits that are set.

    Args:
        limits: The limits.
        percentile: Of ``trial.PERCENTILES``, that the latency limit is for.
        table: Table of the rows: its quality metric and details.
    """
    return tuple(_asked(limits, percentile, table))


def _asked(limits: Limits, percentile: int, table: ResultsTable) -> Iterator[Asked]:
    columns = (
        (f"latency_p{percentile}_ms", limits.max_latency_ms),
        ("throughput_fps", limits.min_throughput_fps),
        (table.quality_metric or "agreement_top1", limits.min_quality),
        ("model_mib", limits.max_model_mib),
        ("peak_rss_mib", limits.max_memory_mib),
        ("energy_mj_per_sample", limits.max_energy_mj),
    )
    for column, limit in columns:
        if limit is not None:
            yield Asked(measured_in(column), limit)
    if limits.max_cost is not None and limits.prices is not None:
        yield Asked(cost(limits.prices), limits.max_cost)
    if limits.rate_rps is not None:
        yield Asked(sustained_rate(table), limits.rate_rps)
