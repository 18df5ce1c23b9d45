"""What a report says, before it is laid out as a page or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.errors import LimitNotMetError, NothingMeasuredError
from ovtool.report.charts import charts
from ovtool.report.choice import Objective, choose
from ovtool.report.facts import flat
from ovtool.report.rows import config_labels, environment_labels, records, row_label
from ovtool.report.summary import summary
from ovtool.report.table import background

if TYPE_CHECKING:
    import pandas as pd

    from ovtool.report.charts import Charts
    from ovtool.report.choice import Choice
    from ovtool.report.limits import Limits
    from ovtool.report.rows import Row
    from ovtool.report.summary import Summary
    from ovtool.report.table import Background


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
        rows: All rows of the table, in its order.
        failed: The trials that could not run.
        machines: The environments.
        background: Notes and devices that were not there.
    """

    title: str
    objective: str
    choice: Choice | None
    no_choice: str
    summary: Summary | None
    charts: Charts
    rows: tuple[Row, ...]
    failed: tuple[Failed, ...]
    machines: tuple[Machine, ...]
    background: Background


def gather(table: pd.DataFrame, limits: Limits, objective: Objective, percentile: int) -> Content:
    """Return the parts of a report; that nothing fits or was measured is a part of it too.

    Raises:
        InputError: The objective or percentile is unknown, or the objective was not measured.
    """
    rows = records(table)
    choice, no_choice = None, ""
    try:
        choice = choose(table, limits, objective, percentile)
    except (LimitNotMetError, NothingMeasuredError) as error:
        no_choice = f"{str(error)[:1].upper()}{str(error)[1:]}."
    try:
        variants = summary(table)
    except NothingMeasuredError:
        variants = None
    labels = config_labels(rows)
    about = background(table)
    return Content(
        title=", ".join(dict.fromkeys(row["sweep"] for row in rows)) or "no rows",
        objective=_objective(limits, objective, percentile),
        choice=choice,
        no_choice=no_choice,
        summary=variants,
        charts=charts(table),
        rows=tuple(rows),
        failed=tuple(
            Failed(row_label(row, labels), row["reason"] or "no reason given")
            for row in rows
            if row["status"] == "failed"
        ),
        machines=_machines(rows, about),
        background=about,
    )


def _objective(limits: Limits, objective: str, percentile: int) -> str:
    asked = (
        ("latency p{} at most {:g} ms", limits.max_latency_ms),
        ("throughput at least {:g} samples/s", limits.min_throughput_fps),
        ("quality at least {:g}", limits.min_quality),
        ("size at most {:g} MiB", limits.max_model_mib),
    )
    told = [
        text.format(percentile, limit) if "p{}" in text else text.format(limit)
        for text, limit in asked
        if limit is not None
    ]
    best = f"p{percentile} latency" if objective == "latency" else objective
    guesses = ", estimates allowed" if limits.allow_estimates else ""
    return f"best {best}, " + (" and ".join(told) if told else "without limits") + guesses


def _machines(rows: list[Row], about: Background) -> tuple[Machine, ...]:
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
