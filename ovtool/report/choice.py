"""Which row to run: the best by an objective among those that keep to the limits.

The value decides, both for a limit and between rows; the interval says how sure that is.  A limit
that the winner's interval straddles is a warning, a row whose interval overlaps the winner's is a
tie and is named.  A row without a figure that a limit is about is not eligible.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from ovtool import units
from ovtool.columns import BY_NAME
from ovtool.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.registry import suggestion
from ovtool.report.advice import reasons, warnings
from ovtool.report.limits import Candidate, Check, Limits
from ovtool.report.rows import (
    Config,
    Row,
    answering,
    config_labels,
    count_text,
    device_text,
    estimated,
    left_out_text,
    measured,
    real,
    records,
    row_label,
    words,
)
from ovtool.report.table import Background, background
from ovtool.statistics import ratio_unpaired
from ovtool.trial import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.results import Note

Objective = Literal["throughput", "latency", "size", "energy"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
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
        objective: What was asked for.
        label: The winner in a few words.
        winner: Column to value, None where unknown.
        properties: OpenVINO properties to compile with.
        checks: The limits, as the winner stands to them.
        reasons: Why it won, in sentences with figures.
        runners_up: The best row of each other configuration, the nearest first.
        ties: Names of the rows that cannot be told from the winner.
        warnings: What to know before relying on it.
    """

    objective: Objective
    label: str
    winner: Row
    properties: dict[str, str]
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    runners_up: tuple[RunnerUp, ...]
    ties: tuple[str, ...]
    warnings: tuple[Note, ...]

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
        }


def choose(
    table: pd.DataFrame,
    limits: Limits | None = None,
    objective: Objective = "throughput",
    percentile: int = 99,
) -> Choice:
    """Return the row to run.

    Equal values are settled by throughput, then by the smaller batch.

    Args:
        table: Of :func:`ovtool.report.table.load`, or some of its rows.
        limits: What it must keep to.
        objective: What to be best at.
        percentile: 50, 90 or 99: of the latency, both as a limit and as the objective.

    Raises:
        InputError: The objective or percentile is unknown, or the objective was not measured.
        NothingMeasuredError: No row was measured.
        NothingFitsError: No row keeps to the limits; it carries the nearest miss.
    """
    limits = limits or Limits()
    column = objective_column(objective, percentile)
    about = background(table)
    rows = records(table)
    candidates = _candidates(rows, column, limits, percentile, about)
    fitting = sorted((c for c in candidates if c.fits), key=lambda c: _rank(c, column))
    if not fitting:
        raise _nothing_fits(candidates)
    winner, others = fitting[0], fitting[1:]
    ties = [c for c in others if _tied(winner, c, column)]
    runners = _runners_up(winner, candidates, column)
    properties = (about.properties or {}).get((winner.row["environment"], winner.row["trial"]), {})
    rivals = [c for c in others if Config.of(c.row) != Config.of(winner.row)]
    return Choice(
        objective=objective,
        label=winner.label,
        winner=winner.row,
        properties=dict(properties),
        checks=winner.checks,
        reasons=reasons(winner, rivals[0] if rivals else None, column, about.quality_metric),
        runners_up=runners,
        ties=tuple(c.label for c in ties),
        warnings=warnings(winner, candidates, rows, limits, about),
    )


def objective_column(objective: str, percentile: int) -> str:
    """Return the column that an objective is about.

    Raises:
        InputError: There is no such objective or percentile.
    """
    if percentile not in PERCENTILES:
        raise InputError(f"no latency percentile {percentile}", "known: 50, 90, 99")
    columns = {
        "throughput": "throughput_fps",
        "latency": f"latency_p{percentile}_ms",
        "size": "model_mib",
        "energy": "energy_mj_per_sample",
    }
    if objective not in columns:
        raise InputError(f"unknown objective {objective!r}", suggestion(objective, columns))
    return columns[objective]


def _candidates(
    rows: Sequence[Row], column: str, limits: Limits, percentile: int, about: Background
) -> list[Candidate]:
    fine = measured(real(rows)) + (estimated(rows) if limits.allow_estimates else [])
    if not fine:
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
    known = [row for row in fine if row[answering(row, column)] is not None]
    if not known and not measured(fine):
        raise NothingMeasuredError(
            f"{words(column)} was measured in no row, and a compiler's estimates are of the latency"
            " alone",
            "choose by latency",
        )
    if not known:
        why = [
            reason
            for environment in about.environments
            for name, reason in environment.unknown.items()
            if "energy" in name and column.startswith("energy")
        ]
        raise InputError(
            f"{words(column)} was measured in no row" + (f": {why[0]}" if why else ""),
            "choose by another objective",
        )
    labels = config_labels(fine)
    return [
        Candidate.of(row, row_label(row, labels), column, limits, percentile, about.quality_metric)
        for row in known
    ]


def _rank(candidate: Candidate, column: str) -> tuple[float, float, int]:
    sign = 1.0 if BY_NAME[column].better == "lower" else -1.0
    throughput = candidate.row["throughput_fps"] or 0.0
    return sign * candidate.figure.value, -throughput, candidate.row["batch"]


def _tied(winner: Candidate, other: Candidate, column: str) -> bool:
    """Whether two figures may be the same; without intervals only when they are equal."""
    if column == "model_mib" and winner.row["variant_id"] == other.row["variant_id"]:
        return False  # the same files
    if winner.figure.known and other.figure.known:
        return winner.figure.overlaps(other.figure)
    return winner.figure.value == other.figure.value


def _runners_up(
    winner: Candidate, candidates: Sequence[Candidate], column: str
) -> tuple[RunnerUp, ...]:
    """Return the best candidate of each other configuration, fitting ones first."""

    def near(candidate: Candidate) -> tuple[object, ...]:
        unknown = math.isnan(candidate.excess)
        return (
            not candidate.fits,
            unknown,
            0.0 if unknown else candidate.excess,
            *_rank(candidate, column),
        )

    best: dict[Config, Candidate] = {}
    for candidate in sorted(candidates, key=near):
        best.setdefault(Config.of(candidate.row), candidate)
    best.pop(Config.of(winner.row), None)
    return tuple(
        RunnerUp(c.label, _lacks(c, winner, column), c.row)
        for c in list(best.values())[:MAX_RUNNERS_UP]
    )


def _lacks(candidate: Candidate, winner: Candidate, column: str) -> str:
    if not candidate.fits:
        return "; ".join(check.miss_text for check in candidate.checks if not check.kept)
    ratio = ratio_unpaired(candidate.figure, winner.figure)
    shown = units.text(100 * abs(ratio.value - 1), 2)
    more = "more" if BY_NAME[column].better == "lower" else "less"
    what = f"{words(column)} {candidate.text}"
    if candidate.figure.value == winner.figure.value:
        return f"{what}: the same"
    noise = ", within the noise" if _tied(winner, candidate, column) else ""
    return f"{what}: {shown} % {more}{noise}"


def _nothing_fits(candidates: Sequence[Candidate]) -> NothingFitsError:
    asked = ", ".join(check.limit_text for check in candidates[0].checks)
    complete = [c for c in candidates if all(k.outcome != "unknown" for k in c.checks)]
    if not complete:
        unknown = [k.column for c in candidates for k in c.checks if k.outcome == "unknown"]
        missing = ", ".join(words(column) for column in dict.fromkeys(unknown))
        return NothingFitsError(
            f"no row can be held against {asked}: {missing} was not measured",
            "evaluate the variants, or leave the limit out",
            None,
        )
    nearest = min(complete, key=lambda candidate: candidate.excess)
    missed = tuple(check for check in nearest.checks if not check.kept)
    told = "; ".join(check.miss_text for check in missed)
    return NothingFitsError(
        f"nothing has {asked}; the nearest is {nearest.label}, with {told}",
        "loosen the limit, or sweep more variants, batches or devices",
        NearestMiss(nearest.label, missed, nearest.row),
    )
