"""``ovtool sensitivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import COMPRESSION, DATA, HOW
from ovtool.core import units

if TYPE_CHECKING:
    from ovtool.compression.layer_sensitivity import LayerCost
    from ovtool.compression.sensitivity import SensitivityReport

EXAMPLES = (
    "ovtool sensitivity variants/fp32 --data images/ --validation-data held-out/ --out reports/s",
)


def command(
    model: options.Model,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Calibration samples: image folder, .npz, .npy, sample:NAME or noise.",
            rich_help_panel=DATA,
        ),
    ],
    labels: options.Labels = None,
    limit: options.Limit = None,
    validation_data: options.ValidationData = None,
    metric: options.MetricName = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="Quantization: int8 or fp8.", rich_help_panel=COMPRESSION
        ),
    ] = "int8",
    set_: options.Setting = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Maximum number of rows; beyond it, layers are measured in blocks.",
            rich_help_panel=HOW,
        ),
    ] = None,
    time_limit: options.TimeLimit = None,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure the cost of quantizing each layer alone, with all other layers in float."""
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
            max_rows=most,
            time_limit_s=time_limit,
            out=out,
            progress=shown,
            replace=force,
        )
    print_sensitivity(found, top=top, json=json)


def print_sensitivity(answer: SensitivityReport, *, top: int, json: bool) -> None:
    """Print what quantizing each layer costs.

    Args:
        answer: What to print.
        top: Layers to print.
        json: Whether to print one JSON document, which has all layers.
    """
    if json:
        console.print_json(answer.to_json())
        return
    found = answer.result
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
