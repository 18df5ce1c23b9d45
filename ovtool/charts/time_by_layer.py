"""Execution time of an inference: a bar for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import (
    MAX_LAYERS,
    Chart,
    layer_label,
    layered_spec,
    precision_color,
    tooltips,
)
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def draw_time_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the time of the slowest layers, colored by precision.

    Args:
        rows: ``name``, ``label``, ``type``, ``precision``, ``time_ms`` and ``share_pct`` of each
            layer, the slowest first.
        caption: What was measured.
    """
    import altair as alt

    data = [_bar(row, place) for place, row in enumerate(rows[:MAX_LAYERS], 1)]
    longest = max((bar["x"] for bar in data), default=0.0) or 1.0
    y = alt.Y("layer:N", title=None, sort=[bar["layer"] for bar in data])
    x = alt.X("x:Q", title="time per inference, ms", scale=alt.Scale(domain=[0, 1.35 * longest]))
    base = alt.Chart(alt.InlineData(values=data)).encode(x=x, y=y)
    bars = base.mark_bar(height={"band": 0.7}, cornerRadiusEnd=2).encode(
        color=precision_color(bar["precision"] for bar in data),
        tooltip=tooltips(name="layer", type="type", precision="executed in", label="time"),
    )
    text = base.mark_text(style="value", align="left", dx=6).encode(text="label:N")
    if rest := rows[MAX_LAYERS:]:
        rest_ms = float(sum(row["time_ms"] for row in rest))
        rest_pct = sum(row["share_pct"] for row in rest)
        caption += (
            f" The other {len(rest)} layers take {units.text(rest_ms)} ms in total"
            f" ({rest_pct:.0f} %)."
        )
    return Chart(
        "time-by-layer",
        "Execution time by layer",
        caption,
        layered_spec([bars, text], 22 * len(data) or 22),
    )


def _bar(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    return {
        "layer": layer_label(place, row["type"], row["label"]),
        "name": row["name"],
        "type": row["type"],
        "precision": row["precision"] or "unknown",
        "x": row["time_ms"],
        "label": f"{row['time_ms']:.3f} ms, {row['share_pct']:.1f} %",
    }
