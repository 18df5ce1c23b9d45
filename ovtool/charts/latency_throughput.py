"""Latency and throughput over batch sizes, with the Pareto front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.charts import theme
from ovtool.charts.drawing import (
    HEIGHT,
    HOVER,
    WIDTH,
    Axis,
    Chart,
    OmittedChart,
    Point,
    axis_values,
    config_color,
    config_shape,
    fastest_configs,
    layered_spec,
    over_points,
    points_of_fastest,
    require,
    truncation_text,
    with_figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_AXES = ("latency_p50_ms", "throughput_fps")
_MAX_LOADS = 6
"""Maximum number of loads in a legend: there are no more dashes."""
_BY_LATENCY = [
    {"field": "latency_p50_ms", "order": "ascending"},
    {"field": "throughput_fps", "order": "descending"},
]
_FRONT: tuple[dict[str, Any], ...] = (
    {
        "window": [{"op": "max", "field": "throughput_fps", "as": "best_so_far"}],
        "sort": _BY_LATENCY,
        "frame": [None, 0],
    },
    {"window": [{"op": "lag", "field": "best_so_far", "as": "before"}], "sort": _BY_LATENCY},
    {"filter": "!isValid(datum.before) || datum.throughput_fps > datum.before"},
)
"""Keeps the Pareto front: points with more throughput than all points of lower latency."""
MAX_LABELS = 250
"""Points beyond which no label is readable."""


@dataclass(frozen=True, slots=True)
class LabelOffset:
    """Offset of a label from its point, in pixels, y downward."""

    dx: int
    dy: int


_OFFSETS = tuple(
    LabelOffset(dx, dy) for dx, dy in ((0, -11), (0, 12), (11, 0), (-11, 0), (9, -9), (-9, 9))
)
_LABEL_WIDTH, _LABEL_HEIGHT = 12.0, 10.0


def place_labels(xs: Sequence[float], ys: Sequence[float]) -> list[LabelOffset | None]:
    """Return an offset for the label of each point, None if there is no room for the label.

    Positions are in pixels, y downward.  Greedy, in the given order: the first offset that covers
    no point and no earlier label.
    """
    if len(xs) > MAX_LABELS:
        return [None] * len(xs)
    occupied = list(zip(xs, ys, strict=True))
    offsets: list[LabelOffset | None] = []
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        rest = occupied[:i] + occupied[i + 1 :]
        offset = next((o for o in _OFFSETS if _is_free(x + o.dx, y + o.dy, rest)), None)
        offsets.append(offset)
        if offset is not None:
            occupied.append((x + offset.dx, y + offset.dy))
    return offsets


def _is_free(x: float, y: float, occupied: Sequence[tuple[float, float]]) -> bool:
    return not any(abs(x - a) < _LABEL_WIDTH and abs(y - b) < _LABEL_HEIGHT for a, b in occupied)


def with_label_offsets(data: Sequence[Point]) -> list[Point]:
    """Return the points with the offsets of their batch labels, ``dx`` and ``dy``."""
    shown = with_figures(data, *_AXES)
    if not shown:
        return list(data)
    x_axis, y_axis = (Axis.of(axis_values(shown, name)) for name in _AXES)
    offsets = place_labels(
        [WIDTH * x_axis.position(p["latency_p50_ms"]) for p in shown],
        [HEIGHT * (1 - y_axis.position(p["throughput_fps"])) for p in shown],
    )
    pairs = zip(shown, offsets, strict=True)
    by_row = {p["row"]: {"dx": offset.dx, "dy": offset.dy} for p, offset in pairs if offset}
    return [point | by_row.get(point["row"], {}) for point in data]


def draw_latency_throughput(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw throughput over latency, with a line over the batch sizes of each configuration."""
    import altair as alt

    name, title = "latency-throughput", "Latency and throughput"
    shown = with_figures(data, *_AXES)
    if not shown:
        return OmittedChart(name, title, "no row has both figures")
    by_label = alt.selection_point(name="by_config", fields=["config"], bind="legend")
    by_load = alt.selection_point(name="by_load", fields=["load"], bind="legend")
    scale = Axis.of(axis_values(shown, "latency_p50_ms")).scale
    x = alt.X("latency_p50_ms:Q", title="p50 request latency, ms", scale=scale)
    y = _throughput_axis(shown)
    ring = " Ring: recommended row." if with_figures(shown, "best") else ""
    style: dict[str, Any] = {
        "color": config_color(data),
        "opacity": alt.when(by_label, by_load).then(alt.value(1)).otherwise(alt.value(0.1)),
    }
    fastest = fastest_configs()
    lines = _batch_lines(shown, *fastest).encode(x=x, y=y, **style)
    dots = over_points(*fastest).mark_point(filled=True, size=64, opacity=1, tooltip=HOVER)
    text = over_points(*fastest, {"filter": "isValid(datum.dx)"}).mark_text(
        style="label", dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), align="center"
    )
    chosen = over_points(*require("best")).mark_point(style="chosen", size=300, filled=False)
    layers = [
        over_points(*_FRONT).mark_line(style="front", interpolate="step-after").encode(x=x, y=y),
        over_points(*fastest, *require("latency_p50_ms_low"))
        .mark_rule()
        .encode(x=alt.X("latency_p50_ms_low:Q"), x2="latency_p50_ms_high:Q", y=y, **style),
        over_points(*fastest, *require("throughput_fps_low"))
        .mark_rule()
        .encode(y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", x=x, **style),
        lines,
        dots.encode(x=x, y=y, shape=config_shape(data), **style).add_params(by_label, by_load),
        text.encode(x=x, y=y, text="batch:N", opacity=style["opacity"]),
        chosen.encode(x=x, y=y),
    ]
    return Chart(
        name,
        title,
        "One line per variant; point labels are batch sizes. Thick gray line: Pareto front (no"
        " other row has both lower latency and higher throughput). Thin bars: 95 % confidence"
        f" intervals.{ring}{truncation_text(shown)}",
        layered_spec(layers, HEIGHT, *require(*_AXES)),
        _with_front(shown),
    )


def _with_front(shown: Sequence[Point]) -> list[Point]:
    """Return the points of the fastest configurations, the front and the recommended row."""
    rows = {point["row"] for point in points_of_fastest(shown)}
    rows |= {point["row"] for point in shown if "best" in point}
    best = -math.inf
    for point in sorted(shown, key=lambda p: (p["latency_p50_ms"], -p["throughput_fps"])):
        if point["throughput_fps"] > best:
            best = point["throughput_fps"]
            rows.add(point["row"])
    return [point for point in shown if point["row"] in rows]


def draw_batch_scaling(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw throughput over batch sizes."""
    import altair as alt

    name, title = "batch-scaling", "Throughput by batch size"
    shown = with_figures(data, "throughput_fps")
    if len({point["batch"] for point in shown}) < 2:
        return OmittedChart(name, title, "fewer than two batch sizes were measured")
    x = alt.X("batch:O", title="batch size", axis=alt.Axis(labelAngle=0))
    y = _throughput_axis(shown)
    color = config_color(data)
    layers = [
        over_points(*require("throughput_fps_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", color=color),
        _batch_lines(shown).encode(x=x, y=y, color=color),
        over_points()
        .mark_point(filled=True, size=54, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=config_shape(data)),
    ]
    return Chart(
        name,
        title,
        "Where a line flattens, larger batches add latency but little throughput. Thin bars:"
        f" 95 % confidence intervals.{truncation_text(shown)}",
        layered_spec(layers, 300, *require("throughput_fps"), *fastest_configs()),
        points_of_fastest(shown),
    )


def _throughput_axis(shown: Sequence[Point]) -> alt.Y:
    import altair as alt

    scale = Axis.of(axis_values(shown, "throughput_fps")).scale
    return alt.Y("throughput_fps:Q", title="throughput, samples/s", scale=scale)


def _batch_lines(data: Sequence[Point], *transforms: dict[str, Any]) -> alt.Chart:
    """Return lines over the batch sizes, dashed by load."""
    import altair as alt

    loads = list(dict.fromkeys(point["load"] for point in data))
    dashes = [theme.DASHES[i % len(theme.DASHES)] for i in range(len(loads))]
    chart: alt.Chart = over_points(*transforms).mark_line(strokeWidth=1.6)
    return chart.encode(
        order="batch:Q",
        detail="load:N",
        strokeDash=alt.StrokeDash(
            "load:N",
            title="load",
            legend=alt.Legend(symbolSize=700, symbolStrokeWidth=1.6, symbolLimit=_MAX_LOADS),
            scale=alt.Scale(domain=loads, range=dashes),
        ),
    )
