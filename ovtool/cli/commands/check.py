"""``ovtool check``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "check"
EXAMPLE = "Example: ovtool check variants/resnet-int8 --device NPU.3720,NPU.4000,NPU.5010"


def command(
    variant: Annotated[str, typer.Argument(help="Variant.", show_default=False)],
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Devices, or NPU platforms that need not be here: NPU.3720 (Meteor Lake),"
            " NPU.4000 (Lunar Lake), NPU.5010 (Panther Lake).",
            show_default="CPU",
        ),
    ] = None,
    shape: options.Shapes = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples in a request.", show_default="1, or the one in a shape"),
    ] = None,
    precision: Annotated[str, typer.Option(help="default, f32, bf16 or f16.")] = "default",
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that one trial compile may take.")
    ] = 600.0,
    json: options.Json = False,
) -> None:
    """Compile a variant for a device, and say whether it will run there; exit 1 where not.

    Nothing is run. For an NPU that is not here the NPU's own compiler is used, which
    ovtool devices --install-npu-compiler installs on Linux.
    """
    from ovtool import api
    from ovtool.cli import progress, show_check
    from ovtool.core.shapes import parse_named_shapes

    with progress.show() as shown:
        found = api.check(
            variant,
            devices=options.words(device) or ["CPU"],
            batch=batch,
            precision=precision,
            shapes=parse_named_shapes(shape or ()),
            timeout_s=timeout,
            progress=shown,
        )
    show_check.checks(found, json=json)
    if not all(check.compiles for check in found):
        raise typer.Exit(1)
