"""``ovtool convert``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "convert"
EXAMPLE = "Example: ovtool convert resnet.onnx --out variants/resnet --mean 127 --scale 128"


def command(
    source: Annotated[str, typer.Argument(help=options.SOURCE, show_default=False)],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the variant to make.")],
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
    """Convert a model to OpenVINO IR and compare its outputs with the source's."""
    from ovtool import api
    from ovtool.cli import progress, show

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
    with progress.show() as shown:
        made = api.convert(source, out=out, name=name, options=how, progress=shown, replace=force)
    show.variant(made, json=json)
