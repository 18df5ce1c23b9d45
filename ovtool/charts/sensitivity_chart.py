"""How much noise quantizing each layer brings: a point for each, the most sensitive on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import Chart, spec
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOP = 25
"""Layers that have a point."""
_CHARACTERS = 48
"""Of a point's label, so that the axis does not cut it."""


def noise_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the signal-to-noise ratio of the most sensitive layers.

    Args:
        rows: ``name``, ``type``, ``sqnr_db``, ``macs_share`` and ``metric_drop`` of each layer,
            the most sensitive first; one whose ratio is None gets no point.
        caption: What was measured.
    """
    import altair as alt

    told = [row for row in rows if row["sqnr_db"] is not None]
    data = [_point(row, place) for place, row in enumerate(told[:TOP], 1)]
    values = [d["x"] for d in data]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    base = alt.Chart(alt.InlineData(values=data)).encode(
        x=alt.X(
            "x:Q",
            title="signal to quantization noise, dB (left is worse)",
            scale=alt.Scale(domain=[low - room, high + 4 * room], zero=False),
        ),
        y=alt.Y("layer:N", title=None, sort=[d["layer"] for d in data]),
    )
    points = base.mark_point(filled=True, size=70).encode(
        tooltip=[
            alt.Tooltip("name:N", title="layer"),
            alt.Tooltip("type:N", title="type"),
            alt.Tooltip("label:N", title="cost"),
        ]
    )
    text = base.mark_text(style="value", align="left", dx=8).encode(text="label:N")
    rest = len(told) - len(data)
    more = f" The {rest} least sensitive layers are not shown." if rest else ""
    if unknown := len(rows) - len(told):
        more += f" {unknown} without noise, or with outputs that are not finite, are in the table."
    return Chart(
        "noise-by-layer",
        "Quantization noise by layer",
        caption + more,
        spec([points, text], 22 * len(data) or 22),
    )


def _point(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    before = f"{place}. {row['type']} "
    parts = [f"{row['sqnr_db']:.1f} dB"]
    if row["macs_share"] is not None:
        parts.append(f"{100 * row['macs_share']:.1f} % of MACs")
    if row["metric_drop"] is not None:
        parts.append(f"drop {row['metric_drop']:.4f}")
    return {
        "layer": before + units.shortened(row["name"], max(8, _CHARACTERS - len(before))),
        "name": row["name"],
        "type": row["type"],
        "x": row["sqnr_db"],
        "label": ", ".join(parts),
    }
