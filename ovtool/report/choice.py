"""Which row to run: the best by an objective among those that keep to the limits.

The value decides, both for a limit and between rows; the interval says how sure that is.  A limit
that the winner's interval straddles is a warning, a row whose ratio to the winner may be 1
is a tie and is named.  A row without a figure that a limit is about is not eligible.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool import units
from ovtool.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.report.advice import reasons, warnings
from ovtool.report.confidence import Confidence, confidence
from ovtool.report.explanations import Context, explain
from ovtool.report.front import Front, front
from ovtool.report.limits import Asked, Candidate, Check, Limits, asked, checks
from ovtool.report.objective import goal
from ovtool.report.rows import (
    Config,
    Row,
    config_labels,
    count_text,
    device_text,
    estimated,
    left_out_text,
    measured,
    real,
    records,
    row_label,
)
from ovtool.report.snippet import snippet
from ovtool.report.table import background
from ovtool.statistics import ratio_unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.report.knee import Knee
    from ovtool.report.quantities import Quantity
    from ovtool.results import Note

MAX_RUNNERS_UP = 5


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
    knees: tuple[Knee, ...]

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
    table: pd.DataFrame,
    limits: Limits | None = None,
    objective: str = "throughput",
    percentile: int = 99,
) -> Choice:
    """Return the row to run.

    Equal values are settled by throughput, then by the smaller batch.

    Args:
        table: Of :func:`ovtool.report.table.load`, or some of its rows.
        limits: What it must keep to.
        objective: What to be best at, as :func:`ovtool.report.objective.parse` reads it.
        percentile: 50, 90 or 99: of the latency, both as a limit and as the objective.

    Raises:
        InputError: The objective or percentile is unknown, or the objective was not measured.
        NothingMeasuredError: No row was measured.
        NothingFitsError: No row keeps to the limits; it carries the nearest miss.
    """
    limits = limits or Limits()
    about, rows = background(table), records(table)
    fine = _fine(rows, allow_estimates=limits.allow_estimates)
    best_at = goal(objective, percentile, fine, about, limits.prices)
    labels = config_labels(fine)
    candidates = _candidates(fine, best_at, asked(limits, percentile, about), labels)
    if not candidates:
        raise InputError(
            f"no row has all of what {objective} is about", "choose by one of them alone"
        )
    fitting = sorted((c for c in candidates if c.fits), key=lambda c: _rank(c, best_at))
    if not fitting:
        raise _nothing_fits(candidates)
    winner, others = fitting[0], fitting[1:]
    runners = _runners_up(winner, candidates, best_at)
    rivals = [c for c in others if Config.of(c.row) != Config.of(winner.row)]
    context = Context(rows, labels, about, limits.min_quality)
    behind = about.of(winner.row)
    return Choice(
        objective=objective,
        label=winner.label,
        winner=dict(winner.row),
        properties=dict(behind.properties),
        snippet=snippet(winner.row, behind),
        checks=winner.checks,
        reasons=reasons(winner, rivals[0] if rivals else None, best_at, about.quality_metric),
        runners_up=runners,
        ties=tuple(c.label for c in others if _tied(winner, c)),
        warnings=warnings(winner, candidates, rows, limits, about),
        confidence=confidence(
            [c.figure for c in fitting],
            [Config.of(c.row) for c in fitting],
            lower=best_at.lower,
        ),
        explanations=explain([winner.row, *(r.row for r in runners)], context),
        front=front(rows, percentile, about.quality_metric, labels),
        knees=tuple(context.curves.values()),
    )


def _fine(rows: Sequence[Row], *, allow_estimates: bool) -> list[Row]:
    """Return the rows that may be chosen.

    Raises:
        NothingMeasuredError: There is none.
    """
    fine = measured(real(rows)) + (estimated(rows) if allow_estimates else [])
    if fine:
        return fine
    if guesses := count_text(estimated(rows)):
        raise NothingMeasuredError(
            f"nothing was measured, only estimated: {guesses}",
            "--allow-estimates chooses among a compiler's estimates",
        )
    if emulated := left_out_text(measured(rows)):
        raise NothingMeasuredError(
            "nothing was measured on a real device, so nothing can be chosen (left out:"
            f" {emulated})",
            "sweep on a device that is there",
        )
    failed = f": all {len(rows)} trials failed" if rows else ""
    raise NothingMeasuredError(f"nothing was measured, so nothing can be chosen{failed}")


def _candidates(
    rows: Sequence[Row], best_at: Quantity, limits: Sequence[Asked], labels: dict[Config, str]
) -> list[Candidate]:
    """Return the rows of which is known what is chosen by."""
    found = ((row, best_at.of(row)) for row in rows)
    return [
        Candidate(row, row_label(row, labels), figure, checks(row, limits))
        for row, figure in found
        if not math.isnan(figure.value)
    ]


def _rank(candidate: Candidate, best_at: Quantity) -> tuple[float, float, int]:
    sign = 1.0 if best_at.lower else -1.0
    throughput = candidate.row["throughput_fps"] or 0.0
    return sign * candidate.figure.value, -throughput, candidate.row["batch"]


def _tied(winner: Candidate, other: Candidate) -> bool:
    """Whether two figures may be the same; without intervals only when they are equal."""
    if winner.figure.exact and winner.row["variant_id"] == other.row["variant_id"]:
        return False  # the same files
    if winner.figure.known and other.figure.known:
        return not ratio_unpaired(other.figure, winner.figure).excludes(1.0)
    return winner.figure.value == other.figure.value


def _runners_up(
    winner: Candidate, candidates: Sequence[Candidate], best_at: Quantity
) -> tuple[RunnerUp, ...]:
    """Return the best candidate of each other configuration, fitting ones first."""

    def near(candidate: Candidate) -> tuple[object, ...]:
        unknown = math.isnan(candidate.excess)
        return (
            not candidate.fits,
            unknown,
            0.0 if unknown else candidate.excess,
            *_rank(candidate, best_at),
        )

    best: dict[Config, Candidate] = {}
    for candidate in sorted(candidates, key=near):
        best.setdefault(Config.of(candidate.row), candidate)
    best.pop(Config.of(winner.row), None)
    return tuple(
        RunnerUp(c.label, _lacks(c, winner, best_at), dict(c.row))
        for c in list(best.values())[:MAX_RUNNERS_UP]
    )


def _lacks(candidate: Candidate, winner: Candidate, best_at: Quantity) -> str:
    if not candidate.fits:
        return "; ".join(check.miss_text for check in candidate.checks if not check.kept)
    ratio = ratio_unpaired(candidate.figure, winner.figure)
    shown = units.text(100 * abs(ratio.value - 1), 2)
    more = "more" if best_at.lower else "less"
    what = f"{best_at.words} {best_at.text(candidate.row)}"
    if candidate.figure.value == winner.figure.value:
        return f"{what}: the same"
    noise = ", within the noise" if _tied(winner, candidate) else ""
    return f"{what}: {shown} % {more}{noise}"


def _nothing_fits(candidates: Sequence[Candidate]) -> NothingFitsError:
    wanted = ", ".join(check.limit_text for check in candidates[0].checks)
    complete = [c for c in candidates if all(k.outcome != "unknown" for k in c.checks)]
    if not complete:
        unknown = [k.quantity.words for c in candidates for k in c.checks if k.outcome == "unknown"]
        missing = ", ".join(dict.fromkeys(unknown))
        return NothingFitsError(
            f"no row can be held against {wanted}: {missing} is not known of any",
            "measure it (quality: sweep with --data), or leave the limit out",
            None,
        )
    nearest = min(complete, key=lambda candidate: candidate.excess)
    missed = tuple(check for check in nearest.checks if not check.kept)
    told = "; ".join(check.miss_text for check in missed)
    return NothingFitsError(
        f"nothing has {wanted}; the nearest is {nearest.label}, with {told}",
        "loosen the limit, or sweep more variants, batches or devices",
        NearestMiss(nearest.label, missed, dict(nearest.row)),
    )
