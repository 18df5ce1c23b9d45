"""The limits of a choice, and the check of a row against them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import InputError
from ovtool.results.labels import column_label
from ovtool.selection.choice_spec import DEFAULT_PERCENTILE, parse_objective
from ovtool.selection.quantities import (
    COMPARED,
    Quantity,
    column_quantity,
    cost_quantity,
    drop_quantity,
    sustained_rate_quantity,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Figures, Row
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice_spec import ChoiceSpec


Outcome = Literal["met", "uncertain", "missed", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """A row's figure against a limit.

    The value decides whether the limit is satisfied; the interval shows the certainty.  ``text``
    is the figure with its interval, unit and source.
    """

    limit: Limit
    figure: Interval
    text: str

    @property
    def satisfied(self) -> bool:
        """Whether the figure satisfies the limit; see :class:`Limit` for unknown figures."""
        return bool(self.limit.satisfied(self.figure))

    @property
    def outcome(self) -> Outcome:
        """``met`` or ``missed`` by the whole interval, ``uncertain`` if it straddles the limit."""
        if math.isnan(self.figure.value):
            return "unknown"
        if self.limit.default:
            return "met" if self.satisfied else "missed"
        if self.figure.known and self.figure.low < self.limit.value < self.figure.high:
            return "uncertain"
        return "met" if self.satisfied else "missed"

    @property
    def excess(self) -> float:
        """Excess over the limit as a fraction of it; 0 if satisfied, NaN if unknown."""
        return float(self.limit.excess(self.figure))

    @property
    def miss_text(self) -> str:
        """The distance from the limit as text."""
        quantity = self.limit.quantity
        if self.outcome == "unknown":
            return f"{quantity.label} is unknown{self.text.partition(units.UNKNOWN)[2]}"
        uncertain = ", within the interval" if self.outcome == "uncertain" else ""
        return f"{quantity.label} {self.text}: {self._distance}{uncertain}"

    @property
    def _distance(self) -> str:
        """The distance from the limit: in percent, or as a multiple where it is larger."""
        quantity, limit = self.limit.quantity, self.limit.value
        if quantity.lower and limit > 0 and self.excess >= 1:
            return f"{units.text(self.figure.value / limit)}x the limit of {limit:g}"
        gap = units.text(abs(self.figure.value - limit))
        share = f" ({units.text(100 * self.excess, 2)}%)" if limit > 0 else ""
        side = "over" if quantity.lower else "under"
        return f"{units.with_unit(gap, quantity.column.unit)}{share} {side} {limit:g}"

    def option_that_takes(self, row: Row, metric: QualityMetric | None) -> str:
        """Return the option with the nearest round limit that the figure satisfies.

        ``metric`` is the column of quality, in the units of which ``min_quality`` is given.
        """
        value, lower = self.figure.value, self.limit.quantity.lower
        if self.limit.option == "min_quality" and metric is not None:
            value, lower = row[metric], BY_NAME[metric].better == "lower"
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
        rounded = (math.ceil if lower else math.floor)(value / step) * step
        return self.limit.with_value(rounded)

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON types."""
        value, column = self.figure.value, self.limit.quantity.column
        return {
            "column": column.name,
            "unit": column.unit,
            "limit": self.limit.value,
            "value": None if math.isnan(value) else value,
            "text": self.text,
            "outcome": self.outcome,
            "excess": None if math.isnan(self.excess) else self.excess,
            "default": self.limit.default,
        }


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a quantity: a maximum if lower is better, else a minimum.

    Args:
        quantity: What is limited.
        value: The limit.
        option: The field of :class:`ChoiceSpec` that sets it.
        default: Whether it applies without the user's wish.  Then only a figure whose interval
            excludes the limit misses it, or, without an interval, one beyond :data:`TOLERANCE`;
            an unknown figure does not.
    """

    quantity: Quantity
    value: float
    option: str
    default: bool = False

    @property
    def text(self) -> str:
        """The limit as text."""
        bound = "at most" if self.quantity.lower else "at least"
        value = units.with_unit(f"{self.value:g}", self.quantity.column.unit)
        return f"{self.quantity.label} {bound} {value}"

    @property
    def as_option(self) -> str:
        """The options of ``choose`` that set the limit."""
        return self.with_value(self.value)

    def with_value(self, value: float) -> str:
        """Return the options of ``choose`` that set another value of the limit."""
        name = self.quantity.column.name
        other = self.option == "max_latency_ms" and name != f"latency_p{DEFAULT_PERCENTILE}_ms"
        percentile = f" --percentile {name.split('_')[1][1:]}" if other else ""
        return f"--{self.option.replace('_', '-')} {value:.6g}{percentile}"

    def check(self, row: Row, figure: Interval) -> Check:
        """Return the check of a row with its figure."""
        return Check(self, figure, self.quantity.text(row))

    def satisfied(self, figures: Interval | Figures) -> NDArray[np.bool_]:
        """Return a mask of the figures that satisfy the limit."""
        values = np.asarray(figures.value)
        if not self.default:
            return values <= self.value if self.quantity.lower else values >= self.value
        low, high = (np.asarray(end) for end in (figures.low, figures.high))
        if self.quantity.lower:
            best = np.where(np.isnan(low), values - TOLERANCE, low)
            return np.asarray(~(best > self.value))
        best = np.where(np.isnan(high), values + TOLERANCE, high)
        return np.asarray(~(best < self.value))

    def excess(self, figures: Interval | Figures) -> NDArray[np.float64]:
        """Return the excess of each value as a fraction of the limit.

        NaN if the value is unknown, but 0 for a default limit, which it does not miss.
        """
        values = np.asarray(figures.value)
        over = values - self.value if self.quantity.lower else self.value - values
        excess = np.maximum(0.0, over) / (abs(self.value) or 1.0)
        return np.where(self.satisfied(figures), 0.0, excess)


TOLERANCE = 0.01
"""Loss of a figure without an interval that is not a loss: 1%, as MLPerf Inference allows."""
_KEPT = 0.99
"""Share of the uncompressed model's quality that is kept, as MLPerf Inference demands."""


def default_quality_limit(table: ResultsTable, spec: ChoiceSpec) -> Limit | None:
    """Return the limit of quality that applies if the user sets none and no such objective.

    By labels: no measurable loss against the uncompressed model on the same samples.  Without
    labels: an agreement or cosine of 0.99 is not excluded.  Over a text: a perplexity 1% above that
    of the uncompressed model is not excluded.  None if quality is not known.
    """
    metric = table.quality_metric
    limits = (spec.min_quality, spec.max_drop, spec.max_perplexity)
    limited = any(limit is not None for limit in limits)
    if limited or "quality" in parse_objective(spec.objective):
        return None
    if metric is None or metric == "custom_metric":
        return None
    if metric == "perplexity":
        return Limit(drop_quantity(metric), TOLERANCE, "max_drop", default=True)
    if metric in COMPARED:
        return Limit(column_quantity(metric), _KEPT, "min_quality", default=True)
    if not table.records.known("quality_loss").any():
        return None
    return Limit(column_quantity("quality_loss"), 0.0, "min_quality", default=True)


def list_limits(spec: ChoiceSpec, table: ResultsTable) -> tuple[Limit, ...]:
    """Return the limits that are set, with their quantities.

    Raises:
        InputError: The limit of quality is out of the range of the metric.
    """
    if spec.min_quality is not None and table.quality_metric is not None:
        check_quality(spec.min_quality, table.quality_metric)
    quantities = {
        "max_latency_ms": column_quantity(f"latency_p{spec.percentile}_ms"),
        "min_throughput_fps": column_quantity("throughput_fps"),
        "max_ttft_ms": column_quantity("ttft_ms"),
        "max_tpot_ms": column_quantity("tpot_ms"),
        "min_tokens_s": column_quantity("tokens_s"),
        "min_quality": column_quantity(table.quality_metric or "agreement_top1"),
        "max_drop": drop_quantity(table.quality_metric),
        "max_perplexity": column_quantity("perplexity"),
        "max_model_mib": column_quantity("model_mib"),
        "max_memory_mib": column_quantity("peak_rss_mib"),
        "max_energy_mj": column_quantity("energy_mj_per_sample"),
    }
    if (prices := spec.price_table()) is not None:
        quantities["max_cost"] = cost_quantity(prices)
    quantities["rate"] = sustained_rate_quantity(table)
    values = {name: getattr(spec, name) for name in quantities}
    return tuple(
        Limit(quantities[name], value, name) for name, value in values.items() if value is not None
    )


_RANGES: Mapping[QualityMetric, tuple[float, float]] = {
    "custom_metric": (-math.inf, math.inf),
    "mean_absolute_error": (0.0, math.inf),
    "perplexity": (1.0, math.inf),
    "output_cosine": (-1.0, 1.0),
    "accuracy_characters": (-math.inf, 1.0),
}
"""Ranges of the metrics that are no shares from 0 to 1."""


@dataclass(frozen=True, slots=True)
class QualityRange:
    """The values that a quality metric can have."""

    low: float
    high: float


def quality_range(column: QualityMetric) -> QualityRange:
    """Return the values that a limit of quality can have."""
    return QualityRange(*_RANGES.get(column, (0.0, 1.0)))


def check_quality(limit: float, column: QualityMetric) -> None:
    """Check a limit of quality.

    Raises:
        InputError: The limit is out of the range of the metric.
    """
    allowed = quality_range(column)
    if not allowed.low <= limit <= allowed.high:
        raise InputError(
            f"min_quality {limit:g} is out of range: {column_label(column)} is from"
            f" {allowed.low:g} to {allowed.high:g}",
            "write a share as 90% or 0.9",
        )
