"""What a report says, before it is laid out as a page or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.charts.build import charts
from ovtool.core.errors import LimitNotMetError, NothingMeasuredError
from ovtool.report.shown import shown
from ovtool.report.summary import summary
from ovtool.results.facts import flat
from ovtool.results.rows import records
from ovtool.results.table import background
from ovtool.results.wording import config_labels, environment_labels, row_label
from ovtool.selection.choice import choose_among
from ovtool.selection.explanations import Context, explain, fastest
from ovtool.selection.limits import asked
from ovtool.selection.pareto import front

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.charts.build import Charts
    from ovtool.core.notes import Note
    from ovtool.report.summary import Summary
    from ovtool.results.rows import Row, Rows
    from ovtool.results.table import Background
    from ovtool.selection.choice import Choice
    from ovtool.selection.knee import Knee
    from ovtool.selection.limits import Limits
    from ovtool.selection.pareto import Front


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial that could not run."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """An environment with its facts laid flat."""

    name: str
    machine: str
    facts: dict[str, str]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """All parts of a report.

    Args:
        title: Names of the sweeps.
        objective: What the recommendation is best at, with the limits, in words.
        choice: The recommendation; None when there is none.
        no_choice: Why there is none; empty when there is one.
        summary: The table of variants; None when nothing was measured.
        charts: The charts.
        rows: The rows to show, in the order of the table.
        total: Rows of the table.
        why_these: Which rows are shown where that is not all; empty where it is.
        best: Which of the rows is the recommended one; None when there is none.
        failed: The trials that could not run.
        machines: The environments.
        background: Notes and devices that were not there.
        explanations: Why the fastest row of each configuration, and the recommended one, are as
            fast, slow or uncertain as they are.
        front: The rows that no other one beats in throughput, latency, quality, size and energy.
        knees: Of every batch curve.
    """

    title: str
    objective: str
    choice: Choice | None
    no_choice: str
    summary: Summary | None
    charts: Charts
    rows: Rows
    total: int
    why_these: str
    best: int | None
    failed: tuple[Failed, ...]
    machines: tuple[Machine, ...]
    background: Background
    explanations: tuple[Note, ...]
    front: Front
    knees: Sequence[Knee]


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is asked for, and the rows that answer.

    Args:
        rows: All rows of the table.
        about: Of their table.
        limits: For the recommendation.
        objective: Of the recommendation.
        percentile: Of the latency in both.
    """

    rows: Rows
    about: Background
    limits: Limits
    objective: str
    percentile: int


def gather(table: pd.DataFrame, limits: Limits, objective: str, percentile: int) -> Content:
    """Return the parts of a report; that nothing fits or was measured is a part of it too.

    Raises:
        InputError: The objective or percentile is unknown, or the objective was not measured.
    """
    question = Question(records(table), background(table), limits, objective, percentile)
    return describe(question, decide(question))


def decide(question: Question) -> Choice | str:
    """Return the recommendation, or why there is none.

    Raises:
        InputError: The objective or percentile is unknown, or the objective was not measured.
    """
    asked_for = (question.limits, question.objective, question.percentile)
    try:
        return choose_among(question.rows, question.about, *asked_for)
    except (LimitNotMetError, NothingMeasuredError) as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."


def describe(question: Question, decided: Choice | str) -> Content:
    """Return the parts of a report around what was decided."""
    everything, about, limits = question.rows, question.about, question.limits
    choice = None if isinstance(decided, str) else decided
    chosen = [] if choice is None else [choice.winner, *(one.row for one in choice.runners_up)]
    kept = shown(everything, [row["trial"] for row in chosen])
    rows, part = kept.rows, kept.rows.table
    try:
        variants = summary(part)
    except NothingMeasuredError:
        variants = None
    labels = config_labels(rows)
    best = None if choice is None else _place(rows, choice.winner)
    names = config_labels(everything)
    context = Context(everything, names, about, limits.min_quality)
    told = fastest(everything)
    if best is not None and rows[best] not in told:
        told.insert(0, rows[best])
    return Content(
        title=_title(everything.different("sweep")),
        objective=_objective(question),
        choice=choice,
        no_choice=decided if isinstance(decided, str) else "",
        summary=variants,
        charts=charts(part, best),
        rows=rows,
        total=kept.total,
        why_these=kept.why,
        best=best,
        failed=tuple(
            Failed(row_label(row, labels), row["reason"] or "no reason given")
            for row in rows.take(rows.equal("status", "failed"))
        ),
        machines=_machines(rows, about),
        background=about,
        explanations=explain(told, context),
        front=front(everything, question.percentile, about.quality_metric, names)
        if choice is None
        else choice.front,
        knees=context.knees,
    )


def _place(rows: Rows, winner: Row) -> int | None:
    """Return which of the rows the winner is."""
    same = rows.equal("trial", winner["trial"]) & rows.equal("environment", winner["environment"])
    return int(same.argmax()) if same.any() else None


def _title(sweeps: list[str], most: int = 4) -> str:
    more = f" and {len(sweeps) - most} more" if len(sweeps) > most else ""
    return (", ".join(sweeps[:most]) + more) or "no rows"


def _objective(question: Question) -> str:
    told = [one.text for one in asked(question.limits, question.percentile, question.about)]
    best = question.objective.replace("latency", f"p{question.percentile} latency")
    guesses = ", estimates allowed" if question.limits.allow_estimates else ""
    return f"best {best}, " + (" and ".join(told) if told else "without limits") + guesses


def _machines(rows: Rows, about: Background) -> tuple[Machine, ...]:
    names = environment_labels(rows)
    return tuple(
        Machine(
            names.get(one.id, one.id),
            one.machine,
            dict(flat(one.facts)),
            dict(one.unknown),
        )
        for one in about.environments
    )
