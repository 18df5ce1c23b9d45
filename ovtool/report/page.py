"""The page: one HTML file that works offline and makes no network request.

It contains the chart library.  A content security policy forbids all requests and all scripts
except two, by their hashes, so that a hostile name in the results remains text.  The scripts draw
table and charts from one block of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

from ovtool.charts import theme
from ovtool.core import units
from ovtool.core.columns import BY_NAME, COLUMNS, QualityMetric
from ovtool.core.escaping import quote_controls, quote_nested
from ovtool.report.row_details import choose_command, row_details
from ovtool.results.labels import (
    column_heading,
    column_label,
    figure_text,
    interval_text,
    lengths_text,
)
from ovtool.results.rows import get_figures
from ovtool.selection.candidates import TIE_PCT
from ovtool.selection.certainty import TOO_FEW
from ovtool.selection.hosts import HEADINGS, MAX_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from markupsafe import Markup

    from ovtool.charts.drawing import Point
    from ovtool.charts.sweep_charts import Charts
    from ovtool.core.columns import Column
    from ovtool.core.notes import Note
    from ovtool.core.statistics import Interval
    from ovtool.report.content import Content
    from ovtool.results.rows import Row, Rows
    from ovtool.selection.pareto import Front

TEMPLATE, SCRIPTS = "page.html.j2", ("choose.js", "page.js")
MAX_LISTED = 100
"""Maximum number of lines of a static list or table."""
_TOP_WARNINGS = 2
"""Number of warnings about the recommendation beside its figures; the rest is below them."""
_DEFAULT_COLUMNS = (
    "variant", "device", "batch", "prompt_length", "output_length", "load", "executed_precision",
    "tokens_s", "ttft_ms", "tpot_ms", "itl_p99_ms", "latency_p50_ms", "latency_p99_ms",
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
class Tile:
    """A figure of the recommended row, without its unit in ``value`` and ``interval``."""

    column: str
    title: str
    value: str
    interval: str
    unit: str
    unknown: str
    """What an unknown value means."""


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

    scripts = (library, "\n".join(_resource(name) for name in SCRIPTS))
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=quote_nested,
    )
    environment.filters["options"] = _mark_options
    template, choice = environment.from_string(_resource(TEMPLATE)), content.choice
    columns = [column for column in COLUMNS if content.rows.known(column.name).any()]
    columns.sort(key=lambda column: column.name == "reason")  # long text comes last
    cells = [_cells(content.rows, column) for column in columns]
    facets = {name: [value(row) for row in content.rows] for name, (_, value) in _FILTERS.items()}
    return template.render(
        content=content,
        tiles=list(_tiles(content)),
        command=choose_command(content) or "ovtool choose SWEEP",
        started=_started(content),
        versions=_versions(content),
        interval=_interval,
        notes=_group_notes(content.table.notes),
        front=_front_table(content.front),
        hosts=choice.hosts if choice else (),
        host_headings=HEADINGS,
        max_hosts=MAX_HOSTS,
        most=MAX_LISTED,
        top_warnings=_TOP_WARNINGS,
        warnings=[note for note in choice.warnings if note.id != TOO_FEW] if choice else [],
        tie_pct=f"{TIE_PCT:g}",
        filters=[Filter(n, title, _count(facets[n])) for n, (title, _) in _FILTERS.items()],
        dictionary=COLUMNS,
        data=quote_nested(
            {
                "columns": [_column_heading(column) for column in columns],
                "rows": list(zip(*cells, strict=True)),
                "facets": facets,
                "points": _by_field(content.charts.points),
                "charts": _specs(content.charts),
                "config": theme.page_config(),
                "best": content.best,
                "picked": content.picked,
                "details": row_details(content),
            }
        ),
        light=theme.variables(theme.LIGHT, theme.LIGHT_PRECISIONS),
        dark=theme.variables(theme.DARK, theme.DARK_PRECISIONS),
        font=theme.FONT,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours, and hashed
        reload_s=reload_s,
    )


def _mark_options(text: str) -> Markup:
    """Return escaped text whose options are in one piece, since a line may break at a hyphen."""
    from markupsafe import Markup, escape

    safe = str(escape(quote_controls(text)))
    return Markup(re.sub(r"--[a-z][a-z-]*", r'<span class="option">\g<0></span>', safe))  # noqa: S704 - escaped


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
    unit = column.unit
    texts = (interval_text(figure, column) for figure in get_figures(rows, column.name))
    return [text.removesuffix(unit).rstrip() for text in texts]


_FILTERS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "device": ("Device", lambda row: row["device"]),
    "variant": ("Variant", lambda row: row["variant"]),
    "batch": ("Batch", lambda row: str(row["batch"])),
    "lengths": ("Tokens", lambda row: lengths_text(row) or "none"),
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


def _tiles(content: Content) -> Iterator[Tile]:
    """Yield the figures of the recommended row, or of the row nearest to the limits."""
    if content.picked is None:
        return
    row = content.rows[content.picked]
    metric = content.table.quality_metric
    names = ["throughput_fps", f"latency_p{content.spec.percentile}_ms"]
    if row["tokens_s"] is not None:
        names = ["tokens_s", "ttft_ms", "tpot_ms"]
    names += [*([metric] if metric else []), "model_mib", "speedup_f32_x"]
    for name in names:
        if not content.rows.known(name).any():
            continue
        cell = figure_text(row, name)
        column = BY_NAME[name]
        value, bracket, interval = cell.removesuffix(f" {column.unit}").partition(" [")
        unit = column.unit if column.unit and not column.unit.startswith("fraction") else ""
        titles = {"model_mib": "Model size", "speedup_f32_x": "Speed-up over f32"}
        title = titles.get(name, column_label(name))
        title = title if title.startswith("p") else title[:1].upper() + title[1:]
        unknown = "not evaluated" if name == metric else "not measured"
        interval = unknown if value == units.UNKNOWN else bracket + interval
        yield Tile(name, title, value, interval, unit, unknown)


def _started(content: Content) -> str:
    """Return the dates of the sweeps."""
    dates = sorted(str(e.moment.get("started", ""))[:10] for e in content.table.environments)
    dates = [date for date in dict.fromkeys(dates) if date]
    return " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else ""


def _versions(content: Content) -> str:
    """Return the versions of OpenVINO and of ovtool."""
    from ovtool import __version__

    known = [str(e.facts.get("openvino") or "") for e in content.table.environments]
    short = list(dict.fromkeys(name.partition("-")[0] for name in known if name))
    openvino = [f"OpenVINO {units.listing(short, 2)}"] if short else []
    return " · ".join([*openvino, f"ovtool {__version__}"])


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
