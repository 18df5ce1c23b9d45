"""``ovtool sweep``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from ovtool.cli import console, options, progress
from ovtool.cli.command import OUTPUT, argument, option
from ovtool.cli.console import print_unwrapped
from ovtool.cli.spec_options import with_options_of
from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.fleet.run import FleetResult
    from ovtool.report.summary import Summary
    from ovtool.sweep.result import SweepResult

EXAMPLES = (
    "ovtool sweep variants/fp32 variants/int8 --device CPU,NPU --batch 1,2,4 --out sweeps/mini-pc",
    "ovtool sweep variants/text --shape ids=1x32,1x128 --shape mask=1x32,1x128 --out sweeps/text",
    "ovtool sweep variants/int8 --device CPU,NPU.4000 --with-estimates --out sweeps/before-buying",
    "ovtool sweep variants/int8 --find-rate --max-latency-ms 20 --out sweeps/service",
)


@with_options_of(SweepSpec)
def command(
    variants: Annotated[
        list[str], argument("Variants, or any models that convert reads.", kind="MODEL")
    ],
    spec: SweepSpec,
    out: Annotated[
        str | None,
        option(
            OUTPUT,
            "FOLDER",
            "Sweep folder; the same command resumes it.",
            "--out",
            "-o",
            show_default="sweeps/NAME of the first variant",
        ),
    ] = None,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    trust: options.TrustMetric = False,
    fleet: options.FleetOption = None,
    hosts: options.Hosts = None,
    certificates: options.Certificates = None,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
    json: options.Json = False,
) -> None:
    """Measure variants over devices, shapes, batches and loads; the same command resumes."""
    from ovtool import api

    target = out or options.default_out("sweep", variants[0])
    if fleet is not None:
        _require_absent({"--trust": trust}, "a host imports no function: sweep without --fleet")
        swept = _sweep_fleet(
            variants,
            out=target,
            fleet=fleet,
            hosts=hosts,
            certificates=certificates,
            spec=spec,
            data=data,
            labels=labels,
            limit=limit,
            metric=metric,
            outputs=tuple(output or ()),
            strict=strict,
            retry_failed=retry_failed,
        )
        print_fleet(swept, json=json)
        return
    _require_absent({"--hosts": hosts, "--certificates": certificates}, "add --fleet")
    with progress.show_progress() as bar, progress.show_sweep(bar) as view:
        result = api.sweep(
            variants,
            out=target,
            spec=spec,
            data=data,
            labels=labels,
            limit=limit,
            metric=metric,
            outputs=tuple(output or ()),
            trust=trust,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=bar,
        )
    if json:
        console.print_json(result.to_json())
        return
    print_trials(result, api.summarize([result.folder]))
    console.print_status(f"next: ovtool report {result.folder}, ovtool choose {result.folder}")


def _require_absent(given: Mapping[str, object], hint: str) -> None:
    for name, value in given.items():
        if value:
            raise InputError(f"{name} is not available for this sweep", hint)


def _sweep_fleet(variants: list[str], **options: Any) -> FleetResult:
    from ovtool import api

    with progress.show_progress() as bar:
        return api.fleet.sweep(variants, progress=bar, **options)


def print_fleet(result: FleetResult, *, json: bool) -> None:
    """Print the rows of all hosts, and the outcome of each host."""
    from ovtool import api

    if json:
        console.print_json(result.to_json())
        return
    summary = api.summarize(result.folders)
    console.print_table(summary.headings, [row.cells for row in summary.rows], summary.caption)
    for host in result.hosts:
        if host.counts is None:
            print_unwrapped(f"{host.host}: not complete: {host.reason}")
            continue
        drift = "" if host.drift_pct is None else f", drift {host.drift_pct:+.1f}%"
        counts = host.counts
        text = f"{counts.measured} measured, {counts.reused} reused, {counts.failed} failed"
        print_unwrapped(f"{host.host}: {text}{drift}")
    folders = " ".join(map(str, result.folders))
    console.print_status(f"next: ovtool report {folders}")


def print_trials(result: SweepResult, summary: Summary) -> None:
    """Print the table of a sweep and the number of trials by outcome."""
    console.print_table(summary.headings, [row.cells for row in summary.rows], summary.caption)
    counts = {
        "estimated by the compiler without inference": result.estimated,
        "of them measured again for these settings": result.repeated,
        "reused": result.reused,
        "failed (reasons in the report)": result.failed,
    }
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    print_unwrapped(f"trials: {', '.join([f'{result.measured} measured', *parts])}")
