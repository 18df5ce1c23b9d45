"""How a profile is printed: readable at 80 columns, with whole names where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.cli import show_roofline
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ovtool.profiling.breakdown import Slice
    from ovtool.profiling.profile import Profile

_LEAST_NAME = 12


def profile(found: Profile, *, top: int, json: bool) -> None:
    """Print a profile.

    Args:
        found: What to print.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        terminal.answer_json(found.to_json())
        return
    _say(_ran(found))
    _say(_arithmetic(found))
    if found.roofline is None:
        _layers(found.by_layer, top)
    else:
        show_roofline.layers(found.by_layer, found.roofline, top)
    _kinds(found.by_kind)
    if found.roofline is not None:
        show_roofline.compared(found.roofline, found.latency_ms)
    if found.flops_shares:
        _say(f"FLOPs: {units.percentages(found.flops_shares)}")
    _say(f"time:  {units.percentages(found.time_shares)}")
    if found.fallbacks:
        _say(f"not in INT8, unlike the rest: {_fallbacks(found)}")
    if found.files is not None:
        charts = ", ".join(str(path) for path in found.files.charts)
        _say(f"written: {found.files.csv}, {found.files.document}, {charts}")
    terminal.notes(found.notes)


def _say(text: str) -> None:
    terminal.say(terminal.console(), text)


def _ran(found: Profile) -> str:
    executed = found.executed_precision or "an unknown precision"
    overhead = 100 * (found.latency_counted_ms / found.latency_ms - 1)
    return (
        f"{found.variant} on {found.device} in {executed}, batch {found.batch}, {found.load} hint:"
        f" {units.text(found.latency_ms)} ms a request; with counters"
        f" {units.text(found.latency_counted_ms)} ms ({overhead:+.0f} %),"
        f" layers {units.text(found.layers_ms)} ms; means of {found.inferences} inferences"
    )


def _arithmetic(found: Profile) -> str:
    if found.gflops is None:
        return "arithmetic: unknown"
    rate = found.gflops * found.batch / found.latency_ms * units.MS_PER_S
    return f"arithmetic: {units.text(found.gflops)} GFLOP a sample, {units.text(rate)} GFLOP/s"


def _layers(rows: Sequence[Slice], top: int) -> None:
    """Print the slowest layers; the device has a column where there are several."""
    devices = {row.device for row in rows}
    headings = ["ms", "%", "sum %", "type", "in", *["device"] * (len(devices) > 1)]
    headings += ["GFLOP", "GFLOP/s", "layer"]
    cells = [
        [
            f"{row.time_ms:.3f}",
            f"{row.share_pct:.1f}",
            f"{row.cumulative_pct:.1f}",
            row.type,
            units.text(row.precision),
            *[units.text(row.device)] * (len(devices) > 1),
            units.text(row.gflops),
            units.text(row.gflops_per_s),
        ]
        for row in rows[:top]
    ]
    named_layers(headings, cells, rows, right=("ms", "%", "sum %", "GFLOP", "GFLOP/s"))


def named_layers(
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    rows: Sequence[Slice],
    right: Collection[str],
) -> None:
    """Print the first layers, each with as much of its name as there is room for, and the rest.

    Args:
        headings: Of the columns; the last one is that of the names.
        cells: Of the layers to print, without the names.
        rows: Of all layers.
        right: Headings of the columns that are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=False)]
    room = max(_LEAST_NAME, terminal.console().width - sum(widths) - 2 * len(widths) - 2)
    table = [
        [*line, units.shortened(row.label, room)] for line, row in zip(cells, rows, strict=False)
    ]
    rest = rows[len(cells) :]
    caption = ""
    if rest:
        rest_ms, rest_pct = sum(r.time_ms for r in rest), sum(r.share_pct for r in rest)
        caption = f"and {len(rest)} more: {rest_ms:.3f} ms, {rest_pct:.1f} %"
    terminal.table(headings, table, caption, right=right)


def _kinds(rows: Sequence[Slice]) -> None:
    terminal.table(
        ("type", "in", "layers", "ms", "%", "GFLOP", "GFLOP/s"),
        [
            (
                row.type,
                units.text(row.precision),
                str(row.layers),
                f"{row.time_ms:.3f}",
                f"{row.share_pct:.1f}",
                units.text(row.gflops),
                units.text(row.gflops_per_s),
            )
            for row in rows
        ],
        right=("layers", "ms", "%", "GFLOP", "GFLOP/s"),
    )


def _fallbacks(found: Profile, shown: int = 5) -> str:
    back = found.fallbacks
    named = ", ".join(f"{layer.label} ({units.text(layer.precision)})" for layer in back[:shown])
    total = sum(layer.flops or 0 for layer in found.layers)
    share = f", {units.text(100 * sum(b.flops or 0 for b in back) / total)} % of FLOPs"
    more = f" and {len(back) - shown} more" if len(back) > shown else ""
    count = f"{len(back)} {'layer' if len(back) == 1 else 'layers'}"
    return f"{count}{share if total else ''}: {named}{more}"
