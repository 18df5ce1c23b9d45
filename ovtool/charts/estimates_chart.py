"""The chart of a compiler's estimates, beside what was measured; nothing of it is in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import LOG_FROM, Chart, spec
from ovtool.core import units
from ovtool.results.rows import (
    Config,
    Rows,
    by_config,
    estimated,
    figure,
    least_estimate,
    least_latency,
    measured,
    real,
)
from ovtool.results.wording import config_labels

if TYPE_CHECKING:
    import altair as alt

HOLLOW: dict[str, Any] = {"filled": False, "strokeWidth": 2, "strokeDash": [3, 2]}
"""How an estimate is drawn, as a diamond; what was measured is a filled circle."""


def latency_estimates(everything: Rows) -> Chart | str:
    """Draw the estimates of each configuration beside measured latencies, or say why not.

    Args:
        everything: All rows of the table.
    """
    import altair as alt

    title = "Latency: measured, and estimated by the compiler of a device that is not there"
    rows = measured(real(everything)) + estimated(everything)
    labels = config_labels(rows)
    points = [
        point
        for config, same in by_config(rows).items()
        for point in [_point(same, labels[config], config)]
        if point is not None
    ]
    guesses = [point for point in points if point["kind"] == "estimate"]
    if not guesses:
        return f"{title}: no row has an estimate"
    names = [point["config"] for point in points]
    known = [point["x"] for point in points]
    log = max(known) / min(known) > LOG_FROM
    scale = alt.Scale(type="log", nice=False, padding=60) if log else alt.Scale(zero=True)
    x = alt.X("x:Q", title="latency of a request, ms", scale=scale)
    y = alt.Y("config:N", title=None, sort=names)
    found = alt.Chart(alt.InlineData(values=[p for p in points if p["kind"] == "measured"]))
    guessed = alt.Chart(alt.InlineData(values=guesses))
    layers = [
        found.mark_rule(style="single", strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        found.mark_point(style="single", filled=True, size=70, opacity=1).encode(
            x=x, y=y, tooltip=_tooltips()
        ),
        guessed.mark_point(style="single", shape="diamond", size=90, opacity=1, **HOLLOW).encode(
            x=x, y=y, tooltip=_tooltips()
        ),
        *(_text(chart, x, y) for chart in (found, guessed)),
    ]
    return Chart(
        "latency-estimates",
        title,
        "Hollow dashed diamonds are estimates: what the device's compiler expects of one inference"
        " by itself, at the smallest batch. Nothing was run there, and no other chart has them."
        " Filled circles are measured medians, at batch 1 under the latency hint where there is"
        " one, with 95 % intervals.",
        spec(layers, 34 * len(names)),
    )


def _point(same: Rows, label: str, config: Config) -> dict[str, Any] | None:
    row, column, kind = least_latency(same), "latency_p50_ms", "measured"
    if row is None:
        row, column, kind = least_estimate(same), "latency_estimate_ms", "estimate"
    if row is None:
        return None
    value = figure(row, column)
    word = "estimate " if kind == "estimate" else ""
    return {
        "config": label,
        "kind": kind,
        "device": config.device,
        "batch": row["batch"],
        "x": value.value,
        "low": value.low if value.known else None,
        "high": value.high if value.known else None,
        "label": f"{word}{units.text(value.value)}, batch {row['batch']}",
    }


def _tooltips() -> list[alt.Tooltip]:
    import altair as alt

    titles = {"config": "variant", "kind": "figure", "device": "device", "label": "ms"}
    return [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]


def _text(chart: alt.Chart, x: alt.X, y: alt.Y) -> alt.Chart:
    made: alt.Chart = chart.mark_text(style="value", dy=-11).encode(x=x, y=y, text="label:N")
    return made
