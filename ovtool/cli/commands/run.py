"""``ovtool run``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "run"
EXAMPLE = "Example: ovtool run recipes/efficientnet-lite0.yaml --out reports/demo"


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Recipe file, or the name of one that comes with ovtool.", show_default=False
        ),
    ],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to.", show_default="reports/NAME")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Let the recipe import code (module:function) or load a pickle."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A device that is not there is an error.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try trials again that failed before.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Take the whole way of a recipe: convert, compress, sweep, report, choose."""
    from ovtool import api
    from ovtool.cli import progress, show

    with progress.show() as shown, progress.sweep_view(shown) as view:
        done = api.run(
            recipe,
            out=out,
            trust=trust,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=shown,
        )
    show.run(done, json=json)
    if done.nothing is not None:
        raise done.nothing
