"""``ovtool convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.core import units

if TYPE_CHECKING:
    from ovtool.core.variant import Variant

EXAMPLES = ("ovtool convert resnet.onnx --out variants/resnet --mean 127 --scale 128",)


def command(
    source: Annotated[str, typer.Argument(help=options.SOURCE, show_default=False)],
    out: options.Out,
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
    name: options.Name = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Convert a model to OpenVINO IR and compare its outputs with the source's."""
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
        made = api.convert(source, out=out, name=name, options=how, progress=shown, replace=force)
    print_variant(made, json=json)


def print_variant(made: Variant, *, json: bool) -> None:
    """Print a variant."""
    record = made.record
    if json:
        document = record.model_dump(mode="json")
        console.print_json(document | {"id": made.id, "folder": str(made.folder)})
        return
    print(f"{made.folder}: {made.name}, {units.text(made.model_mib)} MiB, batch {record.batch}")
    if record.batch_note:
        print(f"  {record.batch_note}")
    for kind, ports in (("input", record.inputs), ("output", record.outputs)):
        for port in ports:
            shape = "x".join("?" if d == -1 else str(d) for d in port.shape)
            print(f"  {kind} {port.name}: {port.dtype} {shape} {port.layout or ''}".rstrip())
    for step in record.steps:
        print(
            f"  step {step.method}: {step.seconds:.1f} s{', on ' + step.data if step.data else ''}"
        )
