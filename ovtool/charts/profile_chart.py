"""Where the time of an inference goes: a bar for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import Chart, spec
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOP = 25
"""Layers that have a bar of their own."""
_CHARACTERS = 48
"""Of a bar's label, so that the axis does not cut it."""
_ORDER = ("i8", "bf16", "f16", "f32")
"""Precisions in the order of their colours, so that one has the same in every profile."""


def time_by_layer(rows: Sequence[Mapping[str, Any]], caption: str) -> Chart:
    """Draw the time of the slowest layers, coloured by precision, and of the rest together.

    Args:
        rows: ``name``, ``label``, ``type``, ``precision``, ``time_ms`` and ``share_pct`` of each
            layer, the slowest first.
        caption: What was measured.
    """
    import altair as alt

    data = [_bar(row, place) for place, row in enumerate(rows[:TOP], 1)]
    rest = rows[TOP:]
    shown = {d["precision"] for d in data}
    domain = [*_ORDER, *sorted(shown - set(_ORDER))]
    most = max((d["x"] for d in data), default=0.0) or 1.0
    y = alt.Y("layer:N", title=None, sort=[d["layer"] for d in data])
    x = alt.X("x:Q", title="time of one inference, ms", scale=alt.Scale(domain=[0, 1.35 * most]))
    base = alt.Chart(alt.InlineData(values=data)).encode(x=x, y=y)
    bars = base.mark_bar(height={"band": 0.7}, cornerRadiusEnd=2).encode(
        color=alt.Color(
            "precision:N",
            title="runs in",
            scale=alt.Scale(domain=domain),
            legend=alt.Legend(values=[name for name in domain if name in shown]),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="layer"),
            alt.Tooltip("type:N", title="type"),
            alt.Tooltip("precision:N", title="runs in"),
            alt.Tooltip("label:N", title="time"),
        ],
    )
    text = base.mark_text(style="value", align="left", dx=6).encode(text="label:N")
    more = ""
    if rest:
        rest_ms = float(sum(row["time_ms"] for row in rest))
        rest_pct = sum(row["share_pct"] for row in rest)
        more = (
            f" The {len(rest)} layers that are not shown take {units.text(rest_ms)} ms"
            f" together, {rest_pct:.0f} %."
        )
    return Chart(
        "time-by-layer", "Time by layer", caption + more, spec([bars, text], 22 * len(data) or 22)
    )


def caption(told: Mapping[str, Any]) -> str:
    """Return what was measured, in a sentence.

    Args:
        told: ``variant``, ``device``, ``executed_precision``, ``batch``, ``load``, ``inferences``.
    """
    executed = f" in {told['executed_precision']}" if told["executed_precision"] else ""
    return (
        f"{told['variant']} on {told['device']}{executed}, batch {told['batch']}, {told['load']}"
        f" hint: mean of {told['inferences']} inferences with counters, one at a time."
    )


def _bar(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    before = f"{place}. {row['type']} "
    return {
        "layer": before + units.shortened(row["label"], max(8, _CHARACTERS - len(before))),
        "name": row["name"],
        "type": row["type"],
        "precision": row["precision"] or "unknown",
        "x": row["time_ms"],
        "label": f"{row['time_ms']:.3f} ms, {row['share_pct']:.1f} %",
    }
