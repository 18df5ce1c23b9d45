"""``ovtool analyze``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "analyze"
EXAMPLE = "Example: ovtool analyze variants/fp32 --batch 8 --speed 4TFLOPS"


def command(
    model: Annotated[
        str, typer.Argument(help="Variant, or anything that convert takes.", show_default=False)
    ],
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples in one inference.", show_default="1, or as --shape says"),
    ] = None,
    shape: options.Shapes = None,
    speed: Annotated[
        str | None,
        typer.Option(help="Of a device, as 4TFLOPS: tells FLOPs / speed, a lower bound."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Layers to print; files have all.")] = 15,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder to make for layers.csv and analysis.json."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Count operations, parameters and bytes of each layer; nothing is run."""
    from ovtool import api
    from ovtool.cli import progress, show_analysis
    from ovtool.core import units
    from ovtool.core.shapes import parse_named_shapes

    flops_per_s = None if speed is None else units.parse_speed(speed)
    with progress.show() as shown:
        found = api.analyze(
            model,
            batch=batch,
            shapes=parse_named_shapes(shape or ()),
            out=out,
            progress=shown,
            replace=force,
        )
    show_analysis.analysis(found, flops_per_s=flops_per_s, top=top, json=json)
