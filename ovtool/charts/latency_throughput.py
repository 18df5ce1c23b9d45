"""Latency and throughput over batch sizes, with the Pareto front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.charts import theme
from ovtool.charts.drawing import (
    HEIGHT,
    HOVER,
    OTHERS,
    WIDTH,
    Axis,
    Chart,
    OmittedChart,
    Point,
    axis_values,
    device_shape,
    fastest_configs,
    layered_spec,
    over_points,
    points_of_fastest,
    require,
    truncation_text,
    variant_color,
    with_figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_MAX_LOADS = 6
"""Maximum number of loads in a legend: there are no more dashes."""
_STEPS = [step * 10**power for power in range(-3, 7) for step in (1, 2, 5)]
_TICKS = {"expr": f"domain('x')[1] / domain('x')[0] > 10 ? {_STEPS} : null"}
"""Ticks of a wide logarithmic axis: by default, only few of them have a label."""
MAX_LINES = 12
"""Maximum number of lines in one chart; more are in small multiples."""
LATENCY_LIMIT, PICKED_ROW = "latency_limit", "picked_row"
"""Parameters of the chart that the page sets: a latency in ms, and the index of a row."""


@dataclass(frozen=True, slots=True)
class LatencyView:
    """The latency of the chart, its limit, and the index of the row that has the ring."""

    latency: str = "latency_p50_ms"
    limit_ms: float | None = None
    picked: int | None = None

    @property
    def axes(self) -> tuple[str, str]:
        """Fields of both axes."""
        return self.latency, "throughput_fps"

    def front(self) -> tuple[dict[str, Any], ...]:
        """Keep the Pareto front: points with more throughput than all points of lower latency."""
        by_latency = [
            {"field": self.latency, "order": "ascending"},
            {"field": "throughput_fps", "order": "descending"},
        ]
        best = {"op": "max", "field": "throughput_fps", "as": "best_so_far"}
        return (
            {"window": [best], "sort": by_latency, "frame": [None, 0]},
            {"window": [{"op": "lag", "field": "best_so_far", "as": "before"}], "sort": by_latency},
            {"filter": "!isValid(datum.before) || datum.throughput_fps > datum.before"},
        )

    def x(self, shown: Sequence[Point], **axis: Any) -> alt.X:
        """Return the axis of latency, which is logarithmic."""
        import altair as alt

        scale = Axis.of(axis_values(shown, self.latency), log=True).scale
        title = f"{self.latency.split('_')[1]} request latency, ms"
        axis = {"values": _TICKS, "tickCount": 12} | axis if scale.type == "log" else axis
        return alt.X(f"{self.latency}:Q", title=title, scale=scale, axis=alt.Axis(**axis))


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


def with_few_lines(data: Sequence[Point], view: LatencyView) -> list[Point]:
    """Return the points with ``line`` 0 where no line joins them: more than some are unreadable.

    The line of the selected row comes first, then those of the Pareto front, then the fastest.
    """
    shown = [p for p in with_figures(data, *view.axes) if p["color"] != OTHERS]
    ranks: dict[tuple[str, str], tuple[int, float]] = {}
    front = front_rows(shown, view)
    for point in shown:
        importance = 0 if point["row"] == view.picked else 1 if point["row"] in front else 2
        rank = (importance, -point["throughput_fps"])
        ranks[line_of(point)] = min(rank, ranks.get(line_of(point), rank))
    drawn = set(sorted(ranks, key=ranks.__getitem__)[:MAX_LINES])
    return [p if line_of(p) in drawn or line_of(p) not in ranks else p | {"line": 0} for p in data]


def line_of(point: Point) -> tuple[str, str]:
    """Return what the points of a line share."""
    return point["config"], point["load"]


def with_label_offsets(data: Sequence[Point], view: LatencyView) -> list[Point]:
    """Return the points with the offsets of their batch labels, ``dx`` and ``dy``."""
    shown = with_figures(data, *view.axes)
    if not shown:
        return list(data)
    shown.sort(key=lambda point: "line" in point)  # only points with a line have a label
    x_axis = Axis.of(axis_values(shown, view.latency), log=True)
    y_axis = Axis.of(axis_values(shown, "throughput_fps"))
    offsets = place_labels(
        [WIDTH * x_axis.position(p[view.latency]) for p in shown],
        [HEIGHT * (1 - y_axis.position(p["throughput_fps"])) for p in shown],
    )
    pairs = zip(shown, offsets, strict=True)
    by_row = {p["row"]: {"dx": offset.dx, "dy": offset.dy} for p, offset in pairs if offset}
    return [point | by_row.get(point["row"], {}) for point in data]


def draw_latency_throughput(
    data: Sequence[Point], view: LatencyView | None = None
) -> Chart | OmittedChart:
    """Draw throughput over latency, with a line over the batch sizes of each configuration."""
    import altair as alt

    view = view or LatencyView()
    name, title = "latency-throughput", "Latency and throughput"
    shown = with_figures(data, *view.axes)
    if not shown:
        return OmittedChart(name, title, "no row has both figures")
    by_label = alt.selection_point(name="by_variant", fields=["color"], bind="legend")
    by_load = alt.selection_point(name="by_load", fields=["load"], bind="legend")
    x, y = view.x(shown), throughput_axis(shown)
    style: dict[str, Any] = {
        "color": variant_color(data),
        "opacity": alt.when(by_label, by_load).then(alt.value(1)).otherwise(alt.value(0.1)),
    }
    fastest = fastest_configs()
    lines = _batch_lines(shown, *fastest, *_COLORED).encode(x=x, y=y, **style)
    dots = over_points(*fastest).mark_point(filled=True, size=64, opacity=1, tooltip=HOVER)
    text = over_points(*fastest, *_COLORED, {"filter": "isValid(datum.dx)"}).mark_text(
        style="label", dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), align="center"
    )
    low, high = f"{view.latency}_low", f"{view.latency}_high"
    layers = [
        over_points(*view.front())
        .mark_line(style="front", interpolate="step-after")
        .encode(x=x, y=y),
        over_points(*fastest, *require(low))
        .mark_rule()
        .encode(x=alt.X(f"{low}:Q"), x2=f"{high}:Q", y=y, **style),
        over_points(*fastest, *require("throughput_fps_low"))
        .mark_rule()
        .encode(y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", x=x, **style),
        lines,
        dots.encode(x=x, y=y, shape=device_shape(data), **style).add_params(by_label, by_load),
        text.encode(x=x, y=y, text="batch:N", opacity=style["opacity"]),
        *_picked_layers(x, y, view),
        *_limit_layers(),
    ]
    spec = layered_spec(layers, HEIGHT, *require(*view.axes))
    values = ((LATENCY_LIMIT, view.limit_ms), (PICKED_ROW, view.picked))
    params = [{"name": name, "value": value} for name, value in values]
    return Chart(
        name,
        title,
        "A line joins the batch sizes of a configuration, the labels. Thick gray line: Pareto front"
        " (no other row has both lower latency and higher throughput). Thin bars: 95% confidence"
        f" intervals. Ring: the selected row.{lines_text(shown)}{truncation_text(shown)}",
        spec | {"params": [*params, *spec.get("params", ())]},
        _with_front(shown, view),
    )


_COLORED = ({"filter": f"datum.color !== '{OTHERS}' && datum.line !== 0"},)
"""Keeps the points with a line, of variants with a color of their own."""


def _picked_layers(x: alt.X, y: alt.Y, view: LatencyView) -> list[alt.Chart]:
    """Return the ring around the selected row, and the name of its configuration."""
    import altair as alt

    picked = over_points({"filter": f"datum.row === {PICKED_ROW}"})
    on_right = f"scale('x', datum.{view.latency}) > width / 2"
    names = [
        picked.mark_text(
            style=style,
            align=alt.expr(f"{on_right} ? 'right' : 'left'"),
            dx=alt.expr(f"{on_right} ? -14 : 14"),
            dy=-14,
            limit=260,
        )
        for style in ("halo", "limit-label")
    ]
    ring = picked.mark_point(style="chosen", size=220, filled=False)
    return [ring.encode(x=x, y=y), *(name.encode(x=x, y=y, text="config:N") for name in names)]


def _limit_layers() -> list[alt.Chart]:
    """Return the line of the latency limit, and its label."""
    import altair as alt

    line = alt.Chart(alt.InlineData(values=[{}])).transform_calculate(limit_ms=LATENCY_LIMIT)
    line = line.transform_filter("isValid(datum.limit_ms)")
    line = line.transform_calculate(label="'limit ' + format(datum.limit_ms, '.4~g') + ' ms'")
    on_left = "scale('x', datum.limit_ms) < 90"
    labels = [
        line.mark_text(
            style=style,
            align=alt.expr(f"{on_left} ? 'left' : 'right'"),
            dx=alt.expr(f"{on_left} ? 5 : -5"),
            y=alt.expr("height - 4"),
            baseline="bottom",
        )
        for style in ("halo", "limit-label")
    ]
    rule = line.mark_rule(style="limit").encode(x="limit_ms:Q")
    places = {"x": "limit_ms:Q", "text": "label:N"}
    return [rule, *(label.encode(**places) for label in labels)]


def _with_front(shown: Sequence[Point], view: LatencyView) -> list[Point]:
    """Return the points of the fastest configurations, the front and the recommended row."""
    rows = {point["row"] for point in points_of_fastest(shown)}
    rows |= {point["row"] for point in shown if "best" in point}
    rows |= front_rows(shown, view)
    return [point for point in shown if point["row"] in rows]


def front_rows(shown: Sequence[Point], view: LatencyView) -> set[int]:
    """Return the rows of the Pareto front."""
    rows, best = set(), -math.inf
    for point in sorted(shown, key=lambda p: (p[view.latency], -p["throughput_fps"])):
        if point["throughput_fps"] > best:
            best = point["throughput_fps"]
            rows.add(point["row"])
    return rows


def lines_text(shown: Sequence[Point]) -> str:
    """Return the sentence on lines that are not drawn; empty if all are drawn."""
    lines = {line_of(point) for point in shown}
    drawn = {line_of(p) for p in shown if "line" not in p and p["color"] != OTHERS}
    if drawn == lines:
        return ""
    return f" Lines join the points of {len(drawn)} of {len(lines)} configurations and loads."


def draw_batch_scaling(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw throughput over batch sizes."""
    import altair as alt

    name, title = "batch-scaling", "Throughput by batch size"
    shown = with_figures(data, "throughput_fps")
    if len({point["batch"] for point in shown}) < 2:
        return OmittedChart(name, title, "fewer than two batch sizes were measured")
    x = alt.X("batch:O", title="batch size", axis=alt.Axis(labelAngle=0))
    y = throughput_axis(shown)
    color = variant_color(data)
    layers = [
        over_points(*require("throughput_fps_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", color=color),
        _batch_lines(shown, *_COLORED).encode(x=x, y=y, color=color),
        over_points()
        .mark_point(filled=True, size=54, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=device_shape(data)),
    ]
    return Chart(
        name,
        title,
        "Where a line flattens, larger batches add latency but little throughput. Thin bars:"
        f" 95% confidence intervals.{lines_text(shown)}{truncation_text(shown)}",
        layered_spec(layers, 300, *require("throughput_fps"), *fastest_configs()),
        points_of_fastest(shown),
    )


def throughput_axis(shown: Sequence[Point], **axis: Any) -> alt.Y:
    """Return the axis of throughput."""
    import altair as alt

    scale = Axis.of(axis_values(shown, "throughput_fps")).scale
    title = "throughput, samples/s"
    return alt.Y("throughput_fps:Q", title=title, scale=scale, axis=alt.Axis(**axis))


def _batch_lines(data: Sequence[Point], *transforms: dict[str, Any]) -> alt.Chart:
    """Return lines over the batch sizes, dashed by load."""
    import altair as alt

    loads = list(dict.fromkeys(point["load"] for point in data))
    dashes = [theme.DASHES[i % len(theme.DASHES)] for i in range(len(loads))]
    chart: alt.Chart = over_points(*transforms).mark_line(strokeWidth=1.6)
    return chart.encode(
        order="batch:Q",
        detail=["config:N", "load:N"],
        strokeDash=alt.StrokeDash(
            "load:N",
            title="load",
            legend=alt.Legend(symbolSize=700, symbolStrokeWidth=1.6, symbolLimit=_MAX_LOADS),
            scale=alt.Scale(domain=loads, range=dashes),
        ),
    )
