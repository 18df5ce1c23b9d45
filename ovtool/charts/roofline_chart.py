"""The roofline of a device with the layers of a model under it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import HEIGHT, Chart, spec
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ORDER = ("i8", "bf16", "f16", "f32")
"""Precisions in the order of their colours, as in the chart of times."""


def roofline(
    rows: Sequence[Mapping[str, Any]],
    peaks: Mapping[str, float],
    bandwidths: Mapping[str, float],
    caption: str,
) -> Chart:
    """Draw layers by arithmetic intensity and speed, under the roofs of their device.

    Args:
        rows: ``name``, ``type``, ``precision``, ``time_ms``, ``gflops_per_s``, ``intensity`` and
            ``bound`` of each layer; those without arithmetic are left out, which is said.
        peaks: GFLOP/s by precision.
        bandwidths: GB/s by name of what they are of.
        caption: What was measured.
    """
    import altair as alt

    points = [_point(row) for row in rows if row["intensity"] and row["gflops_per_s"]]
    used = {p["precision"] for p in points}
    shown = {name: peak for name, peak in peaks.items() if name in used}
    low, high = _span(points, shown, bandwidths)
    lines = _roofs(shown, bandwidths, low, high)
    top = 1.6 * max([p["y"] for p in points] + list(shown.values()), default=1.0)
    bottom = 0.6 * min([p["y"] for p in points] + [one["y"] for one in lines], default=0.1)
    x = alt.X(
        "x:Q",
        title="arithmetic intensity, FLOP/byte",
        scale=alt.Scale(type="log", domain=[low, high]),
    )
    y = alt.Y("y:Q", title="speed, GFLOP/s", scale=alt.Scale(type="log", domain=[bottom, top]))
    domain = [*_ORDER, *sorted(used - set(_ORDER))]
    color = alt.Color(
        "precision:N",
        title="runs in",
        scale=alt.Scale(domain=domain),
        legend=alt.Legend(values=[name for name in domain if name in used]),
    )
    roofs = (
        alt.Chart(alt.InlineData(values=lines))
        .mark_line(style="reference")
        .encode(x=x, y=y, detail="roof:N")
    )
    ends = [line for line in lines if line["label"]]
    names = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_text(style="label", align="right", dy=-6)
        .encode(x=x, y=y, text="label:N")
    )
    dots = (
        alt.Chart(alt.InlineData(values=points))
        .mark_point(filled=True, opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=color,
            shape=alt.Shape("bound:N", title="bound by"),
            size=alt.Size("ms:Q", title="time, ms", scale=alt.Scale(range=[20, 400])),
            tooltip=[
                alt.Tooltip("name:N", title="layer"),
                alt.Tooltip("type:N", title="type"),
                alt.Tooltip("precision:N", title="runs in"),
                alt.Tooltip("bound:N", title="bound by"),
                alt.Tooltip("label:N", title="speed"),
            ],
        )
    )
    left = len(rows) - len(points)
    more = f" Not drawn, for want of counted arithmetic: {left} of {len(rows)} layers."
    more = more if left else ""
    return Chart("roofline", "Roofline", caption + more, spec([roofs, names, dots], HEIGHT))


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


def _span(
    points: Sequence[Mapping[str, Any]], peaks: Mapping[str, float], bandwidths: Mapping[str, float]
) -> tuple[float, float]:
    """Return the intensities to draw: those of the points and of every corner of the roof."""
    corners = [peak / rate for peak in peaks.values() for rate in bandwidths.values()]
    found = [*(p["x"] for p in points), *corners] or [1.0]
    return 10 ** math.floor(math.log10(min(found))), 10 ** math.ceil(math.log10(1.5 * max(found)))


def _roofs(
    peaks: Mapping[str, float], bandwidths: Mapping[str, float], low: float, high: float
) -> list[dict[str, Any]]:
    """Return the ends of the slopes, which stop at the highest peak, and of the levels."""
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
