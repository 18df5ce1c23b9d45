"""``ovtool profile``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "profile"
EXAMPLE = "Example: ovtool profile variants/resnet-int8 --batch 8 --roofline --out reports/layers"


def command(
    model: Annotated[
        str, typer.Argument(help="Variant, or anything that convert takes.", show_default=False)
    ],
    device: Annotated[str, typer.Option(help="Device to run on.")] = "CPU",
    batch: Annotated[int, typer.Option(min=1, help="Samples in a request.")] = 1,
    precision: Annotated[str, typer.Option(help="default, f32, bf16 or f16.")] = "default",
    hint: Annotated[str, typer.Option(help="latency or throughput.")] = "latency",
    shape: options.Shapes = None,
    data: options.Data = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=3600, help="How long to infer with counters.")
    ] = 2.0,
    top: Annotated[int, typer.Option(min=1, help="Layers to print; files have all.")] = 15,
    roofline: Annotated[
        bool,
        typer.Option(
            "--roofline",
            help="Set layers against what the device reaches (ovtool devices --calibrate).",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder to make for layers.csv, profile.json, charts."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Time each layer of a model, and say what each runs in; one request at a time."""
    from ovtool import api
    from ovtool.cli import progress, show_profile
    from ovtool.core.shapes import parse_named_shapes

    with progress.show() as shown:
        found = api.profile(
            model,
            device=device,
            batch=batch,
            precision=precision,
            hint=hint,
            shapes=parse_named_shapes(shape or ()),
            data=options.data_spec(data, None, None),
            seconds=seconds,
            out=out,
            roofline=roofline,
            progress=shown,
            replace=force,
        )
    show_profile.profile(found, top=top, json=json)
