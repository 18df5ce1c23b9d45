"""Compiler estimates of latency, next to measured latencies; no other chart shows estimates."""

from __future__ import annotations

from typing import Any

from ovtool.charts.drawing import (
    LOG_RATIO,
    Chart,
    OmittedChart,
    layered_spec,
    over_values,
    tooltips,
)
from ovtool.core import units
from ovtool.results.labels import config_labels
from ovtool.results.rows import (
    Config,
    Rows,
    estimated_rows,
    find_lowest_estimate,
    find_lowest_latency,
    get_figure,
    group_by_config,
    measured_rows,
    real_rows,
)

HOLLOW: dict[str, Any] = {"filled": False, "strokeWidth": 2, "strokeDash": [3, 2]}
"""Mark of an estimate, a diamond; a measured latency is a filled circle."""


def draw_latency_estimates(rows: Rows) -> Chart | OmittedChart:
    """Draw the estimate of each configuration next to measured latencies."""
    import altair as alt

    name, title = "latency-estimates", "Latency: compiler estimates and measurements"
    shown = measured_rows(real_rows(rows)) + estimated_rows(rows)
    labels = config_labels(shown)
    points = [
        point
        for config, group in group_by_config(shown).items()
        if (point := _point(group, labels[config], config)) is not None
    ]
    estimates = [point for point in points if point["kind"] == "estimate"]
    if not estimates:
        return OmittedChart(name, title, "no row has an estimate")
    configs = [point["config"] for point in points]
    values = [point["x"] for point in points]
    log = max(values) / min(values) > LOG_RATIO
    scale = alt.Scale(type="log", nice=False, padding=75) if log else alt.Scale(zero=True)
    x = alt.X("x:Q", title="request latency, ms", scale=scale)
    y = alt.Y("config:N", title=None, sort=configs)
    tooltip = tooltips(config="variant", kind="figure", device="device", label="ms")
    circles = over_values([point for point in points if point["kind"] == "measured"])
    diamonds = over_values(estimates)
    marks = (
        circles.mark_point(style="single", filled=True, size=70, opacity=1),
        diamonds.mark_point(style="single", shape="diamond", size=90, opacity=1, **HOLLOW),
    )
    texts = (chart.mark_text(style="value", dy=-11) for chart in (circles, diamonds))
    layers = [
        circles.mark_rule(style="single", strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        *(mark.encode(x=x, y=y, tooltip=tooltip) for mark in marks),
        *(text.encode(x=x, y=y, text="label:N") for text in texts),
    ]
    return Chart(
        name,
        title,
        "Hollow dashed diamonds: the device compiler's estimate for a single inference at the"
        " smallest batch size; nothing was run on this device. Filled circles: measured p50 with"
        " 95% confidence intervals, at batch 1 under the latency hint if measured.",
        layered_spec(layers, 34 * len(configs)),
    )


def _point(group: Rows, label: str, config: Config) -> dict[str, Any] | None:
    row, column, kind = find_lowest_latency(group), "latency_p50_ms", "measured"
    if row is None:
        row, column, kind = find_lowest_estimate(group), "latency_estimate_ms", "estimate"
    if row is None:
        return None
    value = get_figure(row, column)
    prefix = "estimate " if kind == "estimate" else ""
    return {
        "config": label,
        "kind": kind,
        "device": config.device,
        "batch": row["batch"],
        "x": value.value,
        "low": value.low if value.known else None,
        "high": value.high if value.known else None,
        "label": f"{prefix}{units.text(value.value)}, batch {row['batch']}",
    }
