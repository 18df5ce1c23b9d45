"""``ovtool devices``."""

from __future__ import annotations

from ovtool.cli import options

NAME = "devices"
EXAMPLE = "Example: ovtool devices --json"


def command(json: options.Json = False) -> None:
    """List the devices that OpenVINO sees, and why it does not see the others."""
    from ovtool import api
    from ovtool.cli import show

    show.devices(api.devices(), json=json)
