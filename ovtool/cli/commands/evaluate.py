"""``ovtool evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "evaluate"
EXAMPLE = (
    "Example: ovtool evaluate variants/int8 --data held-out/ --baseline variants/fp32\n\n"
    "Each device by default and at its most accurate: ovtool evaluate variants/int8"
    " --data held-out/ --device CPU,GPU,NPU --precision default,exact"
)


def command(
    model: Annotated[str, typer.Argument(help="Folder of a variant.", show_default=False)],
    data: Annotated[
        str, typer.Option("--data", help="Held-out samples: folder of images, .npz, sample:NAME.")
    ],
    labels: options.Labels = None,
    limit: options.Limit = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Uncompressed variant, whose outputs in f32 on the CPU count."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Devices to run on: CPU,GPU,NPU.", show_default="CPU")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="default, f32, bf16, f16, or exact: the device's most accurate mode.",
            show_default="default",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in a request.")] = 1,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest difference from the same variant on the CPU in f32, as a share of its"
            " largest output; beyond it the layer is looked for that it comes from.",
            show_default="0.05",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure quality against labels, or agreement with the uncompressed variant.

    On a few samples the outputs are also compared with the same variant's on the CPU in f32.
    """
    from ovtool import api
    from ovtool.cli import progress, show_quality

    spec = options.data_spec(data, labels, limit)
    assert spec is not None  # noqa: S101 - --data is required
    with progress.show() as shown:
        found = api.evaluate_each(
            model,
            spec,
            baseline=baseline,
            devices=options.words(device) or ["CPU"],
            precisions=options.words(precision) or ["default"],
            batch=batch,
            tolerance=tolerance,
            progress=shown,
        )
    show_quality.quality(found, json=json)
