"""``ovtool evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "evaluate"
EXAMPLE = "Example: ovtool evaluate variants/int8 --data held-out/ --baseline variants/fp32"


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
    device: Annotated[str, typer.Option(help="Device to run on.")] = "CPU",
    precision: Annotated[str, typer.Option(help="default, f32, bf16 or f16.")] = "default",
    batch: Annotated[int, typer.Option(min=1, help="Samples in a request.")] = 1,
    json: options.Json = False,
) -> None:
    """Measure quality against labels, or agreement with the uncompressed variant."""
    from ovtool import api
    from ovtool.cli import progress, show

    spec = options.data_spec(data, labels, limit)
    assert spec is not None  # noqa: S101 - --data is required
    with progress.show() as shown:
        found = api.evaluate(
            model,
            spec,
            baseline=baseline,
            device=device,
            precision=precision,
            batch=batch,
            progress=shown,
        )
    show.quality(found, json=json)
