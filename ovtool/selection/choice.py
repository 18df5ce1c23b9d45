"""Choice of the best row by an objective among the rows that meet the limits.

The value decides against a limit; the interval shows the certainty.  A limit within the winner's
interval is a warning.  A row without the figure of a limit does not fit.  Between rows the value
decides where the difference is significant; ties go to the lower latency (:mod:`.candidates`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ovtool.core import units
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    UndecidedError,
)
from ovtool.core.fields import with_fields
from ovtool.core.files import path_list
from ovtool.core.tabular import Tabular
from ovtool.results.frame import SHOWN
from ovtool.results.labels import config_labels, device_text, lengths_text
from ovtool.results.rows import (
    Config,
    Row,
    Rows,
    first_of_each_group,
)
from ovtool.results.table import load_results
from ovtool.selection.candidates import (
    Candidate,
    Candidates,
    check_requests,
    eligible_rows,
    find_winner,
    select_requests,
)
from ovtool.selection.certainty import Basis, Certainty, Doubt, find_doubts
from ovtool.selection.choice_spec import ChoiceFields, ChoiceSpec
from ovtool.selection.confidence import Confidence, estimate_confidence
from ovtool.selection.explanations import Context, explain, explain_tie, explain_winner
from ovtool.selection.hosts import HostBest, find_best_of_hosts
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
from ovtool.selection.warnings import find_warnings, split_repeatable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.core.notes import Note
    from ovtool.results.table import ResultsTable
    from ovtool.selection.knee import Knee
    from ovtool.selection.quantities import Quantity

MAX_RUNNERS_UP = 5


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """The row with the smallest sum of excesses over the limits.

    ``options`` are those of ``choose`` with limits that the row meets.
    """

    label: str
    missed: tuple[Check, ...]
    row: Row
    options: str


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
        return {
            "nearest": {
                "label": self.nearest.label,
                "missed": missed,
                "options": self.nearest.options,
                "row": self.nearest.row,
            }
        }


@dataclass(frozen=True, slots=True, repr=False)
class Choice(Tabular):
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
        hosts: The best row of each machine, the best machine first; empty for a single one.
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
    hosts: tuple[HostBest, ...]

    _SHOWN = ("label", *SHOWN)

    def _title(self) -> str:
        return self.headline

    def _remarks(self) -> list[str]:
        return [doubt.line for doubt in self.doubts]

    def _rows(self) -> list[dict[str, Any]]:
        rows = [(self.label, self.winner), *((r.label, r.row) for r in self.runners_up)]
        return [{"label": label, **row} for label, row in rows]

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
        return headline_of(self.winner, host=bool(self.hosts))

    @property
    def certainty(self) -> Certainty:
        """How far the measurements support the recommendation."""
        return self.basis.certainty_of(self.winner)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why the recommendation is not solid, the most important doubt first."""
        return tuple(find_doubts(self.winner, self.basis, self.warnings))

    @property
    def too_few(self) -> bool:
        """Whether the samples do not decide whether quality is lost."""
        return any(doubt.kind == "too-few" for doubt in self.doubts)

    def to_json(self) -> dict[str, Any]:
        """Return the choice as JSON types."""
        return {
            "objective": self.objective,
            "label": self.label,
            "headline": self.headline,
            "doubts": [asdict(doubt) for doubt in self.doubts],
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
            "hosts": [host.to_json() for host in self.hosts],
        }


def headline_of(row: Row, *, host: bool = False) -> str:
    """Return the settings of a row in one sentence; ``host``: with the name of its host."""
    counts = ", ".join(
        f"{row[name]:.0f} {name if row[name] != 1 else name[:-1]}"
        for name in ("streams", "requests", "threads")
        if row[name] is not None
    )
    load = counts or row["load"]
    if row["hint"]:
        load = f"the {row['hint']} hint" + (f" ({counts})" if counts else "")
    shapes = "".join(
        f", {name.replace('_', ' ')} {row[name]}" for name in ("shape", "data_shape") if row[name]
    )
    if row["prompt_length"] is not None:
        batch, load = lengths_text(row), row["load"]
    else:
        batch = f"batch {row['batch']}"
    precision = row["executed_precision"] or row["precision"]
    place = f"{device_text(row)} of {row['host']}" if host and row["host"] else device_text(row)
    estimate = " A compiler's estimate: nothing ran." if row["status"] == "estimated" else ""
    return (
        f"Run {row['variant']} on {place} in {precision}, {batch}{shapes}, with {load}.{estimate}"
    )


def choose(
    sweeps: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    spec: ChoiceSpec | None = None,
    **fields: Unpack[ChoiceFields],
) -> Choice:
    """Recommend a device, variant, batch and load under limits.

    ``sweeps`` are folders or results of sweeps, or a single one.  ``fields`` are fields of
    ``spec``: ``max_latency_ms=20``.

    Ties go to the lower latency, the higher throughput, the smaller memory, then the smaller
    files; see :func:`.candidates.find_winner`.

    Raises:
        NothingFitsError: No row meets the limits; the error carries the nearest miss.
        NothingMeasuredError: No row was measured.
        DifferentRequestsError: Text generators have different prompts or outputs, and the choice
            does not say for which.
        InputError: A folder is not a sweep, or no row has the figure of the objective or the
            lengths of the choice.
    """
    spec = with_fields(ChoiceSpec, spec, fields)
    return choose_from(load_results(path_list(sweeps)), spec)


def choose_from(table: ResultsTable, spec: ChoiceSpec | None = None) -> Choice:
    """Recommend a row of a table; see :func:`choose`."""
    spec = spec or ChoiceSpec()
    rows = select_requests(table.records, spec)
    eligible = eligible_rows(rows, allow_estimates=spec.allow_estimates)
    check_requests(eligible)
    labels = config_labels(eligible)
    eligible, unrepeatable = split_repeatable(eligible, table)
    goal = resolve_objective(spec, eligible, table)
    candidates = _candidates(eligible, goal, spec, table, labels)
    if not candidates:
        raise InputError(
            f"no row has all figures of the objective {spec.objective}",
            "choose by a single objective",
        )
    order = candidates.nearest_first
    fitting = order[candidates.fits[order]]
    if not fitting.size:
        raise _nothing_fits_error(candidates, table.quality_metric)
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
        basis=Basis.of(eligible),
        passed_over=find_passed_over(candidates, winner, goal),
        runners_up=tuple(
            describe_runner_up(rival, winner, goal, tied=bool(tied[index]))
            for index, rival in zip(next_best, rivals, strict=True)
        ),
        ties=candidates.labels(fitting[1:][tied[fitting[1:]]]),
        warnings=(*unrepeatable, *find_warnings(winner, candidates, rows, spec, table)),
        confidence=estimate_confidence(
            candidates.figures.take(fitting), groups[fitting], lower=goal.lower
        ),
        explanations=explain([winner.row, *(rival.row for rival in rivals)], context),
        front=find_front(rows, spec.percentile, table.quality_metric, labels),
        knees=context.knees,
        quality_metric=table.quality_metric,
        quality_reason=table.quality_reason,
        hosts=find_best_of_hosts(candidates, order, spec.price_table()),
    )


def _candidates(
    rows: Rows,
    goal: Quantity,
    spec: ChoiceSpec,
    table: ResultsTable,
    labels: Mapping[Config, str],
) -> Candidates:
    """Return the candidates; the default limit of quality applies only if a row meets it."""
    limits, default = list_limits(spec, table), default_quality_limit(table, spec)
    if default is not None:
        candidates = Candidates(rows, goal, (*limits, default), labels)
        if candidates.fits.any():
            return candidates
    return Candidates(rows, goal, limits, labels)


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


def _nothing_fits_error(candidates: Candidates, metric: QualityMetric | None) -> NothingFitsError:
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
    options = " ".join(
        check.limit.as_option if check.satisfied else check.option_that_takes(nearest.row, metric)
        for check in nearest.checks
        if not check.limit.default
    )
    return NothingFitsError(
        f"no row meets {limits}; nearest: {nearest.label}, {misses}",
        f"to take it: {options}; or sweep more variants, batches or devices",
        NearestMiss(nearest.label, missed, dict(nearest.row), options),
    )
