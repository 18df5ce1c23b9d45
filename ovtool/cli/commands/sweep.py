"""``ovtool sweep``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import OUTPUT, argument, option
from ovtool.cli.console import print_unwrapped
from ovtool.cli.spec_options import with_options_of
from ovtool.core.sweep_spec import SweepSpec

if TYPE_CHECKING:
    from ovtool.report.summary import Summary
    from ovtool.sweep.run import SweepResult

EXAMPLES = (
    "ovtool sweep variants/fp32 variants/int8 --device CPU,NPU --batch 1,2,4 --out sweeps/mini-pc",
    "ovtool sweep variants/text --shape ids=1x32,1x128 --shape mask=1x32,1x128 --out sweeps/text",
    "ovtool sweep variants/int8 --device CPU,NPU.4000 --with-estimates --out sweeps/before-buying",
    "ovtool sweep variants/int8 --find-rate --max-latency-ms 20 --out sweeps/service",
)


@with_options_of(SweepSpec)
def command(
    variants: Annotated[list[str], argument("Variants, or any models that convert reads.")],
    out: Annotated[
        str, option(OUTPUT, "FOLDER", "Sweep folder; the same command resumes it.", "--out", "-o")
    ],
    spec: SweepSpec,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    trust: options.TrustMetric = False,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
    json: options.Json = False,
) -> None:
    """Measure variants over devices, shapes, batches and loads; the same command resumes."""
    from ovtool import api

    with progress.show_progress() as bar, progress.show_sweep(bar) as view:
        result = api.sweep(
            variants,
            out=out,
            spec=spec,
            data=options.build_data_spec(data, labels, limit),
            metric=metric,
            outputs=tuple(output or ()),
            trust=trust,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=bar,
        )
    summary = api.summarize([result.folder])
    if json:
        console.print_json(asdict(result) | {"folder": str(result.folder)})
        return
    print_trials(result, summary)
    console.print_status(f"next: ovtool report {result.folder}, ovtool choose {result.folder}")


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
