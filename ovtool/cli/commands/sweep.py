"""``ovtool sweep``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from ovtool.core.trial_grid import LatencyLimit
    from ovtool.report.summary import Summary
    from ovtool.sweep.sweep import SweepDone

NAME = "sweep"
EXAMPLE = (
    "Example: ovtool sweep variants/fp32 variants/int8 --device CPU,NPU --batch 1,2,4,8"
    " --data held-out/ --out sweeps/mini-pc\n\n"
    "By length: ovtool sweep variants/text --shape ids=1x32,1x128 --shape mask=1x32,1x128"
    " --out sweeps/lengths\n\n"
    "For an NPU that is not here: ovtool sweep variants/int8 --device CPU,NPU.4000"
    " --with-estimates --out sweeps/before-buying\n\n"
    "As a service: ovtool sweep variants/int8 --find-rate --max-latency-ms 20 --out sweeps/service"
)


def _limit(find_rate: bool, max_latency_ms: float | None, percentile: int) -> LatencyLimit | None:
    from ovtool.core.trial_grid import LatencyLimit

    if find_rate and max_latency_ms is not None:
        return LatencyLimit(max_latency_ms, percentile)
    if find_rate or max_latency_ms is not None:
        raise InputError("--find-rate and --max-latency-ms belong together", "give both or none")
    return None


def command(
    variants: Annotated[
        list[str],
        typer.Argument(help="Variants, or anything that convert takes.", show_default=False),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="The sweep's folder; given again, it is resumed.")
    ],
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Devices: CPU,GPU,NPU; AUTO:GPU,CPU and the like in an option of their own;"
            " NPU.4000 and the like, which need not be here, with --with-estimates.",
            show_default="CPU",
        ),
    ] = None,
    batch: Annotated[
        list[str] | None,
        typer.Option(help="Batches: 1,2,4.", show_default="1, or the one in a shape"),
    ] = None,
    hint: Annotated[
        list[str] | None, typer.Option(help="latency, throughput.", show_default="both")
    ] = None,
    streams: Annotated[
        list[str] | None, typer.Option(help="Streams by hand, instead of hints.")
    ] = None,
    requests: Annotated[
        list[str] | None, typer.Option(help="Requests in flight by hand, instead of hints.")
    ] = None,
    threads: Annotated[
        list[str] | None, typer.Option(help="Threads by hand, instead of hints.")
    ] = None,
    pin: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin", help="Bind threads to processors.", show_default="as the device does"
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            help="Requests that arrive a second, with Poisson gaps: 50,100. Their latency counts"
            " from when they were due. busy keeps every request busy.",
            show_default="busy",
        ),
    ] = None,
    find_rate: Annotated[
        bool,
        typer.Option(
            "--find-rate", help="Look for the highest such rate that keeps --max-latency-ms."
        ),
    ] = False,
    max_latency_ms: Annotated[
        float | None, typer.Option(min=0.001, help="The limit that --find-rate is about.")
    ] = None,
    percentile: Annotated[int, typer.Option(help="Of the latency: 50, 90 or 99.")] = 99,
    precision: Annotated[
        list[str] | None, typer.Option(help="default, f32, bf16, f16.", show_default="default")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SHAPE,SHAPE... of an input, as ids=1x32,1x128: the first shapes of all"
            " inputs give rows, the second ones further rows. ? leaves the batch to --batch."
        ),
    ] = None,
    data_shape: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SHAPE,SHAPE... of what is inferred, as ids=1x100: the model is compiled with"
            " its own dimensions, or those of --shape, and open ones stay open."
        ),
    ] = None,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    target_pct: Annotated[
        float, typer.Option(min=0.01, help="Measure until throughput is known to +-this.")
    ] = 2.0,
    rounds: Annotated[int, typer.Option(min=3, help="Least rounds of each trial.")] = 8,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Longest time that a trial is measured.")
    ] = 10.0,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest time, in seconds, to compile or for one round.")
    ] = 300.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="A device that is not there is an error.")
    ] = False,
    with_estimates: Annotated[
        bool,
        typer.Option(
            "--with-estimates",
            help="Rows for NPU platforms that are not here (NPU.3720, NPU.4000, NPU.5010) with the"
            " latency that their compiler expects; nothing is run for them.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try trials again that failed before.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Measure variants over devices, shapes, batches and loads; the same command resumes."""
    from ovtool import api
    from ovtool.benchmark.engine import MeasurementSettings
    from ovtool.cli import progress
    from ovtool.core.shapes import parse_shape_sets
    from ovtool.core.trial_grid import HINTS, Axes

    axes = Axes(
        batches=options.numbers(batch, "--batch") or None,
        hints=options.words(hint) or HINTS,
        streams=options.numbers(streams, "--streams"),
        requests=options.numbers(requests, "--requests"),
        threads=options.numbers(threads, "--threads"),
        pinning=pin,
        rates=options.rates(rate) or [None],
        find_rate=_limit(find_rate, max_latency_ms, percentile),
        precisions=options.words(precision) or ["default"],
        shapes=parse_shape_sets(shape or (), "--shape"),
        data_shapes=parse_shape_sets(data_shape or (), "--data-shape"),
    )
    with progress.show_progress() as shown, progress.show_sweep(shown) as view:
        done = api.sweep(
            variants,
            out=out,
            devices=options.words(device) or ["CPU"],
            axes=axes,
            data=options.data_spec(data, labels, limit),
            metric=options.metric(metric),
            settings=MeasurementSettings(
                target_pct=target_pct, min_rounds=rounds, max_s=max_seconds, timeout_s=timeout
            ),
            strict=strict,
            with_estimates=with_estimates,
            retry_failed=retry_failed,
            observer=view,
            progress=shown,
        )
    print_sweep(done, api.summary([done.folder]), json=json)


def print_sweep(done: SweepDone, summary: Summary, *, json: bool) -> None:
    """Print what a sweep came to."""
    if json:
        console.print_json(asdict(done) | {"folder": str(done.folder)})
        return
    print_trials(done, summary)
    console.print_status(f"next: ovtool report {done.folder}, ovtool choose {done.folder}")


def print_trials(done: SweepDone, summary: Summary) -> None:
    """Print the table of a sweep, and how many trials it measured."""
    console.print_table(summary.headings, [row.cells for row in summary.rows], summary.caption)
    parts = [f"{done.measured} measured"]
    if done.estimated:
        parts.append(f"{done.estimated} estimated by a compiler, nothing run")
    if done.reused:
        parts.append(f"{done.reused} finished before and reused")
    if done.failed:
        parts.append(f"{done.failed} failed, with the reason in the report")
    print(f"trials: {', '.join(parts)}")
