"""Charts of the layers of a model: execution time, quantization noise and the roofline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import (
    HEIGHT,
    MAX_LAYERS,
    Chart,
    layer_label,
    layered_spec,
    over_values,
    precision_color,
    tooltips,
)
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def draw_time_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the time of the slowest layers, which come first in ``rows``, colored by precision."""
    import altair as alt

    data = [_time_bar(row, place) for place, row in enumerate(rows[:MAX_LAYERS], 1)]
    longest = max((bar["x"] for bar in data), default=0.0) or 1.0
    y = alt.Y("layer:N", title=None, sort=[bar["layer"] for bar in data])
    x = alt.X("x:Q", title="time per inference, ms", scale=alt.Scale(domain=[0, 1.35 * longest]))
    base = over_values(data).encode(x=x, y=y)
    bars = base.mark_bar(height={"band": 0.7}, cornerRadiusEnd=2).encode(
        color=precision_color(bar["precision"] for bar in data),
        tooltip=tooltips(name="layer", type="type", precision="executed in", label="time"),
    )
    text = base.mark_text(style="value", align="left", dx=6).encode(text="label:N")
    if rest := rows[MAX_LAYERS:]:
        ms = units.text(float(sum(row["time_ms"] for row in rest)))
        pct = sum(row["share_pct"] for row in rest)
        caption += f" The other {len(rest)} layers take {ms} ms in total ({pct:.0f}%)."
    return Chart(
        "time-by-layer",
        "Execution time by layer",
        caption,
        layered_spec([bars, text], 22 * len(data) or 22),
    )


def _time_bar(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    return {
        "layer": layer_label(place, row["type"], row["label"]),
        "name": row["name"],
        "type": row["type"],
        "precision": row["precision"] or "unknown",
        "x": row["time_ms"],
        "label": f"{row['time_ms']:.3f} ms, {row['share_pct']:.1f}%",
    }


def draw_noise_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the signal-to-quantization-noise ratio of layers, the most sensitive first in ``rows``.

    A layer without a ratio has no point.
    """
    import altair as alt

    known = [row for row in rows if row["sqnr_db"] is not None]
    data = [_noise_point(row, place) for place, row in enumerate(known[:MAX_LAYERS], 1)]
    values = [point["x"] for point in data]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    title = "signal-to-quantization-noise ratio, dB (higher is better)"
    scale = alt.Scale(domain=[low - room, high + 4 * room], zero=False)
    y = alt.Y("layer:N", title=None, sort=[point["layer"] for point in data])
    base = over_values(data).encode(x=alt.X("x:Q", title=title, scale=scale), y=y)
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


def _noise_point(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    parts = [f"{row['sqnr_db']:.1f} dB"]
    if row["macs_share"] is not None:
        parts.append(f"{100 * row['macs_share']:.1f}% of MACs")
    if row["metric_drop"] is not None:
        parts.append(f"drop {row['metric_drop']:.4f}")
    return {
        "layer": layer_label(place, row["type"], row["name"]),
        "name": row["name"],
        "type": row["type"],
        "x": row["sqnr_db"],
        "label": ", ".join(parts),
    }


def draw_roofline(
    rows: Sequence[Mapping[str, Any]],
    peaks: Mapping[str, float],
    bandwidths: Mapping[str, float],
    caption: str,
) -> Chart:
    """Draw layers by arithmetic intensity and performance, below the roofs of their device.

    Peaks are in GFLOP/s by precision, bandwidths in GB/s by memory level.  Layers without counted
    operations are not drawn.
    """
    import altair as alt

    points = [_roofline_point(row) for row in rows if row["intensity"] and row["gflops_per_s"]]
    precisions = {point["precision"] for point in points}
    used_peaks = {name: peak for name, peak in peaks.items() if name in precisions}
    low, high = _intensity_range(points, used_peaks, bandwidths)
    lines = _roofs(used_peaks, bandwidths, low, high)
    top = 1.6 * max([p["y"] for p in points] + list(used_peaks.values()), default=1.0)
    bottom = 0.6 * min([p["y"] for p in points] + [line["y"] for line in lines], default=0.1)
    x_scale = alt.Scale(type="log", domain=[low, high])
    y_scale = alt.Scale(type="log", domain=[bottom, top])
    x = alt.X("x:Q", title="arithmetic intensity, FLOP/byte", scale=x_scale)
    y = alt.Y("y:Q", title="performance, GFLOP/s", scale=y_scale)
    roofs = over_values(lines).mark_line(style="reference").encode(x=x, y=y, detail="roof:N")
    labels = over_values([line for line in lines if line["label"]])
    labels = labels.mark_text(style="label", align="right", dy=-6).encode(x=x, y=y, text="label:N")
    tooltip = tooltips(name="layer", type="type", precision="executed in", bound="bound by")
    dots = (
        over_values(points)
        .mark_point(filled=True, opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=precision_color(precisions),
            shape=alt.Shape("bound:N", title="bound by"),
            size=alt.Size("ms:Q", title="time, ms", scale=alt.Scale(range=[20, 400])),
            tooltip=[*tooltip, *tooltips(label="performance")],
        )
    )
    if omitted := len(rows) - len(points):
        caption += f" Not drawn: {omitted} of {len(rows)} layers, without counted operations."
    return Chart("roofline", "Roofline", caption, layered_spec([roofs, labels, dots], HEIGHT))


def _roofline_point(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "x": row["intensity"],
        "y": row["gflops_per_s"],
        "name": row["name"],
        "type": row["type"],
        "precision": row["precision"] or "unknown",
        "bound": row["bound"] or "unknown",
        "ms": row["time_ms"],
        "label": f"{units.text(row['gflops_per_s'])} GFLOP/s in {row['time_ms']:.3f} ms",
    }


def _intensity_range(
    points: Sequence[Mapping[str, Any]], peaks: Mapping[str, float], bandwidths: Mapping[str, float]
) -> tuple[float, float]:
    """Return the range of intensities of all points and all corners of the roofs."""
    corners = [peak / rate for peak in peaks.values() for rate in bandwidths.values()]
    values = [*(p["x"] for p in points), *corners] or [1.0]
    low, high = math.log10(min(values)), math.log10(1.5 * max(values))
    return 10 ** math.floor(low), 10 ** math.ceil(high)


def _roofs(
    peaks: Mapping[str, float], bandwidths: Mapping[str, float], low: float, high: float
) -> list[dict[str, Any]]:
    """Return the ends of the slopes, which stop at the highest peak, and of the plateaus."""
    lines: list[dict[str, Any]] = []
    highest, fastest = max(peaks.values(), default=0.0), max(bandwidths.values(), default=0.0)
    for name, rate in bandwidths.items():
        end = min(high, highest / rate) if highest else high
        text = f"{name} {units.text(rate)} GB/s"
        lines += [
            {"roof": name, "x": low, "y": low * rate, "label": ""},
            {"roof": name, "x": end, "y": end * rate, "label": text},
        ]
    for name, peak in peaks.items():
        start = max(low, peak / fastest) if fastest else low
        lines += [
            {"roof": name, "x": start, "y": peak, "label": ""},
            {"roof": name, "x": high, "y": peak, "label": f"{name} {units.text(peak)} GFLOP/s"},
        ]
    return lines
