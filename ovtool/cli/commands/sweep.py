"""``ovtool sweep``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import HOW, LOAD, OUTPUT, WHAT
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from ovtool.core.trial_grid import LatencyLimit
    from ovtool.report.summary import Summary
    from ovtool.sweep.sweep import SweepDone

EXAMPLES = (
    "ovtool sweep variants/fp32 variants/int8 --device CPU,NPU --batch 1,2,4 --out sweeps/mini-pc",
    "ovtool sweep variants/text --shape ids=1x32,1x128 --shape mask=1x32,1x128 --out sweeps/text",
    "ovtool sweep variants/int8 --device CPU,NPU.4000 --with-estimates --out sweeps/before-buying",
    "ovtool sweep variants/int8 --find-rate --max-latency-ms 20 --out sweeps/service",
)


def _limit(find_rate: bool, max_latency_ms: float | None, percentile: int) -> LatencyLimit | None:
    from ovtool.core.trial_grid import LatencyLimit

    if find_rate and max_latency_ms is not None:
        return LatencyLimit(max_latency_ms, percentile)
    if find_rate or max_latency_ms is not None:
        raise InputError("--find-rate and --max-latency-ms need each other", "give both or neither")
    return None


def command(
    variants: Annotated[
        list[str],
        typer.Argument(help="Variants, or any models that convert reads.", show_default=False),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Sweep folder; the same command resumes an existing one.",
            rich_help_panel=OUTPUT,
        ),
    ],
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICES",
            help="Devices: CPU,GPU,NPU. A virtual device such as AUTO:GPU,CPU needs its own option."
            " NPU.4000 and other platforms need --with-estimates.",
            show_default="CPU",
            rich_help_panel=WHAT,
        ),
    ] = None,
    batch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,N...",
            help="Batch sizes: 1,2,4.",
            show_default="1, or the batch in --shape",
            rich_help_panel=WHAT,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRECISIONS",
            help="Inference precisions: default, f32, bf16, f16.",
            show_default="default",
            rich_help_panel=WHAT,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHAPES",
            help="Shapes of an input: ids=1x32,1x128. The first shapes of all inputs form one set,"
            " the second shapes another. ? leaves the batch to --batch.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    data_shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHAPES",
            help="Shapes to infer with: ids=1x100. The compiled model keeps its own dimensions or"
            " those of --shape; open dimensions stay open.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    with_estimates: Annotated[
        bool,
        typer.Option(
            "--with-estimates",
            help="Add rows with the compiler's latency estimate for NPU platforms that are not"
            " present (NPU.3720, NPU.4000, NPU.5010).",
            rich_help_panel=WHAT,
        ),
    ] = False,
    hint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HINTS",
            help="Performance hints: latency, throughput.",
            show_default="both",
            rich_help_panel=LOAD,
        ),
    ] = None,
    streams: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,N...", help="Numbers of streams, instead of hints.", rich_help_panel=LOAD
        ),
    ] = None,
    requests: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,N...",
            help="Numbers of requests in flight, instead of hints.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    threads: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,N...", help="Numbers of threads, instead of hints.", rich_help_panel=LOAD
        ),
    ] = None,
    pin: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin",
            help="Bind threads to processors.",
            show_default="device default",
            rich_help_panel=LOAD,
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RPS",
            help="Open loop: requests/s that arrive with Poisson gaps, such as 50,100; latency"
            " counts from the due time. busy is the closed loop.",
            show_default="busy",
            rich_help_panel=LOAD,
        ),
    ] = None,
    find_rate: Annotated[
        bool,
        typer.Option(
            "--find-rate",
            help="Search for the highest rate that keeps --max-latency-ms.",
            rich_help_panel=LOAD,
        ),
    ] = False,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="MS",
            help="Latency limit of --find-rate.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    percentile: Annotated[
        int,
        typer.Option(
            metavar="P",
            help="Latency percentile of --max-latency-ms: 50, 90 or 99.",
            rich_help_panel=LOAD,
        ),
    ] = 99,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    target_pct: Annotated[
        float,
        typer.Option(
            min=0.01,
            metavar="PERCENT",
            help="Confidence interval of the throughput (+-) at which measuring stops.",
            rich_help_panel=HOW,
        ),
    ] = 2.0,
    rounds: Annotated[
        int,
        typer.Option(min=3, metavar="N", help="Minimum rounds of each trial.", rich_help_panel=HOW),
    ] = 8,
    max_seconds: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Maximum measuring time of a trial.",
            rich_help_panel=HOW,
        ),
    ] = 10.0,
    timeout: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Maximum time of a compilation or of one round.",
            rich_help_panel=HOW,
        ),
    ] = 300.0,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
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
    with progress.show_progress() as bar, progress.show_sweep(bar) as view:
        result = api.sweep(
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
            progress=bar,
        )
    print_sweep(result, api.summarize([result.folder]), json=json)


def print_sweep(result: SweepDone, summary: Summary, *, json: bool) -> None:
    """Print the results of a sweep."""
    if json:
        console.print_json(asdict(result) | {"folder": str(result.folder)})
        return
    print_trials(result, summary)
    console.print_status(f"next: ovtool report {result.folder}, ovtool choose {result.folder}")


def print_trials(result: SweepDone, summary: Summary) -> None:
    """Print the table of a sweep and the number of trials by outcome."""
    console.print_table(summary.headings, [row.cells for row in summary.rows], summary.caption)
    parts = [f"{result.measured} measured"]
    if result.estimated:
        parts.append(f"{result.estimated} estimated by the compiler without inference")
    if result.reused:
        parts.append(f"{result.reused} reused")
    if result.failed:
        parts.append(f"{result.failed} failed (reasons in the report)")
    print(f"trials: {', '.join(parts)}")
