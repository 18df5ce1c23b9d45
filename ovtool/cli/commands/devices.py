"""``ovtool devices``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import options

NAME = "devices"
EXAMPLE = (
    "Example: ovtool devices --why says step by step what is missing, and how to get it;"
    " ovtool devices --calibrate --device CPU measures its peaks"
)


def command(
    why: Annotated[
        bool,
        typer.Option(
            "--why", help="Say step by step why a GPU or NPU is not there, and what to do."
        ),
    ] = False,
    install_npu_compiler: Annotated[
        bool,
        typer.Option(
            "--install-npu-compiler",
            help="Install what ovtool check needs for NPUs that are not here; asks first.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Install without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Install it again.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Measure what --device reaches (some minutes, on a quiet machine), for predictions"
            " and ovtool profile --roofline.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="Device to calibrate.")] = "CPU",
    json: options.Json = False,
) -> None:
    """List the devices that OpenVINO sees, and why it does not see the others."""
    from ovtool import api
    from ovtool.cli import show_devices

    if install_npu_compiler:
        _install(yes=yes, force=force)
        return
    if calibrate:
        _calibrate(device, json=json)
        return
    show_devices.devices(api.devices(), why=why, json=json)


def _calibrate(device: str, *, json: bool) -> None:
    from ovtool import api
    from ovtool.cli import progress, show_roofline

    with progress.show() as shown:
        made = api.calibrate(device, progress=shown)
    show_roofline.calibration(made, json=json)


def _install(*, yes: bool, force: bool) -> None:
    from ovtool import api
    from ovtool.cli import progress, show_check

    there = api.npu_compiler_folder()
    if there is not None and not force:
        print(f"installed already: {there}")
        return
    offer = api.npu_compiler_offer()
    show_check.offer(offer)
    if not yes and not typer.confirm("Install it?", default=False, err=True):
        print("nothing was installed")
        return
    with progress.show() as shown:
        folder = api.install_npu_compiler(offer, progress=shown, replace=force)
    print(f"installed: {folder}")
