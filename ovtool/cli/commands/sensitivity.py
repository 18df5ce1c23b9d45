"""``ovtool sensitivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import COMPRESSION, DATA, MEASUREMENT, option
from ovtool.core import units
from ovtool.core.notation import method_name

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
        option(
            DATA, "DATA", "Calibration samples: image folder, .npz, .npy, sample:NAME or noise."
        ),
    ],
    labels: options.Labels = None,
    limit: options.Limit = None,
    validation_data: options.ValidationData = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    trust: options.TrustMetric = False,
    method: Annotated[str, option(COMPRESSION, "METHOD", "Quantization: int8 or fp8.")] = "int8",
    set_: options.Setting = None,
    max_rows: Annotated[
        int | None,
        option(MEASUREMENT, "N", "Maximum number of rows; beyond it, rows are blocks.", min=1),
    ] = None,
    time_limit: options.TimeLimit = None,
    top: options.Top = 15,
    out: options.OutFolder = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure the cost of quantizing each layer alone, with all other layers in float."""
    from ovtool import api

    with progress.show_progress() as bar:
        result = api.sensitivity(
            model,
            data=data,
            labels=labels,
            limit=limit,
            method=method_name(method),
            settings=options.parse_settings(set_),
            validation_data=validation_data,
            metric=metric,
            outputs=tuple(output or ()),
            trust=trust,
            max_rows=max_rows,
            time_limit_s=time_limit,
            out=out,
            progress=bar,
            force=force,
        )
    if json:
        console.print_json(result.to_json())
    else:
        print_report(result, top)


def print_report(report: SensitivityReport, top: int) -> None:
    """Print the most sensitive layers, the files and the warnings."""
    costs = report.result
    console.print_line(report.caption)
    if costs.metric is not None:
        console.print_line(f"{costs.metric} without quantization: {units.text(costs.in_float)}")
    headings = ["SQNR dB", "% of MACs", *["drop"] * (costs.metric is not None), "type", "layer"]
    rest = len(costs.layers) - top
    caption = f"and {rest} less sensitive layers" if rest > 0 else ""
    cells = [_layer_cells(cost) for cost in costs.layers[:top]]
    console.print_table(headings, cells, caption, right=("SQNR dB", "% of MACs", "drop"))
    if report.files is not None:
        charts = ", ".join(str(path) for path in report.files.charts)
        console.print_line(f"written: {report.files.csv}, {report.files.document}, {charts}")
    console.print_notes(report.notes)
    if costs.not_reached:
        console.print_status(
            f"warning: time limit reached before {len(costs.not_reached)} layers were measured:"
            f" {', '.join(costs.not_reached)}"
        )


def _layer_cells(cost: LayerCost) -> list[str]:
    share = None if cost.macs_share is None else 100 * cost.macs_share
    drop = [] if cost.metric_drop is None else [f"{cost.metric_drop:.4f}"]
    return [f"{cost.sqnr_db:.1f}", units.text(share), *drop, cost.type, cost.name]
