"""Charts with a line or point for each configuration: quality, size, startup and speed-up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import (
    HOVER,
    WIDTH,
    Axis,
    Chart,
    OmittedChart,
    Point,
    axis_values,
    config_axis,
    device_shape,
    fastest_configs,
    first_of_each,
    layered_spec,
    number_text,
    over_points,
    require,
    step_height,
    truncation_text,
    variant_color,
    with_figures,
)
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_METRICS = {
    "accuracy_top1": ("top-1 accuracy", "fraction of samples"),
    "agreement_top1": ("top-1 agreement", "fraction of samples"),
    "accuracy_characters": ("character accuracy", "fraction of characters"),
    "output_cosine": ("cosine with the uncompressed model", "of the worst output"),
    "mean_absolute_error": ("mean absolute error", "lower is better"),
    "mean_average_precision": ("mAP", "IoU 0.50 to 0.95"),
    "mean_iou": ("mean IoU", "over the classes"),
    "perplexity": ("perplexity", "lower is better"),
    "custom_metric": ("custom metric", "higher is better"),
}
_NOT_EVALUATED = "quality was not evaluated"
_STARTUP_PHASES = {
    "compile_cold_ms": "compile, no cache",
    "compile_cached_ms": "compile, cached",
    "first_inference_ms": "first inference",
}
_SHADES = (1.0, 0.6, 0.3)
"""Opacities that distinguish figures of one variant."""
LATENCY, THROUGHPUT = "lowest latency", "highest throughput"
_OPERATING_POINTS: tuple[dict[str, Any], ...] = (
    {"calculate": f"['{LATENCY}', '{THROUGHPUT}']", "as": "operating_point"},
    {"flatten": ["operating_point"]},
    {
        "filter": f"datum.operating_point === '{THROUGHPUT}' ? isValid(datum.throughput_fps)"
        " : isValid(datum.latency_p50_ms)"
    },
    {
        "calculate": f"datum.operating_point === '{THROUGHPUT}' ? -datum.throughput_fps"
        " : datum.latency_p50_ms"
        " + (datum.batch === 1 && datum.load === 'latency' ? 0 : 1e12)",
        "as": "preference",
    },
    *first_of_each("config", "operating_point", by="preference"),
)
"""Keeps two points of each configuration, the rows that ``find_lowest_latency`` and
``find_highest_throughput`` of :mod:`ovtool.results.rows` select."""


def draw_quality(data: Sequence[Point], column: str | None) -> Chart | OmittedChart:
    """Draw quality with its interval, as dots, because the axis does not start at zero."""
    import altair as alt

    name, title = "quality", "Quality"
    if column is None:
        return OmittedChart(name, title, _NOT_EVALUATED)
    metric, unit = _METRICS[column]
    title = f"Quality: {metric}"
    shown = with_figures(data, "quality")
    if not shown:
        return OmittedChart(name, title, "no row has this figure")
    y, color = config_axis(), variant_color(data, legend=False)
    x = alt.X("quality:Q", title=f"{metric}, {unit}", scale=_quality_scale(shown, column))
    layers = [
        over_points(*require("quality_low"))
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("quality_low:Q"), x2="quality_high:Q", y=y, color=color),
        over_points()
        .mark_point(filled=True, size=70, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=device_shape(data)),
        over_points({"calculate": number_text("quality"), "as": "label"})
        .mark_text(style="value", dy=-10)
        .encode(x=x, y=y, text="label:N"),
    ]
    meaning = BY_NAME[column].meaning
    return Chart(
        name,
        title,
        f"{meaning[:1].upper()}{meaning[1:]}. Bars: 95% confidence intervals. The axis does not"
        f" start at zero.{truncation_text(shown)}",
        layered_spec(
            layers, step_height(34), *require("quality"), *first_of_each("config"),
            *fastest_configs(),
        ),
    )  # fmt: skip


def draw_quality_vs_size(data: Sequence[Point], column: str | None) -> Chart | OmittedChart:
    """Draw quality over the size of the model files."""
    import altair as alt

    name, title = "quality-size", "Quality and model size"
    shown = with_figures(data, "quality", "model_mib")
    if column is None or not shown:
        reason = _NOT_EVALUATED if column is None else "no row has both figures"
        return OmittedChart(name, title, reason)
    metric, unit = _METRICS[column]
    size_scale = Axis.of(axis_values(shown, "model_mib")).scale
    x = alt.X("model_mib:Q", title="graph and weights of the IR, MiB", scale=size_scale)
    y = alt.Y("quality:Q", title=f"{metric}, {unit}", scale=_quality_scale(shown, column))
    color = variant_color(data)
    better = "Down" if BY_NAME[column].better == "lower" else "Up"
    layers = [
        over_points(*require("quality_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("quality_low:Q"), y2="quality_high:Q", color=color),
        over_points()
        .mark_point(filled=True, size=80, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=device_shape(data)),
    ]
    return Chart(
        name,
        title,
        f"{better} and left is better. Bars: 95% confidence intervals. The quality axis does not"
        " start at zero.",
        layered_spec(layers, 300, *require("quality", "model_mib"), *first_of_each("config")),
    )


def _quality_scale(shown: Sequence[Point], column: str) -> alt.Scale:
    """Return a scale to 1 that starts a little below the lowest share; of an error, any scale."""
    import altair as alt

    if column == "custom_metric" or BY_NAME[column].better == "lower":
        return alt.Scale(zero=False, nice=True)
    lowest = min(axis_values(shown, "quality"))
    floor = max(0.0, min(0.95, math.floor(lowest * 20) / 20))
    return alt.Scale(domain=[floor, 1], nice=False, zero=False)


def draw_size(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw the size of each variant."""
    import altair as alt

    name, title = "size", "Model size"
    shown = with_figures(data, "model_mib")
    if not shown:
        return OmittedChart(name, title, "no row has this figure")
    y = config_axis("files")
    x = alt.X("model_mib:Q", title="graph and weights of the IR, MiB", scale=alt.Scale(zero=True))
    layers = [
        *_bar_labels(x, y, "model_mib"),
        over_points()
        .mark_bar(height={"band": 0.62}, cornerRadiusEnd=2, tooltip=HOVER)
        .encode(x=x, y=y, color=variant_color(data, legend=False)),
    ]
    return Chart(
        name,
        title,
        truncation_text(shown, "files").strip(),
        layered_spec(
            layers, step_height(30), *require("model_mib"), *first_of_each("files"),
            *fastest_configs(),
        ),
    )  # fmt: skip


def draw_startup(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw the time that each configuration takes to compile and to run its first inference."""
    import altair as alt

    name, title = "start", "Startup time"
    columns = [column for column in _STARTUP_PHASES if with_figures(data, column)]
    if not columns:
        return OmittedChart(name, title, "no row has these figures")
    phases = [_STARTUP_PHASES[column] for column in columns]
    choices = (f"datum.column === '{c}' ? '{_STARTUP_PHASES[c]}' : " for c in columns)
    y, color = config_axis(), variant_color(data, legend=False)
    shades = alt.Scale(domain=phases, range=_SHADES[: len(phases)])
    opacity = alt.Opacity("phase:O", title=None, scale=shades)
    offset = alt.YOffset("phase:N", scale=alt.Scale(domain=phases, paddingOuter=0.4))
    x = alt.X("ms:Q", title="median over rows, ms", scale=alt.Scale(zero=True))
    layers = [
        *_bar_labels(x, y, "ms", yOffset=offset),
        over_points()
        .mark_bar(cornerRadiusEnd=2, tooltip=HOVER)
        .encode(x=x, y=y, yOffset=offset, color=color, opacity=opacity),
    ]
    return Chart(
        name,
        title,
        "Median over batch sizes and loads, each in a new process. The first inference follows a"
        f" compilation without the model cache.{truncation_text(data)}",
        layered_spec(
            layers,
            step_height(18 * len(columns) + 14),
            *fastest_configs(),
            {"fold": columns, "as": ["column", "ms"]},
            *require("ms"),
            {"calculate": "".join(choices) + "''", "as": "phase"},
            {
                "aggregate": [
                    {"op": "median", "field": "ms", "as": "ms"},
                    {"op": "min", "field": "order", "as": "order"},
                ],
                "groupby": ["config", "color", "phase"],
            },
        ),
    )


def _bar_labels(x: alt.X, y: alt.Y, name: str, **encoding: Any) -> list[alt.Chart]:
    """Return the labels of bars, and a transparent mark that leaves room for them on the axis."""
    import altair as alt

    room = over_points({"calculate": f"1.18 * datum.{name}", "as": "room"})
    return [
        room.mark_point(opacity=0, tooltip=None).encode(x=alt.X("room:Q"), y=y),
        over_points({"calculate": number_text(name), "as": "label"})
        .mark_text(style="value", align="left", dx=6)
        .encode(x=x, y=y, text="label:N", **encoding),
    ]


_LABEL_ROOM = 44
"""Pixels on both sides of the speed-ups, for their labels."""


def _ratio_scale(values: Sequence[float]) -> alt.Scale:
    """Return a scale of ratios; logarithmic where the room for labels would start below 0."""
    import altair as alt

    low, high = min(values), max(values)
    room = (high - low) * (_LABEL_ROOM / WIDTH + 0.25)  # and the rounding to a nice tick
    if low > room:
        return alt.Scale(zero=False, nice=True, padding=_LABEL_ROOM)
    return alt.Scale(type="log", nice=False, padding=_LABEL_ROOM)


def draw_speedup(data: Sequence[Point], column: str, precision: str) -> Chart | OmittedChart:
    """Draw the speed-ups over the uncompressed model at lowest latency and highest throughput."""
    import altair as alt

    name = f"speedup-{column.split('_')[1]}"
    title = f"Speed-up over the uncompressed model in {precision}"
    shown = with_figures(data, column)
    if not shown:
        reason = "the uncompressed model was not measured at the same loads"
        return OmittedChart(name, title, reason)
    y, color = config_axis(), variant_color(data, legend=False)
    shades = alt.Scale(domain=[LATENCY, THROUGHPUT], range=_SHADES[1::-1])
    offset_scale = alt.Scale(domain=[LATENCY, THROUGHPUT], paddingOuter=0.4)
    offset = alt.YOffset("operating_point:N", scale=offset_scale)
    x_scale = _ratio_scale([*axis_values(shown, column), 1.0])
    x = alt.X(f"{column}:Q", title="throughput ratio, x", scale=x_scale)
    opacity = alt.Opacity("operating_point:O", title="at", scale=shades)
    right = f"isValid(datum.{column}_high) ? datum.{column}_high : datum.{column}"
    layers = [
        alt.Chart(alt.InlineData(values=[{column: 1}])).mark_rule(style="reference").encode(x=x),
        over_points(*require(f"{column}_low"))
        .mark_rule(strokeWidth=2)
        .encode(
            x=alt.X(f"{column}_low:Q"),
            x2=f"{column}_high:Q",
            y=y,
            yOffset=offset,
            color=color,
            opacity=opacity,
        ),
        over_points()
        .mark_point(filled=True, size=60, tooltip=HOVER)
        .encode(x=x, y=y, yOffset=offset, color=color, opacity=opacity, shape=device_shape(data)),
        over_points(
            {"calculate": right, "as": "right"},
            {"calculate": f"({number_text(column)}) + 'x'", "as": "label"},
        )
        .mark_text(style="value", align="left", dx=8)
        .encode(x=alt.X("right:Q"), y=y, yOffset=offset, text="label:N"),
    ]
    return Chart(
        name,
        title,
        "Throughput ratio at the same load, for the row of lowest latency (batch 1, latency hint"
        " if measured) and the row of highest throughput. Bars: 95% confidence intervals; no"
        " significant difference if a bar reaches the dashed line." + truncation_text(shown),
        layered_spec(
            layers, step_height(44), *_OPERATING_POINTS, *require(column), *fastest_configs()
        ),
    )
