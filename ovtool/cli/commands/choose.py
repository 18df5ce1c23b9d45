"""``ovtool choose``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "choose"
EXAMPLE = """\
Example: ovtool choose sweeps/mini-pc --max-latency-ms 20 --min-quality 0.95

Example: ovtool choose sweeps/mini-pc --rate 50 --prices prices.yaml --objective cost"""


def command(
    sweeps: Annotated[list[str], typer.Argument(help="Sweep folders.", show_default=False)],
    max_latency_ms: options.MaxLatency = None,
    min_throughput_fps: options.MinThroughput = None,
    min_quality: options.MinQuality = None,
    max_model_mib: options.MaxSize = None,
    allow_estimates: options.AllowEstimates = False,
    max_memory_mib: options.MaxMemory = None,
    max_energy_mj: options.MaxEnergy = None,
    max_cost: options.MaxCost = None,
    prices: options.Prices = None,
    rate: options.Rate = None,
    objective: options.Objective = "throughput",
    percentile: options.Percentile = 99,
    front: Annotated[
        bool, typer.Option("--front", help="Print the rows that no other one beats in everything.")
    ] = False,
    snippet: Annotated[
        bool,
        typer.Option("--snippet", help="Print only a Python program that compiles the model so."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Recommend a device, variant, batch and load; exit code 1 if nothing fits the limits."""
    from ovtool import api
    from ovtool.cli import console as terminal
    from ovtool.cli import show_choice
    from ovtool.core.errors import InputError
    from ovtool.selection.choice import NothingFitsError

    if json + front + snippet > 1:
        raise InputError("--json, --front and --snippet are three answers", "ask for one of them")
    try:
        found = api.choose(
            sweeps,
            limits=options.limits(
                prices,
                max_latency_ms=max_latency_ms,
                min_throughput_fps=min_throughput_fps,
                min_quality=min_quality,
                max_model_mib=max_model_mib,
                max_memory_mib=max_memory_mib,
                max_energy_mj=max_energy_mj,
                max_cost=max_cost,
                rate_rps=rate,
                allow_estimates=allow_estimates,
            ),
            objective=objective,
            percentile=percentile,
        )
    except NothingFitsError as error:
        if json:
            terminal.answer_json(error.to_json())
        raise
    if snippet:
        print(found.snippet, end="")
    elif front:
        show_choice.front(found.front)
    else:
        show_choice.choice(found, json=json)
