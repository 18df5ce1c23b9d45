"""Time to the first token and tokens/s of text generators over the requests in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ovtool.charts import theme
from ovtool.charts.drawing import (
    HOVER,
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
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LENGTHS = 6
"""Maximum number of lengths in a legend: there are no more dashes."""
_TITLES = {
    "ttft_ms": (
        "ttft-concurrency",
        "Time to first token by concurrency",
        "time to first token, ms",
    ),
    "tokens_s": (
        "tokens-concurrency",
        "Tokens per second by concurrency",
        "all requests, tokens/s",
    ),
}
_READING = {
    "ttft_ms": "Median over the requests; another one begins when one ends.",
    "tokens_s": "Tokens of all requests together over the wall time. Where a line flattens, more"
    " requests only wait longer.",
}


def draw_concurrency(
    data: Sequence[Point], column: Literal["ttft_ms", "tokens_s"]
) -> Chart | OmittedChart:
    """Draw a figure over the concurrency, with a line for each configuration and lengths."""
    import altair as alt

    name, title, axis = _TITLES[column]
    shown = with_figures(data, column, "concurrency")
    if len({point["concurrency"] for point in shown}) < 2:
        return OmittedChart(name, title, "fewer than two concurrencies of a text generator")
    lengths = list(dict.fromkeys(point["lengths"] for point in shown))
    x = alt.X(
        "concurrency:O",
        title="requests in flight together",
        axis=alt.Axis(labelAngle=0, format="d"),
    )
    scale = Axis.of(axis_values(shown, column)).scale
    y = alt.Y(f"{column}:Q", title=axis, scale=scale)
    color = variant_color(data)
    dash = alt.StrokeDash(
        "lengths:N",
        title="tokens",
        legend=alt.Legend(symbolSize=700, symbolStrokeWidth=1.6, symbolLimit=_MAX_LENGTHS),
        scale=alt.Scale(
            domain=lengths, range=[theme.DASHES[i % len(theme.DASHES)] for i in range(len(lengths))]
        ),
    )
    layers = [
        over_points(*require(f"{column}_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y(f"{column}_low:Q"), y2=f"{column}_high:Q", color=color),
        over_points()
        .mark_line(strokeWidth=1.6)
        .encode(
            x=x, y=y, color=color, strokeDash=dash, order="concurrency:Q",
            detail=["config:N", "lengths:N"],
        ),
        over_points()
        .mark_point(filled=True, size=54, opacity=1, tooltip=HOVER)
        .encode(x=x, y=y, color=color, shape=device_shape(data)),
    ]  # fmt: skip
    better = "Lower" if BY_NAME[column].better == "lower" else "Higher"
    return Chart(
        name,
        title,
        f"{_READING[column]} {better} is better."
        f" Thin bars: 95% confidence intervals.{truncation_text(shown)}",
        layered_spec(layers, 300, *require(column, "concurrency"), *fastest_configs()),
        points_of_fastest(shown),
    )
