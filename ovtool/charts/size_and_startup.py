"""Size of the model files and startup time, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import (
    HOVER,
    Chart,
    OmittedChart,
    Point,
    config_axis,
    fastest_configs,
    first_of_each,
    layered_spec,
    number_text,
    over_points,
    require,
    step_height,
    truncation_text,
    with_figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_STARTUP_PHASES = {
    "compile_cold_ms": "compile, no cache",
    "compile_cached_ms": "compile, cached",
    "first_inference_ms": "first inference",
}


def draw_size(data: Sequence[Point]) -> Chart | OmittedChart:
    """Draw the size of each variant."""
    import altair as alt

    name, title = "size", "Model size"
    shown = with_figures(data, "model_mib")
    if not shown:
        return OmittedChart(name, title, "no row has this figure")
    y = config_axis("files")
    x = alt.X("model_mib:Q", title="model.xml and model.bin, MiB", scale=alt.Scale(zero=True))
    layers = [
        *_bar_labels(x, y, "model_mib"),
        over_points()
        .mark_bar(style="single", height={"band": 0.62}, cornerRadiusEnd=2, tooltip=HOVER)
        .encode(x=x, y=y),
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
    y = config_axis()
    scale = alt.Scale(domain=phases)
    offset = alt.YOffset("phase:N", scale=alt.Scale(domain=phases, paddingOuter=0.4))
    x = alt.X("ms:Q", title="median over rows, ms", scale=alt.Scale(zero=True))
    layers = [
        *_bar_labels(x, y, "ms", yOffset=offset),
        over_points()
        .mark_bar(cornerRadiusEnd=2, tooltip=HOVER)
        .encode(x=x, y=y, yOffset=offset, color=alt.Color("phase:N", title=None, scale=scale)),
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
                "groupby": ["config", "phase"],
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
