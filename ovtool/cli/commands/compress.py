"""``ovtool compress``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options
from ovtool.cli.commands.convert import print_variant

NAME = "compress"
EXAMPLE = (
    "Example: ovtool compress variants/resnet int8 --data images/ --set preset=mixed"
    " --out variants/resnet-int8"
)


def command(
    model: Annotated[
        str, typer.Argument(help="Variant, or anything that convert takes.", show_default=False)
    ],
    method: Annotated[
        str, typer.Argument(help="One of those that ovtool methods lists.", show_default=False)
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the variant to make.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="key=value, a setting; ovtool methods METHOD lists them."),
    ] = None,
    data: options.Data = None,
    train_data: Annotated[
        str | None, typer.Option(help="Labelled samples to train on, named as --data.")
    ] = None,
    validation_data: options.ValidationData = None,
    max_drop: options.MaxDrop = None,
    time_limit: options.TimeLimit = None,
    metric: options.MetricName = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    name: options.Name = None,
    weights: options.Weights = None,
    shape: options.Shapes = None,
    layout: options.Layouts = None,
    mean: options.Mean = None,
    scale: options.Scale = None,
    channels: options.Channels = "RGB",
    resize: options.Resize = "crop",
    size: options.Size = None,
    trust: options.Trust = False,
    tolerance: options.Tolerance = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compress a model by one method into a variant of its own; the model stays as it is."""
    from ovtool import api
    from ovtool.cli import progress

    how = options.source_options(
        weights=weights,
        shapes=shape,
        layouts=layout,
        mean=mean,
        scale=scale,
        channels=channels,
        resize=resize,
        size=size,
        trust=trust,
        tolerance=tolerance,
    )
    with progress.show_progress() as shown:
        made = api.compress(
            model,
            method,
            out=out,
            settings=options.settings(set_, max_drop=max_drop, time_limit_s=time_limit),
            given=api.Given(
                data=options.data_spec(data, labels, limit),
                training=train_data,
                validation=validation_data,
                metric=options.metric(metric),
            ),
            name=name,
            options=how,
            progress=shown,
            replace=force,
        )
    print_variant(made, json=json)
