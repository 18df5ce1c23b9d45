"""``ovtool profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import MEASUREMENT, TARGET, option
from ovtool.core import units
from ovtool.core.shapes import parse_named_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.profiling.breakdown import Slice
    from ovtool.profiling.run import Profile
    from ovtool.roofline.predict import LayerRoofline, RooflineComparison

EXAMPLES = ("ovtool profile variants/resnet-int8 --batch 8 --roofline --out reports/layers",)


def command(
    model: options.Model,
    device: options.Device = "CPU",
    batch: options.Batch = None,
    precision: options.Precision = "default",
    hint: options.Hint = "latency",
    shape: options.Shapes = None,
    data: options.Data = None,
    seconds: Annotated[
        float,
        option(
            MEASUREMENT, "SECONDS", "Duration of the inference with counters.", min=0.01, max=3600
        ),
    ] = 2.0,
    roofline: Annotated[
        bool,
        option(
            TARGET,
            "",
            "Compare each layer with the peaks of the calibrated device"
            " ('ovtool devices --calibrate').",
            "--roofline",
        ),
    ] = False,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure the time and the precision of each layer, one request at a time."""
    from ovtool import api

    with progress.show_progress() as bar:
        profile = api.profile(
            model,
            device=device,
            batch=batch,
            precision=precision,
            hint=hint,
            shapes=parse_named_shapes(shape or ()),
            data=data,
            seconds=seconds,
            out=out,
            roofline=roofline,
            progress=bar,
            force=force,
        )
    print_profile(profile, top=top, json=json)


def print_profile(profile: Profile, *, top: int, json: bool) -> None:
    """Print a profile with its ``top`` slowest layers; the JSON document has all layers."""
    if json:
        console.print_json(profile.to_json())
        return
    console.print_line(_header_text(profile))
    console.print_line(_arithmetic_text(profile))
    _print_layers(profile.by_layer, profile.roofline, top)
    _print_kinds(profile.by_kind)
    if profile.roofline is not None:
        _print_prediction(profile.roofline, profile.latency_ms)
    if profile.flops_shares:
        console.print_line(f"FLOPs: {units.percentages(profile.flops_shares)}")
    console.print_line(f"time:  {units.percentages(profile.time_shares)}")
    if profile.fallbacks:
        console.print_line(f"layers not in INT8: {_fallback_text(profile)}")
    if profile.files is not None:
        charts = ", ".join(str(path) for path in profile.files.charts)
        console.print_line(f"written: {profile.files.csv}, {profile.files.document}, {charts}")
    console.print_notes(profile.notes)


def _header_text(profile: Profile) -> str:
    executed = profile.executed_precision or "an unknown precision"
    overhead = 100 * (profile.latency_counted_ms / profile.latency_ms - 1)
    return (
        f"{profile.variant} on {profile.device} in {executed}, batch {profile.batch},"
        f" {profile.load} hint: {units.text(profile.latency_ms)} ms per request; with counters"
        f" {units.text(profile.latency_counted_ms)} ms ({overhead:+.0f}%),"
        f" layers {units.text(profile.layers_ms)} ms; means of {profile.inferences} inferences"
    )


def _arithmetic_text(profile: Profile) -> str:
    if profile.gflops is None:
        return "arithmetic: unknown"
    rate = profile.gflops * profile.batch / profile.latency_ms * units.MS_PER_S
    return f"arithmetic: {units.text(profile.gflops)} GFLOP per sample, {units.text(rate)} GFLOP/s"


def _print_layers(rows: Sequence[Slice], roofline: RooflineComparison | None, top: int) -> None:
    """Print the slowest layers: with their predicted times and limits, or with their FLOPs.

    Without a roofline, there is a device column if there are several devices.
    """
    if roofline is None:
        several = len({row.device for row in rows}) > 1
        headings = ["ms", "%", "sum %", "type", "dtype", *["device"] * several, "GFLOP", "GFLOP/s"]
        cells = [_layer_cells(row, several) for row in rows[:top]]
    else:
        headings = ["ms", "predicted", "limit", "%", "bound by", "type", "dtype"]
        cells = [_limit_cells(row, roofline.layers[row.name]) for row in rows[:top]]
    caption = ""
    if rest := rows[top:]:
        rest_ms, rest_pct = sum(r.time_ms for r in rest), sum(r.share_pct for r in rest)
        caption = f"and {len(rest)} more layers: {rest_ms:.3f} ms, {rest_pct:.1f}%"
    names = [row.label for row in rows[:top]]
    right = ("ms", "%", "sum %", "GFLOP", "GFLOP/s", "predicted", "limit")
    console.print_layer_table([*headings, "layer"], cells, names, caption, right)


def _layer_cells(row: Slice, with_device: bool) -> list[str]:
    return [
        f"{row.time_ms:.3f}",
        f"{row.share_pct:.1f}",
        f"{row.cumulative_pct:.1f}",
        row.type,
        units.text(row.precision),
        *[units.text(row.device)] * with_device,
        units.text(row.gflops),
        units.text(row.gflops_per_s),
    ]


def _limit_cells(row: Slice, limits: LayerRoofline) -> list[str]:
    return [
        f"{row.time_ms:.3f}",
        _fixed_text(limits.predicted_ms, 3),
        _fixed_text(limits.limit_ms, 3),
        _fixed_text(limits.limit_pct, 0),
        limits.bound or units.UNKNOWN,
        row.type,
        units.text(row.precision),
    ]


def _print_kinds(rows: Sequence[Slice]) -> None:
    headings = ("type", "dtype", "layers", "ms", "%", "GFLOP", "GFLOP/s")
    cells = [
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
    ]
    console.print_table(headings, cells, right=headings[2:])


def _fallback_text(profile: Profile, max_names: int = 5) -> str:
    fallbacks = profile.fallbacks
    names = [f"{b.label} ({units.text(b.precision)})" for b in fallbacks]
    total = sum(layer.flops or 0 for layer in profile.layers)
    share = f", {units.text(100 * sum(b.flops or 0 for b in fallbacks) / total)}% of FLOPs"
    count = units.count_text(len(fallbacks), "layer")
    return f"{count}{share if total else ''}: {units.listing(names, max_names)}"


def _print_prediction(comparison: RooflineComparison, latency_ms: float) -> None:
    """Print the predicted latency, its limit and the bounds."""
    if comparison.latency_ms is None or comparison.limit_ms is None:
        count, names = len(comparison.unknown), units.listing(comparison.unknown, 3)
        console.print_line(f"predicted: unknown; {count} layers without calibration: {names}")
    else:
        off = 100 * (comparison.latency_ms / latency_ms - 1)
        interval = units.interval_text(
            comparison.latency_ms, comparison.latency_ms_ci_low, comparison.latency_ms_ci_high
        )
        console.print_line(
            f"predicted: {interval} ms per request,"
            f" measured {units.text(latency_ms)} ms ({off:+.0f}%);"
            f" limit {units.text(comparison.limit_ms)} ms,"
            f" {100 * comparison.limit_ms / latency_ms:.0f}% of the measured time"
        )
    total_ms = sum(comparison.by_bound_ms.values())
    if total_ms:
        shares = {name: ms / total_ms for name, ms in comparison.by_bound_ms.items()}
        ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
        console.print_line(f"bound by (share of predicted time): {units.percentages(ordered)}")
    console.print_line(
        "limit: from the device's peak and bandwidth; %: limit / measured time;"
        f" calibrated {comparison.calibrated}"
    )


def _fixed_text(value: float | None, decimals: int) -> str:
    return units.UNKNOWN if value is None else f"{value:.{decimals}f}"
