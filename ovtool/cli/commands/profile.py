"""``ovtool profile``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import HOW, LOAD, WHAT
from ovtool.core import units
from ovtool.core.shapes import parse_named_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.profiling.breakdown import Slice
    from ovtool.profiling.profile import Profile
    from ovtool.roofline.predict import RooflineComparison

EXAMPLES = ("ovtool profile variants/resnet-int8 --batch 8 --roofline --out reports/layers",)


def command(
    model: options.Model,
    device: options.Device = "CPU",
    batch: options.Batch = 1,
    precision: options.Precision = "default",
    hint: Annotated[
        str,
        typer.Option(
            metavar="HINT",
            help="Performance hint: latency or throughput.",
            rich_help_panel=LOAD,
        ),
    ] = "latency",
    shape: options.Shapes = None,
    data: options.Data = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=3600,
            metavar="SECONDS",
            help="Duration of the inference with performance counters.",
            rich_help_panel=HOW,
        ),
    ] = 2.0,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline",
            help="Compare each layer with the peaks of the calibrated device"
            " ('ovtool devices --calibrate').",
            rich_help_panel=WHAT,
        ),
    ] = False,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure the time and the precision of each layer, one request at a time."""
    from ovtool import api
    from ovtool.cli import progress

    with progress.show_progress() as shown:
        found = api.profile(
            model,
            device=device,
            batch=batch,
            precision=precision,
            hint=hint,
            shapes=parse_named_shapes(shape or ()),
            data=options.data_spec(data, None, None),
            seconds=seconds,
            out=out,
            roofline=roofline,
            progress=shown,
            replace=force,
        )
    print_profile(found, top=top, json=json)


def print_profile(found: Profile, *, top: int, json: bool) -> None:
    """Print a profile.

    Args:
        found: What to print.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        console.print_json(found.to_json())
        return
    console.print_line(_ran(found))
    console.print_line(_arithmetic(found))
    if found.roofline is None:
        _layers(found.by_layer, top)
    else:
        _limits(found.by_layer, found.roofline, top)
    _kinds(found.by_kind)
    if found.roofline is not None:
        _prediction(found.roofline, found.latency_ms)
    if found.flops_shares:
        console.print_line(f"FLOPs: {units.percentages(found.flops_shares)}")
    console.print_line(f"time:  {units.percentages(found.time_shares)}")
    if found.fallbacks:
        console.print_line(f"not in INT8, unlike the rest: {_fallbacks(found)}")
    if found.files is not None:
        charts = ", ".join(str(path) for path in found.files.charts)
        console.print_line(f"written: {found.files.csv}, {found.files.document}, {charts}")
    console.print_notes(found.notes)


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
    console.print_layer_table(
        headings,
        cells,
        [r.label for r in rows[:top]],
        _rest(rows, top),
        right=("ms", "%", "sum %", "GFLOP", "GFLOP/s"),
    )


def _rest(rows: Sequence[Slice], top: int) -> str:
    """Return the sum of the layers that are not printed."""
    rest = rows[top:]
    if not rest:
        return ""
    rest_ms, rest_pct = sum(r.time_ms for r in rest), sum(r.share_pct for r in rest)
    return f"and {len(rest)} more: {rest_ms:.3f} ms, {rest_pct:.1f} %"


def _kinds(rows: Sequence[Slice]) -> None:
    console.print_table(
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


def _limits(rows: Sequence[Slice], told: RooflineComparison, top: int) -> None:
    """Print the slowest layers against their limits."""
    cells = []
    for row in rows[:top]:
        limits = told.layers[row.name]
        cells.append(
            [
                f"{row.time_ms:.3f}",
                _ms(limits.predicted_ms),
                _ms(limits.limit_ms),
                units.UNKNOWN if limits.limit_pct is None else f"{limits.limit_pct:.0f}",
                limits.bound or units.UNKNOWN,
                row.type,
                units.text(row.precision),
            ]
        )
    headings = ("ms", "predicted", "limit", "%", "bound by", "type", "in", "layer")
    console.print_layer_table(
        headings,
        cells,
        [r.label for r in rows[:top]],
        _rest(rows, top),
        right=("ms", "predicted", "limit", "%"),
    )


def _prediction(told: RooflineComparison, latency_ms: float) -> None:
    """Print what was expected of the whole."""
    if told.latency_ms is None or told.limit_ms is None:
        named = ", ".join(told.unknown[:3]) + (" ..." if len(told.unknown) > 3 else "")
        console.print_line(
            f"predicted: unknown; not calibrated for {len(told.unknown)} of its layers: {named}",
        )
    else:
        off = 100 * (told.latency_ms / latency_ms - 1)
        low, high = (
            math.nan if end is None else end
            for end in (told.latency_ms_ci_low, told.latency_ms_ci_high)
        )
        console.print_line(
            f"predicted: {units.interval_text(told.latency_ms, low, high)} ms a request, measured"
            f" {units.text(latency_ms)} ms ({off:+.0f} %); limit {units.text(told.limit_ms)} ms,"
            f" {100 * told.limit_ms / latency_ms:.0f} % of what was measured",
        )
    whole = sum(told.by_bound_ms.values())
    if whole:
        shares = {name: ms / whole for name, ms in told.by_bound_ms.items()}
        ordered = dict(sorted(shares.items(), key=lambda one: -one[1]))
        console.print_line(f"bound by (share of predicted time): {units.percentages(ordered)}")
    console.print_line(
        "limit: by the device's peak and bandwidth; %: the limit as a share of the measured time;"
        f" calibrated {told.calibrated}",
    )


def _ms(value: float | None) -> str:
    return units.UNKNOWN if value is None else f"{value:.3f}"
