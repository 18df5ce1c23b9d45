"""Which row to run: the best by an objective among those that keep to the limits.

The value decides, both for a limit and between rows; the interval says how sure that is.  A limit
that the winner's interval straddles is a warning, a row whose ratio to the winner may be 1
is a tie and is named.  A row without a figure that a limit is about is not eligible.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.core.statistics import ratio_unpaired
from ovtool.results.labels import config_labels, device_text, row_count_text
from ovtool.results.rows import (
    Row,
    Rows,
    estimated_rows,
    excluded_rows,
    first_of_each_group,
    measured_rows,
    real_rows,
)
from ovtool.results.table import load_results
from ovtool.selection.advice import reasons, warnings
from ovtool.selection.candidates import Candidate, Candidates
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.confidence import Confidence, confidence
from ovtool.selection.explanations import Context, explain
from ovtool.selection.limits import Check, asked
from ovtool.selection.objective import goal
from ovtool.selection.pareto import Front, front
from ovtool.selection.snippet import snippet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.core.notes import Note
    from ovtool.results.table import ResultsTable
    from ovtool.selection.knee import Knee
    from ovtool.selection.quantities import Quantity

MAX_RUNNERS_UP = 5
_TIES = 3
"""Names of rows that cannot be told from the winner, in a sentence."""


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The best row of another configuration, and what it lacks."""

    label: str
    lacks: str
    row: Row


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The row that misses the limits by the smallest sum of shares."""

    label: str
    missed: tuple[Check, ...]
    row: Row


class NothingFitsError(LimitNotMetError):
    """No row keeps to the limits; ``nearest`` comes closest, None when no row has the figures."""

    def __init__(self, message: str, hint: str, nearest: NearestMiss | None) -> None:
        """Keep the nearest miss."""
        super().__init__(message, hint)
        self.nearest = nearest

    def to_json(self) -> dict[str, Any]:
        """Return the nearest miss as JSON types."""
        if self.nearest is None:
            return {"nearest": None}
        missed = [check.to_json() for check in self.nearest.missed]
        nearest = {"label": self.nearest.label, "missed": missed, "row": self.nearest.row}
        return {"nearest": nearest}


@dataclass(frozen=True, slots=True)
class Choice:
    """The recommended row.

    Args:
        objective: What was asked for: one objective, or several with weights.
        label: The winner in a few words.
        winner: Column to value, None where unknown.
        properties: OpenVINO properties to compile with.
        snippet: A Python program that compiles it so.
        checks: The limits, as the winner stands to them.
        reasons: Why it won, in sentences with figures.
        runners_up: The best row of each other configuration, the nearest first.
        ties: Names of the rows that cannot be told from the winner.
        warnings: What to know before relying on it.
        confidence: How sure it is that no other row that fits is better.
        explanations: Why it and the runners-up are as fast, slow or uncertain as they are.
        front: The rows that no other one beats in everything, whether they fit or not.
        knees: Of every batch curve.
    """

    objective: str
    label: str
    winner: Row
    properties: dict[str, str]
    snippet: str
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    runners_up: tuple[RunnerUp, ...]
    ties: tuple[str, ...]
    warnings: tuple[Note, ...]
    confidence: Confidence
    explanations: tuple[Note, ...]
    front: Front
    knees: Sequence[Knee]

    @property
    def ties_text(self) -> str:
        """The names of some rows that cannot be told from the winner, and how many more."""
        more = len(self.ties) - _TIES
        return "; ".join(self.ties[:_TIES]) + (f"; and {more} more" if more > 0 else "")

    @property
    def headline(self) -> str:
        """What to run, in one sentence."""
        row = self.winner
        counts = [
            f"{row[name]:.0f} {name if row[name] != 1 else name[:-1]}"
            for name in ("streams", "requests", "threads")
            if row[name] is not None
        ]
        precision = row["executed_precision"] or row["precision"]
        told = f" ({', '.join(counts)})" if counts else ""
        by_hand = ", ".join(counts) or row["load"]
        how = f"the {row['hint']} hint{told}" if row["hint"] else by_hand
        shapes = "".join(
            f", {what} {row[name]}"
            for name, what in (("shape", "shape"), ("data_shape", "data shape"))
            if row[name]
        )
        guess = (
            " This is an estimate by the device's compiler: nothing was run there."
            if row["status"] == "estimated"
            else ""
        )
        return (
            f"Run {row['variant']} on {device_text(row)} in {precision}, "
            f"batch {row['batch']}{shapes}, with {how}.{guess}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "objective": self.objective,
            "label": self.label,
            "headline": self.headline,
            "winner": self.winner,
            "properties": self.properties,
            "checks": [check.to_json() for check in self.checks],
            "reasons": list(self.reasons),
            "runners_up": [asdict(runner) for runner in self.runners_up],
            "ties": list(self.ties),
            "warnings": [asdict(note) for note in self.warnings],
            "snippet": self.snippet,
            "confidence": asdict(self.confidence),
            "explanations": [asdict(note) for note in self.explanations],
            "front": self.front.to_json(),
            "knees": [one.to_json() for one in self.knees],
        }


def choose(
    sweeps: Sequence[str | Path],
    *,
    spec: ChoiceSpec | None = None,
) -> Choice:
    """Recommend a device, variant, batch and load under limits.

    Ties go to the higher throughput, then to the smaller batch.

    Args:
        sweeps: Sweep folders, of one machine or of several.
        spec: Objective and limits of the recommended row.

    Raises:
        NothingFitsError: No row meets the limits; the error carries the nearest miss.
        NothingMeasuredError: No row was measured.
        InputError: A folder is not a sweep, or no row has the figure of the objective.
    """
    return choose_from(load_results(sweeps), spec)


def choose_from(table: ResultsTable, spec: ChoiceSpec | None = None) -> Choice:
    """Recommend a row of a table, or of some of its rows; see :func:`choose`."""
    rows, spec = table.records, spec or ChoiceSpec()
    fine = _fine(rows, allow_estimates=spec.allow_estimates)
    best_at = goal(spec, fine, table)
    labels = config_labels(fine)
    candidates = Candidates(fine, best_at, asked(spec, table), labels)
    if not candidates:
        raise InputError(
            f"no row has all of what {spec.objective} is about", "choose by one of them alone"
        )
    order = candidates.nearest_first
    fitting = order[candidates.fits[order]]
    if not fitting.size:
        raise _nothing_fits(candidates)
    winner = candidates[int(fitting[0])]
    kinds, tied = candidates.rows.group_codes(), _tied(winner, candidates)
    others = first_of_each_group(kinds, order)[1 : MAX_RUNNERS_UP + 1]
    runners = [candidates[int(place)] for place in others]
    context = Context(rows, labels, table, spec.min_quality)
    details = table.details_of(winner.row)
    rival = runners[0] if runners and runners[0].fits else None
    return Choice(
        objective=spec.objective,
        label=winner.label,
        winner=dict(winner.row),
        properties=dict(details.properties),
        snippet=snippet(winner.row, details),
        checks=winner.checks,
        reasons=reasons(winner, rival, best_at, table.quality_metric),
        runners_up=tuple(
            RunnerUp(c.label, _lacks(c, winner, best_at, tied=bool(tied[place])), dict(c.row))
            for place, c in zip(others, runners, strict=True)
        ),
        ties=candidates.labels(fitting[1:][tied[fitting[1:]]]),
        warnings=warnings(winner, candidates, rows, spec, table),
        confidence=confidence(
            candidates.figures.take(fitting), kinds[fitting], lower=best_at.lower
        ),
        explanations=explain([winner.row, *(c.row for c in runners)], context),
        front=front(rows, spec.percentile, table.quality_metric, labels),
        knees=context.knees,
    )


def _fine(rows: Rows, *, allow_estimates: bool) -> Rows:
    """Return the rows that may be chosen.

    Raises:
        NothingMeasuredError: There is none.
    """
    fine = measured_rows(real_rows(rows))
    if allow_estimates:
        fine += estimated_rows(rows)
    if fine:
        return fine
    if guesses := row_count_text(estimated_rows(rows)):
        raise NothingMeasuredError(
            f"nothing was measured, only estimated: {guesses}",
            "--allow-estimates chooses among a compiler's estimates",
        )
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        raise NothingMeasuredError(
            "nothing was measured on a real device, so nothing can be chosen (left out:"
            f" {excluded})",
            "sweep on a device that is there",
        )
    failed = f": all {len(rows)} trials failed" if rows else ""
    raise NothingMeasuredError(f"nothing was measured, so nothing can be chosen{failed}")


def _tied(winner: Candidate, candidates: Candidates) -> NDArray[np.bool_]:
    """Return which may be the same as the winner; without intervals only those that are equal."""
    figures, same = candidates.figures, candidates.figures.value == winner.figure.value
    if winner.figure.known:
        ratio = figures.over(winner.figure)
        same = np.where(figures.known, ~ratio.excludes(1.0), same)
    if winner.figure.exact:  # not the same files again
        same = same & ~candidates.rows.equal("variant_id", winner.row["variant_id"])
    return np.asarray(same, bool)


def _lacks(candidate: Candidate, winner: Candidate, best_at: Quantity, *, tied: bool) -> str:
    if not candidate.fits:
        return "; ".join(check.miss_text for check in candidate.checks if not check.kept)
    ratio = ratio_unpaired(candidate.figure, winner.figure)
    shown = units.text(100 * abs(ratio.value - 1), 2)
    more = "more" if best_at.lower else "less"
    what = f"{best_at.words} {best_at.text(candidate.row)}"
    if candidate.figure.value == winner.figure.value:
        return f"{what}: the same"
    noise = ", within the noise" if tied else ""
    return f"{what}: {shown} % {more}{noise}"


def _nothing_fits(candidates: Candidates) -> NothingFitsError:
    wanted = ", ".join(one.text for one in candidates.wanted)
    complete = np.flatnonzero(~np.isnan(candidates.excess))
    if not complete.size:
        missing = ", ".join(dict.fromkeys(one.words for one, _ in candidates.unknown()))
        return NothingFitsError(
            f"no row can be held against {wanted}: {missing} is not known of any",
            "measure it (quality: sweep with --data), or leave the limit out",
            None,
        )
    nearest = candidates[int(complete[np.argmin(candidates.excess[complete])])]
    missed = tuple(check for check in nearest.checks if not check.kept)
    told = "; ".join(check.miss_text for check in missed)
    return NothingFitsError(
        f"nothing has {wanted}; the nearest is {nearest.label}, with {told}",
        "loosen the limit, or sweep more variants, batches or devices",
        NearestMiss(nearest.label, missed, dict(nearest.row)),
    )
