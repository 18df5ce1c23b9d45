"""The page: one HTML file that works offline and makes no network request.

It contains the chart library.  A content security policy forbids all requests and all scripts
except two, by their hashes, so that a hostile name in the results remains text.  The scripts draw
table and charts from one block of JSON.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

from ovtool.charts import theme
from ovtool.core import units
from ovtool.core.columns import BY_NAME, COLUMNS, QualityMetric
from ovtool.results.labels import (
    column_heading,
    column_label,
    device_text,
    figure_text,
    interval_text,
    load_text,
)
from ovtool.results.rows import get_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ovtool.charts.drawing import Point
    from ovtool.charts.sweep_charts import Charts
    from ovtool.core.columns import Column
    from ovtool.core.notes import Note
    from ovtool.core.statistics import Interval
    from ovtool.report.content import Content
    from ovtool.results.rows import Row, Rows
    from ovtool.selection.pareto import Front

TEMPLATE, SCRIPT = "page.html.j2", "page.js"
MAX_LISTED = 100
"""Maximum number of lines of a static list or table."""
_DEFAULT_COLUMNS = (
    "variant", "device", "batch", "load", "executed_precision", "latency_p50_ms", "latency_p99_ms",
    "throughput_fps", "speedup_f32_x", "speedup_default_x", *get_args(QualityMetric), "model_mib",
    "verdict", "reason",
)  # fmt: skip
"""Columns that the table shows until the reader selects all columns."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of the page, with the number of rows for each value."""

    name: str
    title: str
    options: dict[str, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """A named part of the recommendation."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class GroupedNote:
    """A note, and the evidence of each occurrence."""

    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrontTable:
    """A Pareto front as text."""

    figures: list[str]
    """Names of the compared figures."""
    unknown: list[str]
    """Names of the figures that no row has."""
    headings: list[str]
    """Names of the compared figures with units."""
    rows: list[tuple[str, tuple[str, ...]]]
    """The name of each row and its figures without units."""


def render_page(content: Content, library: str, reload_s: int | None = None) -> str:
    """Return the page as HTML; a browser reloads the page every ``reload_s``.

    The library comes from :meth:`ovtool.charts.render.ChartRenderer.library`.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    scripts = (library, _resource(SCRIPT))
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_resource(TEMPLATE))
    columns = [column for column in COLUMNS if content.rows.known(column.name).any()]
    columns.sort(key=lambda column: column.name == "reason")  # long text comes last
    cells = [_cells(content.rows, column) for column in columns]
    facets = {name: [value(row) for row in content.rows] for name, (_, value) in _FILTERS.items()}
    return template.render(
        content=content,
        answer=list(_answer(content)),
        interval=_interval,
        notes=_group_notes(content.table.notes),
        front=_front_table(content.front),
        most=MAX_LISTED,
        filters=[Filter(n, title, _count(facets[n])) for n, (title, _) in _FILTERS.items()],
        dictionary=COLUMNS,
        data={
            "columns": [_column_heading(column) for column in columns],
            "rows": list(zip(*cells, strict=True)),
            "facets": facets,
            "points": _by_field(content.charts.points),
            "charts": _specs(content.charts),
            "config": theme.page_config(),
            "best": content.best,
        },
        light=theme.LIGHT,
        dark=theme.DARK,
        font=theme.FONT,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours, and hashed
        reload_s=reload_s,
    )


def _front_table(front: Front) -> FrontTable:
    columns, rows = [BY_NAME[name] for name in front.columns], front.rows[:MAX_LISTED]
    cells = zip(*(_cells(rows, column) for column in columns), strict=True)
    return FrontTable(
        [column_label(column.name) for column in columns],
        [column_label(name) for name in front.left_out],
        [column_heading(column.name) for column in columns],
        list(zip(front.labels, cells, strict=False)),
    )


def _group_notes(notes: Sequence[Note]) -> list[GroupedNote]:
    """Merge notes with the same message and remedy."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        remedy = f" To do: {note.remedy}." if note.remedy else ""
        text = f"{note.message[:1].upper()}{note.message[1:]}.{remedy}"
        groups.setdefault(text, []).append(note.evidence)
    return [GroupedNote(text, tuple(filter(None, evidence))) for text, evidence in groups.items()]


def _column_heading(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": f"{column.title}, {column.unit}" if column.unit else column.title,
        "meaning": column.meaning,
        "numeric": not column.text,
        "key": column.name in _DEFAULT_COLUMNS,
    }


def _cells(rows: Rows, column: Column) -> list[str]:
    """Return the cells of a column, without its unit."""
    if column.text or column.name == "batch":
        return [units.UNKNOWN if v is None else str(v) for v in rows.values(column.name)]
    unit = f" {column.unit}"
    return [interval_text(v, column).removesuffix(unit) for v in get_figures(rows, column.name)]


_FILTERS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "device": ("Device", lambda row: row["device"]),
    "variant": ("Variant", lambda row: row["variant"]),
    "batch": ("Batch", lambda row: str(row["batch"])),
    "hint": ("Hint", lambda row: row["hint"] or "none"),
    "verdict": ("Verdict", lambda row: row["verdict"] or row["status"]),
}
"""Title of each filter, and its value for a row."""


def _count(values: Sequence[str]) -> dict[str, int]:
    """Return the number of rows for each value, with numbers sorted and names as in the table."""
    counts = Counter(values)
    if all(value.isdigit() for value in counts):
        return dict(sorted(counts.items(), key=lambda item: int(item[0])))
    return counts


def _by_field(points: Sequence[Point]) -> dict[str, list[Any]]:
    """Return the points as a list for each field, rounded to six digits."""

    def rounded(value: Any) -> Any:
        return float(f"{value:.6g}") if isinstance(value, float) else value

    names = dict.fromkeys(name for point in points for name in point)
    return {name: [rounded(point.get(name)) for point in points] for name in names}


def _specs(charts: Charts) -> dict[str, Any]:
    """Return the specifications; ``linked`` charts share the points of the page."""
    return {
        c.name: {"spec": c.spec | {"description": c.title}, "linked": bool(c.points)}
        for c in charts.drawn
    }


def _interval(value: Interval | None) -> str:
    if value is None:
        return units.UNKNOWN
    return units.interval_text(value.value, value.low, value.high)


def _answer(content: Content) -> Iterator[Fact]:
    """Yield the recommended variant, device and settings, and their figures."""
    if content.choice is None:
        return
    row = content.choice.winner
    yield Fact("Variant", f"{row['variant']} ({figure_text(row, 'model_mib')})")
    yield Fact("Device", ", ".join(filter(None, (device_text(row), row["machine"]))))
    counts = [
        f"{row[name]:.0f} {name if row[name] != 1 else name[:-1]}"
        for name in ("streams", "requests", "threads")
        if row[name] is not None
    ]
    executed = row["executed_precision"] or row["precision"]
    yield Fact("Settings", ", ".join([load_text(row), *counts, executed]))
    if row["verdict"] is not None:
        yield Fact("Measurement", row["verdict"])
    quality = content.table.quality_metric
    for name, title in (
        ("throughput_fps", "Throughput"),
        ("latency_p50_ms", "Latency, p50"),
        ("latency_p99_ms", "Latency, p99"),
        ("energy_mj_per_sample", "Energy"),
        *([(quality, f"Quality, {BY_NAME[quality].title}")] if quality else []),
    ):
        if row[name] is not None:
            yield Fact(title, figure_text(row, name))


def _policy(scripts: tuple[str, ...]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    text = files("ovtool.report").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")
