"""The roofline of a device, and the layers of a model below it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import HEIGHT, Chart, layered_spec, precision_color, tooltips
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def draw_roofline(
    rows: Sequence[Mapping[str, Any]],
    peaks: Mapping[str, float],
    bandwidths: Mapping[str, float],
    caption: str,
) -> Chart:
    """Draw layers by arithmetic intensity and performance, below the roofs of their device.

    Args:
        rows: ``name``, ``type``, ``precision``, ``time_ms``, ``gflops_per_s``, ``intensity`` and
            ``bound`` of each layer; layers without counted operations are not drawn.
        peaks: Peak performance by precision, GFLOP/s.
        bandwidths: Bandwidth by memory level, GB/s.
        caption: What was measured.
    """
    import altair as alt

    points = [_point(row) for row in rows if row["intensity"] and row["gflops_per_s"]]
    precisions = {point["precision"] for point in points}
    used_peaks = {name: peak for name, peak in peaks.items() if name in precisions}
    low, high = _intensity_range(points, used_peaks, bandwidths)
    lines = _roofs(used_peaks, bandwidths, low, high)
    top = 1.6 * max([p["y"] for p in points] + list(used_peaks.values()), default=1.0)
    bottom = 0.6 * min([p["y"] for p in points] + [line["y"] for line in lines], default=0.1)
    x = alt.X(
        "x:Q",
        title="arithmetic intensity, FLOP/byte",
        scale=alt.Scale(type="log", domain=[low, high]),
    )
    y = alt.Y(
        "y:Q", title="performance, GFLOP/s", scale=alt.Scale(type="log", domain=[bottom, top])
    )
    roofs = (
        alt.Chart(alt.InlineData(values=lines))
        .mark_line(style="reference")
        .encode(x=x, y=y, detail="roof:N")
    )
    labels = (
        alt.Chart(alt.InlineData(values=[line for line in lines if line["label"]]))
        .mark_text(style="label", align="right", dy=-6)
        .encode(x=x, y=y, text="label:N")
    )
    dots = (
        alt.Chart(alt.InlineData(values=points))
        .mark_point(filled=True, opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=precision_color(precisions),
            shape=alt.Shape("bound:N", title="bound by"),
            size=alt.Size("ms:Q", title="time, ms", scale=alt.Scale(range=[20, 400])),
            tooltip=tooltips(
                name="layer",
                type="type",
                precision="executed in",
                bound="bound by",
                label="performance",
            ),
        )
    )
    if omitted := len(rows) - len(points):
        caption += f" Not drawn: {omitted} of {len(rows)} layers, without counted operations."
    return Chart("roofline", "Roofline", caption, layered_spec([roofs, labels, dots], HEIGHT))


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
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
    return (
        10 ** math.floor(math.log10(min(values))),
        10 ** math.ceil(math.log10(1.5 * max(values))),
    )


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
