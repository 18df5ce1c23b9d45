"""``ovtool choose``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "choose"
EXAMPLE = "Example: ovtool choose sweeps/mini-pc --max-latency-ms 20 --min-quality 0.95"


def command(
    sweeps: Annotated[list[str], typer.Argument(help="Sweep folders.", show_default=False)],
    max_latency_ms: options.MaxLatency = None,
    min_throughput_fps: options.MinThroughput = None,
    min_quality: options.MinQuality = None,
    max_model_mib: options.MaxSize = None,
    allow_estimates: options.AllowEstimates = False,
    objective: options.Objective = "throughput",
    percentile: options.Percentile = 99,
    json: options.Json = False,
) -> None:
    """Recommend a device, variant, batch and load; exit code 1 if nothing fits the limits."""
    from ovtool import api
    from ovtool.cli import show, terminal
    from ovtool.report.choice import NothingFitsError

    try:
        found = api.choose(
            sweeps,
            limits=options.limits(
                max_latency_ms, min_throughput_fps, min_quality, max_model_mib, allow_estimates
            ),
            objective=options.objective(objective),
            percentile=percentile,
        )
    except NothingFitsError as error:
        if json:
            terminal.answer_json(error.to_json())
        raise
    show.choice(found, json=json)
