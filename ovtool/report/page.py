"""The page: one HTML file that works offline and asks nothing of the network.

The chart library is inside it.  A content security policy forbids every request and every script
but the two whose hashes it names, so that a hostile name in the results stays text.  What the
table and the charts show stands once in a block of JSON, from which the scripts draw both.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ovtool.charts import theme
from ovtool.core import units
from ovtool.core.columns import BY_NAME, COLUMNS
from ovtool.results.rows import figures
from ovtool.results.wording import (
    device_text,
    figure_text,
    heading,
    interval_text,
    load_text,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ovtool.charts.build import Charts
    from ovtool.charts.drawing import Point
    from ovtool.core.columns import Column
    from ovtool.core.notes import Note
    from ovtool.core.statistics import Interval
    from ovtool.report.content import Content
    from ovtool.results.rows import Row, Rows
    from ovtool.selection.pareto import Front

TEMPLATE, DRAW = "page.html.j2", "page.js"
MOST_LISTED = 100
"""Lines of a list or table that stands in the page as text."""
_COUNTED = re.compile(r"(?P<number>\d+) (?P<of>\w+)(?P<rest>: .*)", re.DOTALL)
_KEY = (
    "variant",
    "device",
    "batch",
    "load",
    "executed_precision",
    "latency_p50_ms",
    "latency_p99_ms",
    "throughput_fps",
    "speedup_f32_x",
    "speedup_default_x",
    "accuracy_top1",
    "accuracy_characters",
    "agreement_top1",
    "model_mib",
    "verdict",
    "reason",
)
"""Columns that the table shows before it is asked for all."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A filter of the page: what it is called, and how many rows have each value."""

    name: str
    title: str
    options: dict[str, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """A part of the answer."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A note, and all that it was said of."""

    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A Pareto front as text.

    Args:
        words: What was compared, inside a sentence.
        unknown: What no row has, likewise.
        headings: What was compared, with units.
        rows: The name of each row and its figures without units.
    """

    words: list[str]
    unknown: list[str]
    headings: list[str]
    rows: list[tuple[str, tuple[str, ...]]]


def page(content: Content, library: str, reload_s: int | None = None) -> str:
    """Return the page as HTML.

    Args:
        content: What it says.
        library: The script that draws its charts, as :class:`ovtool.charts.render.Pictures`
            makes it.
        reload_s: After how many seconds a browser reads it again; None for a report that is done.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    scripts = (library, _resource(DRAW))
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_resource(TEMPLATE))
    shown = [column for column in COLUMNS if content.rows.known(column.name).any()]
    cells = [_cells(content.rows, column) for column in shown]
    facets = {name: _facet(content.rows, name) for name in _FACETS}
    return template.render(
        content=content,
        answer=list(_answer(content)),
        interval=_interval,
        notes=_said(content.background.notes),
        front=_front(content.front),
        most=MOST_LISTED,
        facets=[Facet(name, title, _counted(facets[name])) for name, (title, _) in _FACETS.items()],
        dictionary=COLUMNS,
        data={
            "columns": [_heading(column) for column in shown],
            "rows": list(zip(*cells, strict=True)),
            "facets": facets,
            "points": _by_field(content.charts.points),
            "charts": _specs(content.charts),
            "config": theme.page(),
            "best": content.best,
        },
        light=theme.LIGHT,
        dark=theme.DARK,
        font=theme.FONT,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours, and hashed
        reload_s=reload_s,
    )


def _front(front: Front) -> Listed:
    columns, rows = [BY_NAME[name] for name in front.columns], front.rows[:MOST_LISTED]
    cells = zip(*(_cells(rows, column) for column in columns), strict=True)
    return Listed(
        [words(one.name) for one in columns],
        [words(name) for name in front.left_out],
        [heading(one.name) for one in columns],
        list(zip(front.labels, cells, strict=False)),
    )


def _said(notes: Sequence[Note]) -> list[Said]:
    """Return the notes, those that say the same as one; a number in front is part of the evidence.

    So "83 inferences: few" and "38 inferences: few" are one note.
    """
    alike: dict[str, list[str]] = {}
    for note in notes:
        counted = _COUNTED.match(note.message)
        message = note.message if counted is None else counted["of"] + counted["rest"]
        remedy = f" To do: {note.remedy}." if note.remedy else ""
        number = [] if counted is None else [f"{counted['number']} {counted['of']}"]
        told = alike.setdefault(f"{message[:1].upper()}{message[1:]}.{remedy}", [])
        told += ["; ".join([*number, *filter(None, [note.evidence])])]
    return [Said(text, tuple(filter(None, evidence))) for text, evidence in alike.items()]


def _heading(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": f"{column.title}, {column.unit}" if column.unit else column.title,
        "meaning": column.meaning,
        "numeric": not column.text,
        "key": column.name in _KEY,
    }


def _cells(rows: Rows, column: Column) -> list[str]:
    """Return a column of the table as texts without its unit."""
    if column.text or column.name == "batch":
        return [units.UNKNOWN if one is None else str(one) for one in rows.values(column.name)]
    end = f" {column.unit}"
    return [interval_text(one, column).removesuffix(end) for one in figures(rows, column.name)]


_FACETS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "device": ("Device", lambda row: row["device"]),
    "variant": ("Variant", lambda row: row["variant"]),
    "batch": ("Batch", lambda row: str(row["batch"])),
    "hint": ("Hint", lambda row: row["hint"] or "set by hand"),
    "verdict": ("Verdict", lambda row: row["verdict"] or row["status"]),
}


def _facet(rows: Sequence[Row], name: str) -> list[str]:
    _, value = _FACETS[name]
    return [value(row) for row in rows]


def _counted(values: Sequence[str]) -> dict[str, int]:
    """Return how many rows have each value, numbers in their order, names in the table's."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if all(value.isdigit() for value in counts):
        return dict(sorted(counts.items(), key=lambda item: int(item[0])))
    return counts


def _by_field(points: Sequence[Point]) -> dict[str, list[Any]]:
    """Return the points as a list for each field, with as many digits as a chart can show."""

    def short(value: Any) -> Any:
        return float(f"{value:.6g}") if isinstance(value, float) else value

    names = dict.fromkeys(name for point in points for name in point)
    return {name: [short(point.get(name)) for point in points] for name in names}


def _specs(charts: Charts) -> dict[str, Any]:
    """Return the charts without their points, which stand once; ``linked`` ones take them."""
    return {
        one.name: {"spec": one.spec | {"description": one.title}, "linked": bool(one.points)}
        for one in charts.drawn
    }


def _interval(value: Interval | None) -> str:
    if value is None:
        return units.UNKNOWN
    return units.interval_text(value.value, value.low, value.high)


def _answer(content: Content) -> Iterator[Fact]:
    """Yield what the recommended row is and does, for whoever reads nothing else."""
    if content.choice is None:
        return
    row = content.choice.winner
    yield Fact("Deploy", f"{row['variant']} ({figure_text(row, 'model_mib')})")
    yield Fact("On", ", ".join(filter(None, (device_text(row), row["machine"]))))
    counts = [
        f"{row[name]:.0f} {name if row[name] != 1 else name[:-1]}"
        for name in ("streams", "requests", "threads")
        if row[name] is not None
    ]
    executed = row["executed_precision"] or row["precision"]
    yield Fact("Settings", ", ".join([load_text(row), *counts, executed]))
    if row["verdict"] is not None:
        yield Fact("Measured", row["verdict"])
    quality = content.background.quality_metric
    for name, called in (
        ("throughput_fps", "Throughput"),
        ("latency_p50_ms", "Latency, p50"),
        ("latency_p99_ms", "Latency, p99"),
        ("energy_mj_per_sample", "Energy"),
        *([(quality, f"Quality, {BY_NAME[quality].title}")] if quality else []),
    ):
        if row[name] is not None:
            yield Fact(called, figure_text(row, name))


def _policy(scripts: tuple[str, ...]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    text = files("ovtool.report").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")
