"""``ovtool report``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "report"
EXAMPLE = "Example: ovtool report sweeps/mini-pc sweeps/laptop --out reports/both"


def command(
    sweeps: Annotated[list[str], typer.Argument(help="Sweep folders.", show_default=False)],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Where to.", show_default="the first sweep's folder"),
    ] = None,
    max_latency_ms: options.MaxLatency = None,
    min_throughput_fps: options.MinThroughput = None,
    min_quality: options.MinQuality = None,
    max_model_mib: options.MaxSize = None,
    objective: options.Objective = "throughput",
    percentile: options.Percentile = 99,
    json: options.Json = False,
) -> None:
    """Write a page that works offline, the tables and the charts of one or many sweeps."""
    from ovtool import api
    from ovtool.cli import progress, show

    with progress.show() as shown:
        shown.start("writing the report")
        written = api.report(
            sweeps,
            out=out,
            limits=options.limits(max_latency_ms, min_throughput_fps, min_quality, max_model_mib),
            objective=options.objective(objective),
            percentile=percentile,
        )
    show.report(written, json=json)
