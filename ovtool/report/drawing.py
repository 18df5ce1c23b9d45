"""What all charts share: the record of a chart, axes, and what hovering shows.

Every chart is a single view, so that the page can stretch it to its column, and has no colours of
its own (``theme``).  Names only ever appear as data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.columns import COLUMNS
from ovtool.report.rows import Row, figure, figure_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

WIDTH, HEIGHT = 720, 420
LOG_FROM = 10.0
"""Largest over least value from which an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its name as a file, what it shows in words, and its specification."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of positive values, from zero, or logarithmic where they lie far apart."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[float]) -> Axis:
        """Return the axis for some values."""
        least, most = min(values), max(values)
        if least > 0 and most / least > LOG_FROM:
            return cls(least / 1.25, most * 1.25, log=True)
        return cls(0.0, 1.06 * most, log=False)

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return value / self.high if self.high else 0.0


_HOVER = tuple(
    c
    for c in COLUMNS
    if c.name not in ("status", "reason", "environment", "sweep", "trial", "hint")
)


def details(row: Row) -> dict[str, Any]:
    """Return what hovering shows, as text by the titles of the columns."""
    found = {}
    for column in _HOVER:
        if row[column.name] is not None:
            text = column.text or not isinstance(row[column.name], float)
            found[f"t_{column.name}"] = (
                str(row[column.name]) if text else figure_text(row, column.name)
            )
    return found


def tooltips(data: Sequence[dict[str, Any]]) -> list[alt.Tooltip]:
    """Return the hover fields that any point has."""
    import altair as alt

    used = {key for one in data for key in one}
    return [
        alt.Tooltip(f"t_{column.name}:N", title=column.title)
        for column in _HOVER
        if f"t_{column.name}" in used
    ]


def bounds(row: Row, name: str, axis: str) -> dict[str, float | None]:
    """Return a figure and its interval as ``x``, ``x_low``, ``x_high``; None where unknown."""
    value = figure(row, name)
    known = value.known
    return {
        axis: value.value,
        f"{axis}_low": value.low if known else None,
        f"{axis}_high": value.high if known else None,
    }


def spec(layers: Sequence[alt.Chart], height: int) -> dict[str, Any]:
    """Return the specification of layers drawn one over another, without altair's config."""
    import altair as alt

    made: dict[str, Any] = alt.layer(*layers).properties(width=WIDTH, height=height).to_dict()
    made.pop("config", None)
    return made
