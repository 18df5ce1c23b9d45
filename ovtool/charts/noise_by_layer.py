"""Quantization noise of each layer: a point for each, the most sensitive layer on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import MAX_LAYERS, Chart, layer_label, layered_spec, tooltips

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def draw_noise_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the signal-to-quantization-noise ratio of the most sensitive layers.

    Args:
        rows: ``name``, ``type``, ``sqnr_db``, ``macs_share`` and ``metric_drop`` of each layer,
            the most sensitive first; a layer without a ratio has no point.
        caption: What was measured.
    """
    import altair as alt

    known = [row for row in rows if row["sqnr_db"] is not None]
    data = [_point(row, place) for place, row in enumerate(known[:MAX_LAYERS], 1)]
    values = [point["x"] for point in data]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    base = alt.Chart(alt.InlineData(values=data)).encode(
        x=alt.X(
            "x:Q",
            title="signal-to-quantization-noise ratio, dB (higher is better)",
            scale=alt.Scale(domain=[low - room, high + 4 * room], zero=False),
        ),
        y=alt.Y("layer:N", title=None, sort=[point["layer"] for point in data]),
    )
    points = base.mark_point(filled=True, size=70).encode(
        tooltip=tooltips(name="layer", type="type", label="sensitivity")
    )
    text = base.mark_text(style="value", align="left", dx=8).encode(text="label:N")
    if rest := len(known) - len(data):
        caption += f" The {rest} least sensitive layers are not shown."
    if unknown := len(rows) - len(known):
        caption += f" {unknown} layers without noise or with non-finite outputs are not shown."
    return Chart(
        "noise-by-layer",
        "Quantization noise by layer",
        caption,
        layered_spec([points, text], 22 * len(data) or 22),
    )


def _point(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    parts = [f"{row['sqnr_db']:.1f} dB"]
    if row["macs_share"] is not None:
        parts.append(f"{100 * row['macs_share']:.1f} % of MACs")
    if row["metric_drop"] is not None:
        parts.append(f"drop {row['metric_drop']:.4f}")
    return {
        "layer": layer_label(place, row["type"], row["name"]),
        "name": row["name"],
        "type": row["type"],
        "x": row["sqnr_db"],
        "label": ", ".join(parts),
    }
