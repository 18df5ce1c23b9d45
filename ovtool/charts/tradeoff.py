"""Latency and throughput along the batches, with the Pareto front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts import theme
from ovtool.charts.drawing import (
    HEIGHT,
    WIDTH,
    Axis,
    Chart,
    Point,
    base,
    color,
    ends,
    few,
    few_lines,
    few_lines_text,
    found,
    keep,
    shape,
    spec,
)
from ovtool.charts.label_placement import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_BOTH = ("latency_p50_ms", "throughput_fps")
_LOADS = 6
"""Entries of a legend: there are no more dashes."""
_ALONG = [
    {"field": "latency_p50_ms", "order": "ascending"},
    {"field": "throughput_fps", "order": "descending"},
]
_FRONT: tuple[dict[str, Any], ...] = (
    {
        "window": [{"op": "max", "field": "throughput_fps", "as": "most"}],
        "sort": _ALONG,
        "frame": [None, 0],
    },
    {"window": [{"op": "lag", "field": "most", "as": "before"}], "sort": _ALONG},
    {"filter": "!isValid(datum.before) || datum.throughput_fps > datum.before"},
)
"""Keeps the points of which none with less latency has as much throughput."""


def with_labels(data: Sequence[Point]) -> list[Point]:
    """Return the points with where the labels of their batches go beside them."""
    shown = found(data, *_BOTH)
    if not shown:
        return list(data)
    x_axis, y_axis = (Axis.of(ends(shown, name)) for name in _BOTH)
    spots = place(
        [WIDTH * x_axis.share(p["latency_p50_ms"]) for p in shown],
        [HEIGHT * (1 - y_axis.share(p["throughput_fps"])) for p in shown],
    )
    moved = {
        p["row"]: {"dx": spot.dx, "dy": spot.dy}
        for p, spot in zip(shown, spots, strict=True)
        if spot
    }
    return [point | moved.get(point["row"], {}) for point in data]


def latency_throughput(data: Sequence[Point]) -> Chart | str:
    """Draw latency against throughput along the batches, or say why not."""
    import altair as alt

    title = "Latency against throughput"
    shown = found(data, *_BOTH)
    if not shown:
        return f"{title}: no row has both figures"
    by_label = alt.selection_point(name="by_config", fields=["config"], bind="legend")
    by_load = alt.selection_point(name="by_load", fields=["load"], bind="legend")
    x = alt.X(
        "latency_p50_ms:Q",
        title="p50 latency of a request, ms",
        scale=Axis.of(ends(shown, "latency_p50_ms")).scale,
    )
    y = alt.Y(
        "throughput_fps:Q",
        title="throughput, samples/s",
        scale=Axis.of(ends(shown, "throughput_fps")).scale,
    )
    ring = " The ring is the recommended row." if found(shown, "best") else ""
    look: dict[str, Any] = {
        "color": color(data),
        "opacity": alt.when(by_label, by_load).then(alt.value(1)).otherwise(alt.value(0.1)),
    }
    few = few_lines()
    lines = _lines(shown, *few).encode(x=x, y=y, **look)
    dots = base(*few).mark_point(filled=True, size=64, opacity=1, tooltip={"content": "data"})
    text = base(*few, {"filter": "isValid(datum.dx)"}).mark_text(
        style="label", dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), align="center"
    )
    layers = [
        base(*_FRONT).mark_line(style="front", interpolate="step-after").encode(x=x, y=y),
        base(*few, *keep("latency_p50_ms_low"))
        .mark_rule()
        .encode(x=alt.X("latency_p50_ms_low:Q"), x2="latency_p50_ms_high:Q", y=y, **look),
        base(*few, *keep("throughput_fps_low"))
        .mark_rule()
        .encode(y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", x=x, **look),
        lines,
        dots.encode(x=x, y=y, shape=shape(data), **look).add_params(by_label, by_load),
        text.encode(x=x, y=y, text="batch:N", opacity=look["opacity"]),
        base(*keep("best")).mark_point(style="chosen", size=300, filled=False).encode(x=x, y=y),
    ]
    return Chart(
        "latency-throughput",
        title,
        "One line for each variant, along the batch sizes at its points. The broad grey line is "
        "the Pareto front: no other row has both less latency and more throughput. Thin bars are "
        f"95 % intervals.{ring}{few_lines_text(shown)}",
        spec(layers, HEIGHT, *keep(*_BOTH)),
        _with_front(shown),
    )


def _with_front(shown: Sequence[Point]) -> list[Point]:
    """Return the points of few lines, those of the front, and the recommended one."""
    kept = {point["row"] for point in few(shown)} | {p["row"] for p in shown if "best" in p}
    most = -math.inf
    for point in sorted(shown, key=lambda p: (p["latency_p50_ms"], -p["throughput_fps"])):
        if point["throughput_fps"] > most:
            most = point["throughput_fps"]
            kept.add(point["row"])
    return [point for point in shown if point["row"] in kept]


def batch_scaling(data: Sequence[Point]) -> Chart | str:
    """Draw throughput along the batches, or say why not."""
    import altair as alt

    title = "Throughput by batch size"
    shown = found(data, "throughput_fps")
    if len({point["batch"] for point in shown}) < 2:
        return f"{title}: fewer than two batch sizes were measured"
    x = alt.X("batch:O", title="batch: samples in a request", axis=alt.Axis(labelAngle=0))
    y = alt.Y(
        "throughput_fps:Q",
        title="throughput, samples/s",
        scale=Axis.of(ends(shown, "throughput_fps")).scale,
    )
    colour = color(data)
    layers = [
        base(*keep("throughput_fps_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("throughput_fps_low:Q"), y2="throughput_fps_high:Q", color=colour),
        _lines(shown).encode(x=x, y=y, color=colour),
        base()
        .mark_point(filled=True, size=54, opacity=1, tooltip={"content": "data"})
        .encode(x=x, y=y, color=colour, shape=shape(data)),
    ]
    return Chart(
        "batch-scaling",
        title,
        "Where a line flattens, a greater batch brings latency and little else. Thin bars are "
        f"95 % intervals.{few_lines_text(shown)}",
        spec(layers, 300, *keep("throughput_fps"), *few_lines()),
        few(shown),
    )


def _lines(data: Sequence[Point], *transforms: dict[str, Any]) -> alt.Chart:
    """Return lines along the batches, dashed by load."""
    import altair as alt

    loads = list(dict.fromkeys(point["load"] for point in data))
    chart: alt.Chart = base(*transforms).mark_line(strokeWidth=1.6)
    return chart.encode(
        order="batch:Q",
        detail="load:N",
        strokeDash=alt.StrokeDash(
            "load:N",
            title="load",
            legend=alt.Legend(symbolSize=700, symbolStrokeWidth=1.6, symbolLimit=_LOADS),
            scale=alt.Scale(domain=loads, range=[theme.DASHES[i % 5] for i in range(len(loads))]),
        ),
    )
