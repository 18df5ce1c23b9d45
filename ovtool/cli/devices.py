"""``ovtool devices``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "devices"
EXAMPLE = "Example: ovtool devices --why says step by step what is missing, and how to get it"


def command(
    why: Annotated[
        bool,
        typer.Option(
            "--why", help="Say step by step why a GPU or NPU is not there, and what to do."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """List the devices that OpenVINO sees, and why it does not see the others."""
    from ovtool import api
    from ovtool.cli import show_devices

    show_devices.devices(api.devices(), why=why, json=json)
