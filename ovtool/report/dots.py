"""Charts with a line for each configuration: speed-up, quality, size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool import units
from ovtool.columns import BY_NAME
from ovtool.report.drawing import Chart, bounds, details, spec, tooltips
from ovtool.report.rows import (
    Config,
    Row,
    best_throughput,
    by_config,
    figure,
    least_latency,
    measured,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def speedup(
    rows: Sequence[Row], labels: dict[Config, str], column: str, against: str
) -> Chart | str:
    """Draw the speed-ups of two rows of each configuration, or say why not."""
    import altair as alt

    title = f"Speed-up over the uncompressed model in {against}"
    data = []
    for config, same in by_config(measured(rows)).items():
        spots = (
            ("least latency", least_latency(same)),
            ("most throughput", best_throughput(same)),
        )
        for where, row in spots:
            if row is not None and row[column] is not None:
                data.append(_ratio(row, labels[config], column, where))
    if not data:
        return f"{title}: the uncompressed model was not measured so at the same loads"
    low = min(*(d["x_low"] or d["x"] for d in data), 1.0)
    high = max(*(d["x_high"] or d["x"] for d in data), 1.0)
    room = (high - low) or 1.0
    names = list(dict.fromkeys(d["config"] for d in data))
    wheres = list(dict.fromkeys(d["where"] for d in data))
    height = 44 * len(names)
    y = alt.Y("config:N", title=None, sort=names)
    offset = alt.YOffset("where:N", scale=alt.Scale(domain=wheres, paddingOuter=0.4))
    base = alt.Chart(alt.InlineData(values=data))
    x = alt.X(
        "x:Q",
        title="throughput ratio at the same load, x",
        scale=alt.Scale(domain=[low - 0.06 * room, high + 0.28 * room], nice=False, zero=False),
    )
    color = alt.Color("where:N", title="at", scale=alt.Scale(domain=wheres))
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("x_low:Q"), x2="x_high:Q", y=y, yOffset=offset, color=color
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=x,
        y=y,
        yOffset=offset,
        color=color,
        shape=alt.Shape("where:N", title="at", scale=alt.Scale(domain=wheres)),
        tooltip=tooltips(data),
    )
    text = base.mark_text(style="value", align="left", dx=8).encode(
        x=alt.X("right:Q"), y=y, yOffset=offset, text="label:N"
    )
    one = alt.Chart(alt.InlineData(values=[{"x": 1}])).mark_rule(style="reference").encode(x=x)
    return Chart(
        f"speedup-{column.split('_')[1]}",
        title,
        "At batch 1 under the latency hint (else the least latency), and at the load of the most "
        "throughput; both sides at the same load. Bars are 95 % intervals: one "
        "that reaches the dashed line at 1 shows no difference.",
        spec([one, intervals, points, text], height),
    )


_QUALITY = {
    "accuracy_top1": ("top-1 accuracy", "samples"),
    "agreement_top1": ("top-1 agreement", "samples"),
    "accuracy_characters": ("character accuracy", "characters"),
}


def quality_dots(rows: Sequence[Row], labels: dict[Config, str], column: str | None) -> Chart | str:
    """Draw quality with its interval, or say why not.  Dots, since the axis leaves zero out."""
    import altair as alt

    if column is None:
        return "Quality: it was not evaluated"
    data = []
    for config, same in by_config(measured(rows)).items():
        value = figure(same[0], column)
        if math.isfinite(value.value):
            data.append(
                details(same[0])
                | {
                    "config": labels[config],
                    **bounds(same[0], column, "x"),
                    "label": units.text(value.value),
                }
            )
    what, of = _QUALITY[column]
    title = f"Quality: {what}"
    if not data:
        return f"{title}: no row has it"
    low = min(d["x"] if d["x_low"] is None else d["x_low"] for d in data)
    floor = max(0.0, min(0.95, math.floor(low * 20) / 20))
    names = [d["config"] for d in data]
    y = alt.Y("config:N", title=None, sort=names)
    scale = alt.Scale(domain=[floor, 1], nice=False, zero=False)
    base = alt.Chart(alt.InlineData(values=data))
    x = alt.X("x:Q", title=f"{what}, share of {of}", scale=scale)
    layers = [
        base.mark_rule(style="single", strokeWidth=2).encode(
            x=alt.X("x_low:Q"), x2="x_high:Q", y=y
        ),
        base.mark_point(style="single", filled=True, size=70, opacity=1).encode(
            x=x, y=y, tooltip=tooltips(data)
        ),
        base.mark_text(style="value", dy=-10).encode(x=x, y=y, text="label:N"),
    ]
    meaning = BY_NAME[column].meaning
    return Chart(
        "quality",
        title,
        f"{meaning[:1].upper()}{meaning[1:]}. Bars are 95 % intervals; the axis does not "
        "start at zero.",
        spec(layers, 34 * len(names)),
    )


def size_bars(rows: Sequence[Row]) -> Chart | str:
    """Draw the size of each variant, or say why not."""
    import altair as alt

    title = "Size of the model files"
    names = {row["variant_id"]: row["variant"] for row in rows}
    shared = len(set(names.values())) < len(names)
    data = [
        {
            "config": f"{name} · {variant[:6]}" if shared else name,
            "x": size,
            "label": units.text(size),
        }
        for variant, name in names.items()
        for size in [next((r["model_mib"] for r in rows if r["variant_id"] == variant), None)]
        if size is not None
    ]
    if not data:
        return f"{title}: it is not known"
    y = alt.Y("config:N", title=None, sort=[d["config"] for d in data])
    most = max(d["x"] for d in data)
    x = alt.X("x:Q", title="model.xml and model.bin, MiB", scale=alt.Scale(domain=[0, 1.2 * most]))
    base = alt.Chart(alt.InlineData(values=data)).encode(x=x, y=y)
    bars = base.mark_bar(style="single", height={"band": 0.62}, cornerRadiusEnd=2).encode(
        tooltip=[alt.Tooltip("config:N", title="variant"), alt.Tooltip("label:N", title="MiB")]
    )
    text = base.mark_text(style="value", align="left", dx=6).encode(text="label:N")
    return Chart("size", title, "", spec([bars, text], 30 * len(data)))


def _ratio(row: Row, label: str, column: str, where: str) -> dict[str, Any]:
    value = figure(row, column)
    return details(row) | {
        "config": label,
        "where": where,
        **bounds(row, column, "x"),
        "right": value.high if value.known else value.value,
        "label": f"{value.value:.2f}x",
    }
