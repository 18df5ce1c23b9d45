"""Speed-up of each configuration over the uncompressed model."""

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
"""Keeps two points of each configuration, those that :func:`ovtool.results.rows.least_latency` and
``best_throughput`` select."""


def draw_speedup(data: Sequence[Point], column: str, precision: str) -> Chart | OmittedChart:
    """Draw the speed-ups of each configuration at lowest latency and highest throughput.

    Args:
        data: All points.
        column: Column of the speed-up.
        precision: Precision of the uncompressed model.
    """
    import altair as alt

    name = f"speedup-{column.split('_')[1]}"
    title = f"Speed-up over the uncompressed model in {precision}"
    shown = with_figures(data, column)
    if not shown:
        reason = "the uncompressed model was not measured at the same loads"
        return OmittedChart(name, title, reason)
    y = config_axis()
    scale = alt.Scale(domain=[LATENCY, THROUGHPUT])
    offset = alt.YOffset(
        "operating_point:N", scale=alt.Scale(domain=[LATENCY, THROUGHPUT], paddingOuter=0.4)
    )
    x = alt.X(
        f"{column}:Q",
        title="throughput ratio, x",
        scale=alt.Scale(zero=False, nice=True, padding=44),
    )
    color = alt.Color("operating_point:N", title="at", scale=scale)
    shape = alt.Shape("operating_point:N", title="at", scale=scale)
    right = f"isValid(datum.{column}_high) ? datum.{column}_high : datum.{column}"
    layers = [
        alt.Chart(alt.InlineData(values=[{column: 1}])).mark_rule(style="reference").encode(x=x),
        over_points(*require(f"{column}_low"))
        .mark_rule(strokeWidth=2)
        .encode(
            x=alt.X(f"{column}_low:Q"), x2=f"{column}_high:Q", y=y, yOffset=offset, color=color
        ),
        over_points()
        .mark_point(filled=True, size=60, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, yOffset=offset, color=color, shape=shape),
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
        " if measured) and the row of highest throughput. Bars: 95 % confidence intervals; no"
        " significant difference if a bar reaches the dashed line." + truncation_text(shown),
        layered_spec(
            layers, step_height(44), *_OPERATING_POINTS, *require(column), *fastest_configs()
        ),
    )
