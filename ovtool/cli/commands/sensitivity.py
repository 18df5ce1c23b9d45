"""``ovtool sensitivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.core import units

if TYPE_CHECKING:
    from ovtool.compression.layer_costs import SensitivityFound
    from ovtool.compression.sensitivity import LayerCost

NAME = "sensitivity"
EXAMPLE = (
    "Example: ovtool sensitivity variants/resnet --data images/ --validation-data held/"
    " --out reports/resnet-sensitivity"
)


def command(
    model: Annotated[
        str, typer.Argument(help="Variant, or anything that convert takes.", show_default=False)
    ],
    data: Annotated[
        str, typer.Option(help="Samples to calibrate and compare on, named as for compress.")
    ],
    labels: options.Labels = None,
    limit: options.Limit = None,
    method: Annotated[str, typer.Option(help="int8 or fp8.")] = "int8",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="key=value, a setting of the method."),
    ] = None,
    validation_data: options.ValidationData = None,
    metric: options.MetricName = None,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="Rows; more layers than that are measured in blocks."),
    ] = None,
    time_limit: options.TimeLimit = None,
    top: Annotated[int, typer.Option(min=1, help="Layers to print; files have all.")] = 15,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder to make for layers.csv, the JSON, charts."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Say what quantizing each layer costs: one at a time, all others in float."""
    from ovtool import api
    from ovtool.cli import progress

    spec = options.data_spec(data, labels, limit)
    with progress.show_progress() as shown:
        found = api.sensitivity(
            model,
            data=spec or data,
            method=method,
            settings=options.settings(set_),
            validation=validation_data,
            metric=options.metric(metric),
            most=most,
            time_limit_s=time_limit,
            out=out,
            progress=shown,
            replace=force,
        )
    print_sensitivity(found, top=top, json=json)


def print_sensitivity(answer: SensitivityFound, *, top: int, json: bool) -> None:
    """Print what quantizing each layer costs.

    Args:
        answer: What to print.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        console.print_json(answer.to_json())
        return
    found = answer.found
    console.print_line(answer.caption)
    if found.metric is not None:
        console.print_line(f"{found.metric} without quantization: {units.text(found.in_float)}")
    headings = ["SQNR dB", "% of MACs", *["drop"] * (found.metric is not None), "type", "layer"]
    rest = len(found.layers) - top
    console.print_table(
        headings,
        [_cells(cost) for cost in found.layers[:top]],
        f"and {rest} less sensitive" if rest > 0 else "",
        right=("SQNR dB", "% of MACs", "drop"),
    )
    if answer.files is not None:
        charts = ", ".join(str(path) for path in answer.files.charts)
        console.print_line(f"written: {answer.files.csv}, {answer.files.document}, {charts}")
    if found.not_reached:
        console.print_status(
            f"warning: the time did not suffice for {len(found.not_reached)} layers, which have no"
            f" row: {', '.join(found.not_reached)}",
        )


def _cells(cost: LayerCost) -> list[str]:
    share = None if cost.macs_share is None else 100 * cost.macs_share
    drop = [] if cost.metric_drop is None else [f"{cost.metric_drop:.4f}"]
    return [f"{cost.sqnr_db:.1f}", units.text(share), *drop, cost.type, cost.name]
