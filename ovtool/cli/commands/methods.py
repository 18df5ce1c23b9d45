"""``ovtool methods``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "methods"
EXAMPLE = "Example: ovtool methods int8"


def command(
    method: Annotated[
        str | None,
        typer.Argument(help="Show the settings of this one alone.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the methods of compression, or the settings of one."""
    from ovtool.cli import show
    from ovtool.compression import registry as compress

    if method is None:
        show.methods(compress.methods(), json=json)
    else:
        show.method(compress.method_info(method), json=json)
