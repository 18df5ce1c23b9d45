"""``ovtool sensitivity``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

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
    from ovtool.cli import progress, show_sensitivity

    spec = options.data_spec(data, labels, limit)
    with progress.show() as shown:
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
    show_sensitivity.sensitivity(found, top=top, json=json)
