"""Choice of the best row by an objective among the rows that meet the limits.

The value decides against a limit; the interval shows the certainty.  A limit within the winner's
interval is a warning.  A row without the figure of a limit does not fit.  Between rows the value
decides where the difference is significant; ties go to the lower latency (:mod:`.candidates`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    NothingMeasuredError,
    UndecidedError,
)
from ovtool.results.labels import config_labels, device_text, row_count_text
from ovtool.results.rows import (
    Config,
    Row,
    Rows,
    estimated_rows,
    excluded_rows,
    first_of_each_group,
    measured_rows,
    real_rows,
)
from ovtool.results.table import load_results
from ovtool.selection.candidates import Candidate, Candidates, find_winner
from ovtool.selection.choice_spec import ChoiceSpec, parse_objective
from ovtool.selection.confidence import Confidence, estimate_confidence
from ovtool.selection.explanations import Context, explain, explain_tie, explain_winner
from ovtool.selection.limits import Check, default_quality_limit, list_limits
from ovtool.selection.objective import resolve_objective
from ovtool.selection.pareto import Front, find_front
from ovtool.selection.runners_up import (
    RunnerUp,
    describe_runner_up,
    find_passed_over,
    passed_over_text,
)
from ovtool.selection.snippet import build_snippet
from ovtool.selection.warnings import find_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.core.notes import Note
    from ovtool.results.table import ResultsTable
    from ovtool.selection.knee import Knee
    from ovtool.selection.quantities import Quantity

MAX_RUNNERS_UP = 5


@dataclass(frozen=True, slots=True)
class Basis:
    """The measurements that a choice is based on.

    Args:
        machines: Descriptions of the machines.
        rows: Number of rows to choose from.
        unstable: Number of them by verdict, of those that are not stable.
        measured_s: Measuring time of the rows, in seconds.
    """

    machines: tuple[str, ...]
    rows: int
    unstable: dict[str, int]
    measured_s: float


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The row with the smallest sum of excesses over the limits."""

    label: str
    missed: tuple[Check, ...]
    row: Row


class NothingFitsError(LimitNotMetError):
    """No row meets the limits.

    ``nearest`` is None if no row has the figures of the limits; the exit code then is that of
    :class:`.UndecidedError`.
    """

    def __init__(self, message: str, hint: str, nearest: NearestMiss | None) -> None:
        """Keep the nearest miss."""
        super().__init__(message, hint)
        self.nearest = nearest
        if nearest is None:
            self.exit_code = UndecidedError.exit_code

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
        winner: Values by column; None if unknown.
        properties: OpenVINO properties to compile with.
        snippet: Python program that compiles the model with the properties.
        reasons: Why the winner won, in sentences with figures.
        settled_by: Column that decided against a tied row with a better value; empty if none did.
        basis: The measurements to choose from.
        passed_over: The row with the best value of the objective that misses a limit; None if no
            such row is better than the winner.
        percentile: Percentile of the latency that limits and ties use.
        runners_up: The best row of each other configuration, the nearest first.
        ties: Names of the rows without a significant difference to the winner.
        explanations: Why the winner and the runners-up are as fast, slow or uncertain as they are.
        front: The Pareto front of all rows, whether they fit or not.
        quality_metric: Column of quality; None if quality was not evaluated.
        quality_reason: Why this metric decides.
    """

    objective: str
    label: str
    winner: Row
    properties: dict[str, str]
    snippet: str
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    settled_by: str
    percentile: int
    basis: Basis
    passed_over: RunnerUp | None
    runners_up: tuple[RunnerUp, ...]
    ties: tuple[str, ...]
    warnings: tuple[Note, ...]
    confidence: Confidence
    explanations: tuple[Note, ...]
    front: Front
    knees: Sequence[Knee]
    quality_metric: QualityMetric | None
    quality_reason: str

    @property
    def ties_text(self) -> str:
        """The names of some ties, and the number of further ties."""
        return units.listing(self.ties, 3, "; ")

    @property
    def passed_over_text(self) -> str:
        """What the passed-over row would gain, and how to take it; empty without one."""
        if self.passed_over is None:
            return ""
        return passed_over_text(self.passed_over, self.objective, self.quality_metric)

    @property
    def loses_nothing(self) -> bool:
        """Whether rows with a measurable loss of quality were passed over, as by default."""
        return any(check.limit.default for check in self.checks)

    @property
    def headline(self) -> str:
        """The recommended settings in one sentence."""
        row = self.winner
        counts = ", ".join(
            f"{row[name]:.0f} {name if row[name] != 1 else name[:-1]}"
            for name in ("streams", "requests", "threads")
            if row[name] is not None
        )
        load = counts or row["load"]
        if row["hint"]:
            load = f"the {row['hint']} hint" + (f" ({counts})" if counts else "")
        shapes = "".join(
            f", {name.replace('_', ' ')} {row[name]}"
            for name in ("shape", "data_shape")
            if row[name]
        )
        precision = row["executed_precision"] or row["precision"]
        estimate = " A compiler's estimate: nothing ran." if row["status"] == "estimated" else ""
        return (
            f"Run {row['variant']} on {device_text(row)} in {precision}, "
            f"batch {row['batch']}{shapes}, with {load}.{estimate}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the choice as JSON types."""
        return {
            "objective": self.objective,
            "label": self.label,
            "headline": self.headline,
            "winner": self.winner,
            "properties": self.properties,
            "checks": [check.to_json() for check in self.checks],
            "reasons": list(self.reasons),
            "settled_by": self.settled_by,
            "percentile": self.percentile,
            "basis": asdict(self.basis),
            "passed_over": None if self.passed_over is None else self.passed_over.to_json(),
            "runners_up": [runner.to_json() for runner in self.runners_up],
            "ties": list(self.ties),
            "warnings": [asdict(note) for note in self.warnings],
            "snippet": self.snippet,
            "confidence": asdict(self.confidence),
            "explanations": [asdict(note) for note in self.explanations],
            "front": self.front.to_json(),
            "knees": [knee.to_json() for knee in self.knees],
            "quality_metric": self.quality_metric,
            "quality_reason": self.quality_reason,
        }


def choose(sweeps: Sequence[str | Path], *, spec: ChoiceSpec | None = None) -> Choice:
    """Recommend a device, variant, batch and load under limits.

    Ties go to the lower latency, the higher throughput, the smaller memory, then the smaller
    files; see :func:`.candidates.find_winner`.

    Raises:
        NothingFitsError: No row meets the limits; the error carries the nearest miss.
        NothingMeasuredError: No row was measured.
        InputError: A folder is not a sweep, or no row has the figure of the objective.
    """
    return choose_from(load_results(sweeps), spec)


def choose_from(table: ResultsTable, spec: ChoiceSpec | None = None) -> Choice:
    """Recommend a row of a table; see :func:`choose`."""
    rows, spec = table.records, spec or ChoiceSpec()
    eligible = _eligible_rows(rows, allow_estimates=spec.allow_estimates)
    goal = resolve_objective(spec, eligible, table)
    labels = config_labels(eligible)
    candidates = _candidates(eligible, goal, spec, table, labels)
    if not candidates:
        raise InputError(
            f"no row has all figures of the objective {spec.objective}",
            "choose by a single objective",
        )
    order = candidates.nearest_first
    fitting = order[candidates.fits[order]]
    if not fitting.size:
        raise _nothing_fits_error(candidates)
    best, first = candidates[int(fitting[0])], find_winner(candidates, fitting, spec.percentile)
    order, fitting = (np.append(first.index, o[o != first.index]) for o in (order, fitting))
    winner = candidates[first.index]
    groups, tied = candidates.rows.group_codes(), _tied(winner, candidates)
    next_best = first_of_each_group(groups, order)[1 : MAX_RUNNERS_UP + 1]
    rivals = [candidates[int(index)] for index in next_best]
    rival = rivals[0] if rivals and rivals[0].fits else None
    settled = [explain_tie(winner, best, goal, first.settled_by)] if first.settled_by else []
    metric, why = table.quality_metric, table.quality_reason
    reasons = explain_winner(winner, rival, goal, metric, why=why, best=not settled)
    context = Context(rows, labels, table, spec.min_quality)
    details = table.details_of(winner.row)
    return Choice(
        objective=spec.objective,
        label=winner.label,
        winner=dict(winner.row),
        properties=dict(details.properties),
        snippet=build_snippet(winner.row, details),
        checks=winner.checks,
        reasons=(*settled, *reasons),
        settled_by=first.settled_by,
        percentile=spec.percentile,
        basis=_describe_basis(eligible),
        passed_over=find_passed_over(candidates, winner, goal),
        runners_up=tuple(
            describe_runner_up(rival, winner, goal, tied=bool(tied[index]))
            for index, rival in zip(next_best, rivals, strict=True)
        ),
        ties=candidates.labels(fitting[1:][tied[fitting[1:]]]),
        warnings=find_warnings(winner, candidates, rows, spec, table),
        confidence=estimate_confidence(
            candidates.figures.take(fitting), groups[fitting], lower=goal.lower
        ),
        explanations=explain([winner.row, *(rival.row for rival in rivals)], context),
        front=find_front(rows, spec.percentile, table.quality_metric, labels),
        knees=context.knees,
        quality_metric=table.quality_metric,
        quality_reason=table.quality_reason,
    )


def _candidates(
    rows: Rows,
    goal: Quantity,
    spec: ChoiceSpec,
    table: ResultsTable,
    labels: Mapping[Config, str],
) -> Candidates:
    """Return the candidates; the default limit of quality applies only if a row meets it."""
    limits = list_limits(spec, table)
    default = default_quality_limit(table) if spec.min_quality is None else None
    if default is not None and "quality" not in parse_objective(spec.objective):
        candidates = Candidates(rows, goal, (*limits, default), labels)
        if candidates.fits.any():
            return candidates
    return Candidates(rows, goal, limits, labels)


def _eligible_rows(rows: Rows, *, allow_estimates: bool) -> Rows:
    """Return the rows that can be chosen; raise NothingMeasuredError if there are none."""
    eligible = measured_rows(real_rows(rows))
    if allow_estimates:
        eligible += estimated_rows(rows)
    if eligible:
        return eligible
    if estimates := row_count_text(estimated_rows(rows)):
        raise NothingMeasuredError(
            f"nothing measured, only estimated: {estimates}",
            "choose from a compiler's estimates: --allow-estimates",
        )
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        raise NothingMeasuredError(
            f"nothing measured on a real device; left out: {excluded}", "sweep an available device"
        )
    failed = f": all {len(rows)} trials failed" if rows else ""
    raise NothingMeasuredError(f"nothing measured{failed}")


def _tied(winner: Candidate, candidates: Candidates) -> NDArray[np.bool_]:
    """Return a mask of the rows without a significant difference to the winner.

    Without intervals, only equal rows are ties.
    """
    figures, tied = candidates.figures, candidates.figures.value == winner.figure.value
    if winner.figure.known:
        ratio = figures.over(winner.figure)
        tied = np.where(figures.known, ~ratio.excludes(1.0), tied)
    if winner.figure.exact:  # rows of the same files are not ties
        tied = tied & ~candidates.rows.equal("variant_id", winner.row["variant_id"])
    return np.asarray(tied, bool)


def _describe_basis(rows: Rows) -> Basis:
    verdicts = Counter(row["verdict"] for row in measured_rows(rows))
    return Basis(
        machines=tuple(rows.unique("machine")),
        rows=len(rows),
        unstable={verdict: n for verdict, n in verdicts.most_common() if verdict != "stable"},
        measured_s=float(np.nansum(rows.numbers("measured_s"))),
    )


def _nothing_fits_error(candidates: Candidates) -> NothingFitsError:
    limits = ", ".join(limit.text for limit in candidates.limits)
    complete = np.flatnonzero(~np.isnan(candidates.excess))
    if not complete.size:
        missing = ", ".join(dict.fromkeys(quantity.label for quantity, _ in candidates.unknown()))
        return NothingFitsError(
            f"no row meets {limits}: unknown {missing}",
            "measure it (quality: sweep with --data), or remove the limit",
            None,
        )
    nearest = candidates[int(complete[np.argmin(candidates.excess[complete])])]
    missed = tuple(check for check in nearest.checks if not check.satisfied)
    misses = "; ".join(check.miss_text for check in missed)
    return NothingFitsError(
        f"no row meets {limits}; nearest: {nearest.label}, {misses}",
        "loosen the limit, or sweep more variants, batches or devices",
        NearestMiss(nearest.label, missed, dict(nearest.row)),
    )
