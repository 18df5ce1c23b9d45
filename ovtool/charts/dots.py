"""Charts with a line for each configuration: speed-up, quality, size, start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.charts.drawing import (
    Axis,
    Chart,
    Point,
    base,
    color,
    ends,
    few_lines,
    few_lines_text,
    first_of,
    found,
    keep,
    shape,
    spec,
    step,
)
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

_HOVER: dict[str, Any] = {"content": "data"}
_LEAST, _MOST = "least latency", "most throughput"
_SPOTS: tuple[dict[str, Any], ...] = (
    {"calculate": f"['{_LEAST}', '{_MOST}']", "as": "spot"},
    {"flatten": ["spot"]},
    {
        "filter": f"datum.spot === '{_MOST}' ? isValid(datum.throughput_fps)"
        " : isValid(datum.latency_p50_ms)"
    },
    {
        "calculate": f"datum.spot === '{_MOST}' ? -datum.throughput_fps : datum.latency_p50_ms"
        " + (datum.batch === 1 && datum.load === 'latency' ? 0 : 1e12)",
        "as": "behind",
    },
    *first_of("config", "spot", by="behind"),
)
"""Keeps two points of each configuration: as :func:`ovtool.results.rows.least_latency` and
``best_throughput`` take them."""


def speedup(data: Sequence[Point], column: str, against: str) -> Chart | str:
    """Draw the speed-ups of two rows of each configuration, or say why not."""
    import altair as alt

    title = f"Speed-up over the uncompressed model in {against}"
    if not found(data, column):
        return f"{title}: the uncompressed model was not measured so at the same loads"
    y = _line()
    offset = alt.YOffset("spot:N", scale=alt.Scale(domain=[_LEAST, _MOST], paddingOuter=0.4))
    x = alt.X(
        f"{column}:Q",
        title="throughput ratio, x",
        scale=alt.Scale(zero=False, nice=True, padding=44),
    )
    which = alt.Scale(domain=[_LEAST, _MOST])
    colour = alt.Color("spot:N", title="at", scale=which)
    marks = alt.Shape("spot:N", title="at", scale=which)
    right = f"isValid(datum.{column}_high) ? datum.{column}_high : datum.{column}"
    layers = [
        alt.Chart(alt.InlineData(values=[{column: 1}])).mark_rule(style="reference").encode(x=x),
        base(*keep(f"{column}_low"))
        .mark_rule(strokeWidth=2)
        .encode(
            x=alt.X(f"{column}_low:Q"), x2=f"{column}_high:Q", y=y, yOffset=offset, color=colour
        ),
        base()
        .mark_point(filled=True, size=60, opacity=1, tooltip=_HOVER)
        .encode(x=x, y=y, yOffset=offset, color=colour, shape=marks),
        base(
            {"calculate": right, "as": "right"},
            {"calculate": f"({_shown(column)}) + 'x'", "as": "label"},
        )
        .mark_text(style="value", align="left", dx=8)
        .encode(x=alt.X("right:Q"), y=y, yOffset=offset, text="label:N"),
    ]
    return Chart(
        f"speedup-{column.split('_')[1]}",
        title,
        "At batch 1 under the latency hint (else the least latency), and at the load of the most "
        "throughput; both sides at the same load. Bars are 95 % intervals: one "
        "that reaches the dashed line at 1 shows no difference."
        + few_lines_text(found(data, column)),
        spec(layers, step(44), *_SPOTS, *keep(column), *few_lines()),
    )


_QUALITY = {
    "accuracy_top1": ("top-1 accuracy", "samples"),
    "agreement_top1": ("top-1 agreement", "samples"),
    "accuracy_characters": ("character accuracy", "characters"),
}


def quality_dots(data: Sequence[Point], column: str | None) -> Chart | str:
    """Draw quality with its interval, or say why not.  Dots, since the axis leaves zero out."""
    import altair as alt

    if column is None:
        return "Quality: it was not evaluated"
    what, of = _QUALITY[column]
    title = f"Quality: {what}"
    if not found(data, "quality"):
        return f"{title}: no row has it"
    y = _line()
    x = alt.X("quality:Q", title=f"{what}, share of {of}", scale=_shares(data))
    layers = [
        base(*keep("quality_low"))
        .mark_rule(style="single", strokeWidth=2)
        .encode(x=alt.X("quality_low:Q"), x2="quality_high:Q", y=y),
        base()
        .mark_point(style="single", filled=True, size=70, opacity=1, tooltip=_HOVER)
        .encode(x=x, y=y),
        base({"calculate": _shown("quality"), "as": "label"})
        .mark_text(style="value", dy=-10)
        .encode(x=x, y=y, text="label:N"),
    ]
    meaning = BY_NAME[column].meaning
    return Chart(
        "quality",
        title,
        f"{meaning[:1].upper()}{meaning[1:]}. Bars are 95 % intervals; the axis does not "
        "start at zero." + few_lines_text(found(data, "quality")),
        spec(layers, step(34), *keep("quality"), *first_of("config"), *few_lines()),
    )


def quality_size(data: Sequence[Point], column: str | None) -> Chart | str:
    """Draw quality against the size of the files, or say why not."""
    import altair as alt

    title = "Quality against size"
    shown = found(data, "quality", "model_mib")
    if column is None or not shown:
        return f"{title}: {'it was not evaluated' if column is None else 'no row has both'}"
    what, of = _QUALITY[column]
    x = alt.X(
        "model_mib:Q",
        title="model.xml and model.bin, MiB",
        scale=Axis.of(ends(shown, "model_mib")).scale,
    )
    y = alt.Y("quality:Q", title=f"{what}, share of {of}", scale=_shares(shown))
    colour = color(data)
    layers = [
        base(*keep("quality_low"))
        .mark_rule()
        .encode(x=x, y=alt.Y("quality_low:Q"), y2="quality_high:Q", color=colour),
        base()
        .mark_point(filled=True, size=80, opacity=1, tooltip=_HOVER)
        .encode(x=x, y=y, color=colour, shape=shape(data)),
    ]
    return Chart(
        "quality-size",
        title,
        "Up and to the left is better. Bars are 95 % intervals; the axis of quality does not start"
        " at zero.",
        spec(layers, 300, *keep("quality", "model_mib"), *first_of("config")),
    )


def size_bars(data: Sequence[Point]) -> Chart | str:
    """Draw the size of each variant, or say why not."""
    import altair as alt

    title = "Size of the model files"
    if not found(data, "model_mib"):
        return f"{title}: it is not known"
    y = _line("files")
    x = alt.X("model_mib:Q", title="model.xml and model.bin, MiB", scale=alt.Scale(zero=True))
    layers = [
        *_bars(x, y, "model_mib"),
        base()
        .mark_bar(style="single", height={"band": 0.62}, cornerRadiusEnd=2, tooltip=_HOVER)
        .encode(x=x, y=y),
    ]
    return Chart(
        "size",
        title,
        few_lines_text([{"config": point["files"]} for point in found(data, "model_mib")]).strip(),
        spec(layers, step(30), *keep("model_mib"), *first_of("files"), *few_lines()),
    )


_START = {
    "compile_cold_ms": "compile, no cache",
    "compile_cached_ms": "compile, from the cache",
    "first_inference_ms": "first inference",
}


def start_bars(data: Sequence[Point]) -> Chart | str:
    """Draw how long each configuration takes to start, or say why not."""
    import altair as alt

    title = "Cold and cached start"
    names = [name for name in _START if found(data, name)]
    if not names:
        return f"{title}: no row has its times"
    called = [_START[name] for name in names]
    rename = "".join(f"datum.column === '{name}' ? '{_START[name]}' : " for name in names) + "''"
    y = _line()
    which = alt.Scale(domain=called)
    offset = alt.YOffset("what:N", scale=alt.Scale(domain=called, paddingOuter=0.4))
    x = alt.X("ms:Q", title="median of the rows, ms", scale=alt.Scale(zero=True))
    layers = [
        *_bars(x, y, "ms", yOffset=offset),
        base()
        .mark_bar(cornerRadiusEnd=2, tooltip=_HOVER)
        .encode(x=x, y=y, yOffset=offset, color=alt.Color("what:N", title=None, scale=which)),
    ]
    return Chart(
        "start",
        title,
        "Each in a fresh process: compiling without any cache, compiling from the model cache, "
        "and the first inference after compiling without any; the median over batches and loads."
        + few_lines_text(data),
        spec(
            layers,
            step(18 * len(names) + 14),
            *few_lines(),
            {"fold": names, "as": ["column", "ms"]},
            *keep("ms"),
            {"calculate": rename, "as": "what"},
            {
                "aggregate": [
                    {"op": "median", "field": "ms", "as": "ms"},
                    {"op": "min", "field": "order", "as": "order"},
                ],
                "groupby": ["config", "what"],
            },
        ),
    )


def _bars(x: alt.X, y: alt.Y, name: str, **more: Any) -> list[alt.Chart]:
    """Return the labels beside bars, and what leaves room for them on the axis."""
    import altair as alt

    room = base({"calculate": f"1.18 * datum.{name}", "as": "room"})
    return [
        room.mark_point(opacity=0, tooltip=None).encode(x=alt.X("room:Q"), y=y),
        base({"calculate": _shown(name), "as": "label"})
        .mark_text(style="value", align="left", dx=6)
        .encode(x=x, y=y, text="label:N", **more),
    ]


def _shown(name: str) -> str:
    """Return the expression for a figure's text, as :func:`ovtool.core.units.text` writes it."""
    return f"datum.{name} >= 100 ? format(datum.{name}, '.0f') : format(datum.{name}, '.3r')"


def _line(field: str = "config") -> alt.Y:
    """Return the axis with a line for each name, in the order of the table."""
    import altair as alt

    return alt.Y(
        f"{field}:N",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min", order="ascending"),
    )


def _shares(data: Sequence[Point]) -> alt.Scale:
    """Return a scale of shares that starts a little below the least."""
    import altair as alt

    floor = max(0.0, min(0.95, math.floor(min(ends(data, "quality")) * 20) / 20))
    return alt.Scale(domain=[floor, 1], nice=False, zero=False)
