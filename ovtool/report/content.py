"""The parts of a report, before they are laid out as a page or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core import units
from ovtool.core.errors import LimitNotMetError, NothingMeasuredError
from ovtool.report.summary import summarize_table
from ovtool.results.environments import flatten_facts
from ovtool.results.labels import config_labels, environment_labels, row_label
from ovtool.results.rows import first_of_each_group, is_real
from ovtool.selection.choice import choose_from
from ovtool.selection.explanations import Context, explain, fastest_rows
from ovtool.selection.limits import list_limits
from ovtool.selection.pareto import find_front, find_non_dominated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from ovtool.charts.sweep_charts import Charts
    from ovtool.core.notes import Note
    from ovtool.report.summary import Summary
    from ovtool.results.rows import Row, Rows
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice import Choice
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.selection.knee import Knee
    from ovtool.selection.pareto import Front

MAX_ROWS = 2000
"""Maximum number of rows on a page: more are neither readable nor below 5 MB."""
_MAX_SWEEPS = 4
"""Maximum number of sweeps in a title."""


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """A trial that failed."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class EnvironmentSummary:
    """An environment with its facts as a flat table."""

    name: str
    machine: str
    facts: dict[str, str]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """All parts of a report."""

    title: str
    objective: str
    """Objective and limits of the recommendation as a phrase."""
    choice: Choice | None
    """The recommendation; None if no row meets the limits or nothing was measured."""
    no_choice: str
    """Why no row is recommended; empty with a recommendation."""
    summary: Summary | None
    """The table of variants; None if nothing was measured."""
    charts: Charts
    rows: Rows
    """The rows of the page, in the order of the table."""
    total: int
    """Number of rows of the table."""
    best: int | None
    """Index of the recommended row in ``rows``; None without a recommendation."""
    failed: tuple[FailedTrial, ...]
    environments: tuple[EnvironmentSummary, ...]
    table: ResultsTable
    explanations: tuple[Note, ...]
    """Of the fastest row of each configuration and of the recommended row."""
    front: Front
    knees: Sequence[Knee]


def build_content(table: ResultsTable, spec: ChoiceSpec) -> Content:
    """Return the parts of a report, also if no row meets the limits or nothing was measured.

    Raises:
        InputError: The objective was not measured.
    """
    all_rows = table.records
    choice, no_choice = None, ""
    try:
        choice = choose_from(table, spec)
    except (LimitNotMetError, NothingMeasuredError) as error:
        no_choice = f"{str(error)[:1].upper()}{str(error)[1:]}."
    chosen = [] if choice is None else [choice.winner, *(r.row for r in choice.runners_up)]
    rows = select_rows(all_rows, [row["trial"] for row in chosen])
    shown = table.with_rows(rows.frame)
    try:
        summary = summarize_table(shown)
    except NothingMeasuredError:
        summary = None
    labels = config_labels(rows)
    best = None if choice is None else _index(rows, choice.winner)
    all_labels = config_labels(all_rows)
    context = Context(all_rows, all_labels, table, spec.min_quality)
    explained = fastest_rows(all_rows)
    if best is not None and rows[best] not in explained:
        explained.insert(0, rows[best])
    return Content(
        title=_title(all_rows.unique("sweep")),
        objective=_objective(spec, table, choice),
        choice=choice,
        no_choice=no_choice,
        summary=summary,
        charts=draw_sweep_charts(shown, best),
        rows=rows,
        total=len(all_rows),
        best=best,
        failed=tuple(
            FailedTrial(row_label(row, labels), row["reason"] or "unknown reason")
            for row in rows.take(rows.equal("status", "failed"))
        ),
        environments=_environments(rows, table),
        table=table,
        explanations=explain(explained, context),
        front=find_front(all_rows, spec.percentile, table.quality_metric, all_labels)
        if choice is None
        else choice.front,
        knees=context.knees,
    )


def select_rows(rows: Rows, always: Collection[str] = (), limit: int = MAX_ROWS) -> Rows:
    """Return all rows, or the most informative ones if there are too many.

    The order of preference: the rows of the trials in ``always``, the Pareto front of latency and
    throughput, the rows of highest throughput and of lowest latency of each configuration, the rows
    of batch 1 under the latency hint, failed rows, and the remaining rows in order.
    """
    if len(rows) <= limit:
        return rows
    indices: dict[int, None] = {}
    for group in _by_preference(rows, always):
        indices |= dict.fromkeys(group)
        if len(indices) >= limit:
            break
    return rows.take(sorted(list(indices)[:limit]))


def latency_throughput_front(rows: Rows) -> list[int]:
    """Return the indices of the Pareto front of p50 latency and throughput."""
    indices = np.flatnonzero(_is_drawn(rows))
    drawn = rows.take(indices)
    values = np.column_stack([-drawn.numbers("latency_p50_ms"), drawn.numbers("throughput_fps")])
    return [int(indices[place]) for place in find_non_dominated(values)]


def _by_preference(rows: Rows, always: Collection[str]) -> Iterator[list[int]]:
    """Yield indices of the rows, the most informative first; an index may repeat."""
    for trial in always:
        yield np.flatnonzero(rows.equal("trial", trial)).tolist()
    yield latency_throughput_front(rows)
    indices = np.flatnonzero(_is_drawn(rows))
    drawn = rows.take(indices)
    for values in (-drawn.numbers("throughput_fps"), drawn.numbers("latency_p50_ms")):
        order = np.argsort(values, kind="stable")
        yield indices[first_of_each_group(drawn.group_codes(), order)].tolist()
    single = (drawn.numbers("batch") == 1) & drawn.equal("load", "latency")
    yield indices[single].tolist()
    yield np.flatnonzero(~rows.equal("status", "ok")).tolist()
    yield list(range(len(rows)))


def _is_drawn(rows: Rows) -> NDArray[np.bool_]:
    """Return which rows have latency and throughput, measured on real devices."""
    known = rows.known("latency_p50_ms") & rows.known("throughput_fps")
    return known & rows.equal("status", "ok") & is_real(rows)


def _index(rows: Rows, winner: Row) -> int | None:
    """Return the index of the recommended row."""
    same = rows.equal("trial", winner["trial"]) & rows.equal("environment", winner["environment"])
    return int(same.argmax()) if same.any() else None


def _title(sweeps: list[str]) -> str:
    return units.listing(sweeps, _MAX_SWEEPS) or "no rows"


def _objective(spec: ChoiceSpec, table: ResultsTable, choice: Choice | None) -> str:
    best = spec.objective.replace("latency", f"p{spec.percentile} latency")
    texts = [limit.text for limit in list_limits(spec, table)]
    if choice is not None and choice.loses_nothing:
        texts.append("no measurable loss of quality")
    estimates = ["estimates allowed"] if spec.allow_estimates else []
    return ", ".join([f"best {best}", " and ".join(texts) or "no limits", *estimates])


def _environments(rows: Rows, table: ResultsTable) -> tuple[EnvironmentSummary, ...]:
    names = environment_labels(rows)
    return tuple(
        EnvironmentSummary(
            names.get(e.id, e.id), e.machine, dict(flatten_facts(e.facts)), dict(e.unknown)
        )
        for e in table.environments
    )
