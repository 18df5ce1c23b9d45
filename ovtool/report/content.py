"""The parts of a report, before they are laid out as a page or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core import units
from ovtool.core.errors import LimitNotMetError, NothingMeasuredError
from ovtool.report.summary import summarize_table
from ovtool.results.environments import flatten_facts
from ovtool.results.labels import config_labels, environment_labels, row_label
from ovtool.results.rows import first_of_each_group, is_real
from ovtool.selection.choice import NearestMiss, NothingFitsError, choose_from
from ovtool.selection.choice_table import ChoiceTable, tabulate_choice
from ovtool.selection.explanations import Context, explain, fastest_rows
from ovtool.selection.limits import list_limits
from ovtool.selection.pareto import find_front, find_non_dominated
from ovtool.selection.snippet import build_snippets

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
class Sources:
    """Where a report comes from, for the commands of its page; absolute paths."""

    sweeps: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    out: str = ""

    @classmethod
    def of(
        cls,
        sweeps: Sequence[str | Path],
        profiles: Sequence[str | Path],
        out: str | Path,
    ) -> Sources:
        """Return the sources with absolute paths: the commands work in every folder."""
        return cls(
            tuple(str(Path(path).resolve()) for path in sweeps),
            tuple(str(Path(path).resolve()) for path in profiles),
            str(Path(out).resolve()),
        )


UNKNOWN_SOURCES = Sources()


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
    picked: int | None
    """Index of the recommended row, or of the row that is nearest to the limits."""
    nearest: NearestMiss | None
    hint: str
    """What to do without a recommendation; may be empty."""
    failed: tuple[FailedTrial, ...]
    environments: tuple[EnvironmentSummary, ...]
    table: ResultsTable
    explanations: tuple[Note, ...]
    """Of the fastest row of each configuration and of the recommended row."""
    front: Front
    knees: Sequence[Knee]
    choice_table: ChoiceTable | None
    """What the page needs to choose again; None if nothing was measured."""
    spec: ChoiceSpec
    programs: tuple[str, ...]
    """The program of each row of ``rows``."""
    sources: Sources = UNKNOWN_SOURCES
    layers: tuple[dict[str, Any], ...] = ()
    """Variant, device and slowest layers of each profile."""


def build_content(
    table: ResultsTable, spec: ChoiceSpec, sources: Sources = UNKNOWN_SOURCES
) -> Content:
    """Return the parts of a report, also if no row meets the limits or nothing was measured.

    Raises:
        InputError: The objective was not measured.
    """
    all_rows = table.records
    choice, nearest, no_choice, hint = None, None, "", ""
    try:
        choice = choose_from(table, spec)
    except (LimitNotMetError, NothingMeasuredError) as error:
        no_choice = f"{str(error)[:1].upper()}{str(error)[1:]}."
        hint = error.hint or ""
        nearest = error.nearest if isinstance(error, NothingFitsError) else None
    chosen = [] if choice is None else [choice.winner, *(r.row for r in choice.runners_up)]
    if nearest is not None:
        chosen = [nearest.row]
    rows = select_rows(all_rows, [row["trial"] for row in chosen])
    shown = table.with_rows(rows.frame)
    try:
        summary = summarize_table(shown)
    except NothingMeasuredError:
        summary = None
    labels = config_labels(rows)
    best = None if choice is None else _index(rows, choice.winner)
    picked = _index(rows, chosen[0]) if chosen else None
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
        charts=draw_sweep_charts(shown, picked, spec.percentile, spec.max_latency_ms),
        rows=rows,
        total=len(all_rows),
        best=best,
        picked=picked,
        nearest=nearest,
        hint=hint,
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
        choice_table=_choice_table(table, spec, rows),
        spec=spec,
        programs=tuple(build_snippets(rows, table)),
        sources=sources,
    )


def _choice_table(table: ResultsTable, spec: ChoiceSpec, rows: Rows) -> ChoiceTable | None:
    try:
        return tabulate_choice(table, spec, rows)
    except (LimitNotMetError, NothingMeasuredError):
        return None


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


def latency_throughput_front(rows: Rows, percentile: int = 50) -> list[int]:
    """Return the indices of the Pareto front of a percentile of latency and throughput."""
    latencies = rows.numbers(f"latency_p{percentile}_ms")
    indices = np.flatnonzero(_is_drawn(rows) & ~np.isnan(latencies))
    drawn, latency = rows.take(indices), latencies[indices]
    values = np.column_stack([-latency, drawn.numbers("throughput_fps")])
    return [int(indices[place]) for place in find_non_dominated(values)]


def _by_preference(rows: Rows, always: Collection[str]) -> Iterator[list[int]]:
    """Yield indices of the rows, the most informative first; an index may repeat."""
    for trial in always:
        yield np.flatnonzero(rows.equal("trial", trial)).tolist()
    for percentile in (99, 50):
        yield latency_throughput_front(rows, percentile)
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
    limits = " and ".join(limit.text for limit in list_limits(spec, table))
    quality = []
    if choice is not None and choice.too_few:
        quality.append("loss of quality undecided")
    elif choice is not None and choice.loses_nothing:
        quality.append("no measurable loss of quality")
    estimates = ["estimates allowed"] if spec.allow_estimates else []
    restricted = [limits] if limits else [] if quality else ["no limits"]
    return ", ".join([f"best {best}", *restricted, *quality, *estimates])


def _environments(rows: Rows, table: ResultsTable) -> tuple[EnvironmentSummary, ...]:
    names = environment_labels(rows)
    return tuple(
        EnvironmentSummary(
            names.get(e.id, e.id), e.machine, dict(flatten_facts(e.facts)), dict(e.unknown)
        )
        for e in table.environments
    )
