"""Quality of each configuration, alone and over the size of the model files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovtool.charts.drawing import (
    HOVER,
    Axis,
    Chart,
    OmittedChart,
    Point,
    axis_values,
    config_axis,
    config_color,
    config_shape,
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
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_METRICS = {
    "accuracy_top1": ("top-1 accuracy", "samples"),
    "agreement_top1": ("top-1 agreement", "samples"),
    "accuracy_characters": ("character accuracy", "characters"),
}
_NOT_EVALUATED = "quality was not evaluated"


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
    y = config_axis()
    x = alt.X("quality:Q", title=f"{metric}, fraction of {unit}", scale=_fraction_scale(shown))
    layers = [
        over_points(*require("quality_low"))
        .mark_rule(style="single", strokeWidth=2)
        .encode(x=alt.X("quality_low:Q"), x2="quality_high:Q", y=y),
        over_points()
        .mark_point(style="single", filled=True, size=70, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y),
        over_points({"calculate": number_text("quality"), "as": "label"})
        .mark_text(style="value", dy=-10)
        .encode(x=x, y=y, text="label:N"),
    ]
    meaning = BY_NAME[column].meaning
    return Chart(
        name,
        title,
        f"{meaning[:1].upper()}{meaning[1:]}. Bars: 95 % confidence intervals. The axis does not"
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
    x = alt.X(
        "model_mib:Q",
        title="model.xml and model.bin, MiB",
        scale=Axis.of(axis_values(shown, "model_mib")).scale,
    )
    y = alt.Y("quality:Q", title=f"{metric}, fraction of {unit}", scale=_fraction_scale(shown))
    color = config_color(data)
    layers = [
        over_points(*require("quality_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("quality_low:Q"), y2="quality_high:Q", color=color),
        over_points()
        .mark_point(filled=True, size=80, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=config_shape(data)),
    ]
    return Chart(
        name,
        title,
        "Up and left is better. Bars: 95 % confidence intervals. The quality axis does not start"
        " at zero.",
        layered_spec(layers, 300, *require("quality", "model_mib"), *first_of_each("config")),
    )


def _fraction_scale(shown: Sequence[Point]) -> alt.Scale:
    """Return a scale to 1 that starts a little below the lowest fraction."""
    import altair as alt

    lowest = min(axis_values(shown, "quality"))
    floor = max(0.0, min(0.95, math.floor(lowest * 20) / 20))
    return alt.Scale(domain=[floor, 1], nice=False, zero=False)
