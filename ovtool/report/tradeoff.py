"""Latency against throughput along the batches, with the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.report import theme
from ovtool.report.drawing import HEIGHT, WIDTH, Axis, Chart, bounds, details, spec, tooltips
from ovtool.report.labels import place
from ovtool.report.rows import Config, Row, by_config, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt


def latency_throughput(rows: Sequence[Row], labels: dict[Config, str]) -> Chart | str:
    """Draw latency against throughput along the batches, or say why not."""
    import altair as alt

    shown = [
        row
        for row in measured(rows)
        if row["latency_p50_ms"] is not None and row["throughput_fps"] is not None
    ]
    title = "Latency against throughput"
    if not shown:
        return f"{title}: no row has both figures"
    data = [_point(row, labels) for row in shown]
    x_axis, y_axis = _axis(data, "x"), _axis(data, "y")
    spots = place(
        [WIDTH * x_axis.share(p["x"]) for p in data],
        [HEIGHT * (1 - y_axis.share(p["y"])) for p in data],
    )
    for point, spot in zip(data, spots, strict=True):
        point["dx"], point["dy"] = (0, 0) if spot is None else (spot.dx, spot.dy)
        point["label"] = "" if spot is None else str(point["batch"])
    loads = list(dict.fromkeys(point["load"] for point in data))
    by_label = alt.selection_point(name="by_config", fields=["config"], bind="legend")
    by_load = alt.selection_point(name="by_load", fields=["load"], bind="legend")
    x = alt.X("x:Q", title="p50 latency of a request, ms", scale=_scale(x_axis))
    y = alt.Y("y:Q", title="throughput, samples/s", scale=_scale(y_axis))
    base = alt.Chart(alt.InlineData(values=data)).encode(
        color=_category("config", labels, shown),
        opacity=alt.when(by_label, by_load).then(alt.value(1)).otherwise(alt.value(0.1)),
    )
    lines = base.mark_line(strokeWidth=1.6).encode(
        x=x,
        y=y,
        order="batch:Q",
        detail="load:N",
        strokeDash=alt.StrokeDash(
            "load:N",
            title="load",
            legend=alt.Legend(symbolSize=700, symbolStrokeWidth=1.6),
            scale=alt.Scale(domain=loads, range=[theme.DASHES[i % 5] for i in range(len(loads))]),
        ),
    )
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x=x, y=y, shape=_shape("config", labels, shown), tooltip=tooltips(data)
    )
    text = base.mark_text(
        style="label", dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), align="center"
    ).encode(x=x, y=y, text="label:N", color=alt.Undefined)
    layers = [
        _front(data, x, y),
        base.mark_rule().encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y),
        base.mark_rule().encode(y=alt.Y("y_low:Q"), y2="y_high:Q", x=x),
        lines,
        points.add_params(by_label, by_load),
        text,
    ]
    return Chart(
        "latency-throughput",
        title,
        "One line for each variant, along the batch sizes at its points. The broad grey line is "
        "the Pareto front: no other row has both less latency and more throughput. Thin bars are "
        "95 % intervals.",
        spec(layers, HEIGHT),
    )


def pareto_front(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points that no other one beats in both ``x`` (less) and ``y`` (more), by x."""
    front: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda p: (p["x"], -p["y"])):
        if not front or point["y"] > front[-1]["y"]:
            front.append(point)
    return front


def _point(row: Row, labels: dict[Config, str]) -> dict[str, Any]:
    return details(row) | {
        "config": labels[Config.of(row)],
        "batch": row["batch"],
        "load": row["load"],
        **bounds(row, "latency_p50_ms", "x"),
        **bounds(row, "throughput_fps", "y"),
    }


def _axis(data: Sequence[dict[str, Any]], name: str) -> Axis:
    """Return the axis that holds all values and their intervals."""
    found = [point[key] for point in data for key in (name, f"{name}_low", f"{name}_high")]
    return Axis.of([value for value in found if value is not None])


def _front(data: Sequence[dict[str, Any]], x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    front = [{"x": p["x"], "y": p["y"]} for p in pareto_front(data)]
    chart: alt.Chart = alt.Chart(alt.InlineData(values=front)).mark_line(
        style="front", interpolate="step-after"
    )
    return chart.encode(x=x, y=y)


def _names(labels: dict[Config, str], rows: Sequence[Row]) -> list[str]:
    return [labels[config] for config in by_config(rows)]


def _category(name: str, labels: dict[Config, str], rows: Sequence[Row]) -> alt.Color:
    import altair as alt

    return alt.Color(f"{name}:N", title="variant", scale=alt.Scale(domain=_names(labels, rows)))


def _shape(name: str, labels: dict[Config, str], rows: Sequence[Row]) -> alt.Shape:
    import altair as alt

    return alt.Shape(f"{name}:N", title="variant", scale=alt.Scale(domain=_names(labels, rows)))


def _scale(axis: Axis) -> alt.Scale:
    import altair as alt

    return alt.Scale(type="log" if axis.log else "linear", domain=[axis.low, axis.high], nice=False)
