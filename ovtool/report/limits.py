"""The user's limits, and how a row stands to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ovtool import units
from ovtool.columns import BY_NAME
from ovtool.errors import InputError
from ovtool.report.rows import Row, answering, figure, figure_text, words

if TYPE_CHECKING:
    from ovtool.statistics import Interval

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

    Raises:
        InputError: A limit is not a positive number, or the quality is not a share.
    """

    max_latency_ms: float | None = None
    min_throughput_fps: float | None = None
    min_quality: float | None = None
    max_model_mib: float | None = None
    allow_estimates: bool = False

    def __post_init__(self) -> None:
        """Check them."""
        for name in ("max_latency_ms", "min_throughput_fps", "max_model_mib"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, not {value}")
        if self.min_quality is not None and not 0 <= self.min_quality <= 1:
            raise InputError(
                f"min_quality must be a share within 0 and 1, not {self.min_quality}",
                "95 % is 0.95",
            )


@dataclass(frozen=True, slots=True)
class Check:
    """One limit against one row.

    The value decides whether a limit is kept; the interval says how sure that is.  Without an
    interval the value is taken as it is.
    """

    column: str
    limit: float
    figure: Interval
    text: str
    """The figure with its interval and unit."""

    @property
    def upper(self) -> bool:
        """Whether the limit is a greatest value, and not a least one."""
        return BY_NAME[self.column].better == "lower"

    @property
    def kept(self) -> bool:
        """Whether the value keeps the limit."""
        value = self.figure.value
        return value <= self.limit if self.upper else value >= self.limit

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
        over = self.figure.value - self.limit
        distance = over if self.upper else -over
        return 0.0 if distance <= 0 else distance / self.limit

    @property
    def limit_text(self) -> str:
        """The limit in words."""
        unit = BY_NAME[self.column].unit
        least = "at most" if self.upper else "at least"
        return f"{words(self.column)} {least} {self.limit:g}{' ' + unit if unit else ''}"

    @property
    def miss_text(self) -> str:
        """By how much it is missed, in words."""
        if self.outcome == "unknown":
            return f"{words(self.column)} is not known"
        by = units.text(abs(self.figure.value - self.limit))
        unit = BY_NAME[self.column].unit
        side = "over" if self.upper else "under"
        straddles = ", within its interval" if self.outcome == "uncertain" else ""
        return (
            f"{words(self.column)} {self.text}: {by}{' ' + unit if unit else ''} "
            f"({units.text(100 * self.excess, 2)} %) {side} {self.limit:g}{straddles}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        value = self.figure.value
        return {
            "column": self.column,
            "limit": self.limit,
            "value": None if math.isnan(value) else value,
            "outcome": self.outcome,
            "excess": None if math.isnan(self.excess) else self.excess,
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row with its figure of the objective, and how it stands to the limits.

    ``text`` is the figure with its interval and unit, and the word for a compiler's estimate.
    """

    row: Row
    label: str
    figure: Interval
    text: str
    checks: tuple[Check, ...]

    @classmethod
    def of(
        cls, row: Row, label: str, column: str, limits: Limits, percentile: int, quality: str | None
    ) -> Candidate:
        """Return a row as a candidate; an estimated one stands with its estimate for any latency.

        Args:
            row: A row that is measured or estimated.
            label: Its name.
            column: Of the objective.
            limits: The limits.
            percentile: Of the latency that a limit is for.
            quality: The column of quality; None when it was evaluated nowhere.
        """
        own = answering(row, column)
        word = ", the compiler's estimate" if own != column else ""
        return cls(
            row,
            label,
            figure(row, own),
            f"{figure_text(row, own)}{word}",
            checks(row, limits, percentile, quality),
        )

    @property
    def fits(self) -> bool:
        """Whether its values keep every limit."""
        return all(check.kept for check in self.checks)

    @property
    def excess(self) -> float:
        """Sum of what it misses, as shares of the limits; NaN when a figure is unknown."""
        return sum(check.excess for check in self.checks)


def checks(row: Row, limits: Limits, percentile: int, quality: str | None) -> tuple[Check, ...]:
    """Return the limits that are set against a row.

    Args:
        row: A row that is measured or estimated.
        limits: The limits.
        percentile: Of ``trial.PERCENTILES``, that the latency limit is for.
        quality: The column of quality; None when it was evaluated nowhere.
    """
    asked = (
        (f"latency_p{percentile}_ms", limits.max_latency_ms),
        ("throughput_fps", limits.min_throughput_fps),
        (quality or "agreement_top1", limits.min_quality),
        ("model_mib", limits.max_model_mib),
    )
    return tuple(
        Check(column, limit, figure(row, column), figure_text(row, column))
        for column, limit in ((answering(row, name), limit) for name, limit in asked)
        if limit is not None
    )
