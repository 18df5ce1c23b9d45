"""Rows that were not chosen: their distance from the winner, and the limits that they miss."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.statistics import ratio_unpaired

if TYPE_CHECKING:
    from ovtool.core.columns import QualityMetric
    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Row
    from ovtool.selection.candidates import Candidate, Candidates
    from ovtool.selection.limits import Check
    from ovtool.selection.quantities import Quantity


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """Another row, and its shortfall from the winner.

    Args:
        label: Name of the row.
        shortfall: The limits that it misses, or else its distance from the winner, as text.
        row: Values by column.
        ratio: Its figure of the objective / that of the winner.
        missed: The limits that it does not meet.
        tied: Whether the difference to the winner is not significant.
    """

    label: str
    shortfall: str
    row: Row
    ratio: Interval
    missed: tuple[Check, ...]
    tied: bool

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        return {
            "label": self.label,
            "shortfall": self.shortfall,
            "row": self.row,
            "ratio": asdict(self.ratio),
            "missed": [check.to_json() for check in self.missed],
            "tied": self.tied,
        }


def find_passed_over(candidates: Candidates, winner: Candidate, goal: Quantity) -> RunnerUp | None:
    """Return the best row that misses a limit, if it is significantly better than the winner."""
    sign = 1.0 if goal.lower else -1.0
    better = sign * candidates.figures.value < sign * winner.figure.value
    missing = np.flatnonzero(~candidates.fits & ~np.isnan(candidates.excess) & better)
    if not missing.size:
        return None
    best = candidates[int(missing[np.argmin(sign * candidates.figures.value[missing])])]
    found = describe_runner_up(best, winner, goal, tied=False)
    return found if found.ratio.excludes(1.0) or best.figure.exact else None


def passed_over_text(passed: RunnerUp, objective: str, metric: QualityMetric | None) -> str:
    """Return what a passed-over row would gain, why it was not chosen, and how to take it."""
    options = " ".join(check.option_that_takes(passed.row, metric) for check in passed.missed)
    misses = ", ".join(_miss(check) for check in passed.missed)
    gain = f"{times_text(passed.ratio)} the {objective_word(objective)}"
    return f"{passed.label}: {gain}, but {misses}; to take it: {options}"


def objective_word(objective: str) -> str:
    """Return an objective in one word."""
    return "score" if "," in objective else objective.partition("=")[0]


def times_text(ratio: Interval) -> str:
    """Return a ratio with its interval, if it has one."""
    if ratio.exact:
        return f"{units.text(ratio.value)}x"
    return f"{units.interval_text(ratio.value, ratio.low, ratio.high)}x"


def _miss(check: Check) -> str:
    quantity, limit = check.limit.quantity, check.limit.value
    side = "over" if quantity.lower else "under"
    if check.limit.default:
        return f"{quantity.label} {check.text}, measurably {side} {limit:g}"
    figure = units.with_unit(units.text(check.figure.value), quantity.column.unit)
    return f"{quantity.label} {figure} {side} {limit:g}"


def describe_runner_up(
    candidate: Candidate, winner: Candidate, goal: Quantity, *, tied: bool
) -> RunnerUp:
    """Return a candidate with its distance from the winner; ``tied``: no significant difference."""
    return RunnerUp(
        label=candidate.label,
        shortfall=_shortfall(candidate, winner, goal, tied),
        row=dict(candidate.row),
        ratio=ratio_unpaired(candidate.figure, winner.figure),
        missed=tuple(check for check in candidate.checks if not check.satisfied),
        tied=tied,
    )


def _shortfall(candidate: Candidate, winner: Candidate, goal: Quantity, tied: bool) -> str:
    """Return the missed limits of a candidate, or its distance from the winner."""
    if not candidate.fits:
        return "; ".join(check.miss_text for check in candidate.checks if not check.satisfied)
    figure = f"{goal.label} {goal.text(candidate.row)}"
    if candidate.figure.value == winner.figure.value:
        return f"{figure}: the same"
    ratio = ratio_unpaired(candidate.figure, winner.figure)
    distance = units.text(100 * abs(ratio.value - 1), 2)
    significance = ", no significant difference" if tied else ""
    return f"{figure}: {distance}% {'more' if ratio.value > 1 else 'less'}{significance}"
