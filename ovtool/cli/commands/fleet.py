"""``ovtool fleet``: certs, up, worker, status, down."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import console, options, progress
from ovtool.cli.command import (
    INSTALL,
    OUTPUT,
    TARGET,
    PanelCommand,
    PanelGroup,
    argument,
    format_examples,
    option,
)
from ovtool.cli.console import print_unwrapped
from ovtool.core import units

app = typer.Typer(
    cls=PanelGroup,
    help="Measure on many hosts: start, list and stop the hosts of a fleet.",
    add_completion=False,
    epilog=format_examples("ovtool fleet up hosts.yaml", "ovtool fleet status hosts.yaml"),
)
FleetAddress = Annotated[
    str, argument("Address of the scheduler, or the hosts file.", "ADDRESS|HOSTS.yaml")
]


@app.command(
    "certs", cls=PanelCommand, epilog=format_examples("ovtool fleet certs --out certificates")
)
def certs(
    out: Annotated[
        str | None,
        option(
            OUTPUT,
            "FOLDER",
            "Folder of the certificates.",
            "--out",
            "-o",
            show_default="in the cache of ovtool",
        ),
    ] = None,
) -> None:
    """Make an authority, and certificates of scheduler, hosts and clients."""
    from ovtool import api

    for path in api.fleet.certs(out):
        print_unwrapped(str(path))
    console.print_status(
        "next: copy authority.pem, worker.pem and worker-key.pem to each host; keep"
        " authority-key.pem here"
    )


@app.command("up", cls=PanelCommand, epilog=format_examples("ovtool fleet up hosts.yaml"))
def up(
    hosts: Annotated[str, argument("Hosts file: the scheduler and the hosts.", "HOSTS.yaml")],
) -> None:
    """Run the scheduler, and a worker on each host; Ctrl-C stops them."""
    from ovtool import api

    with progress.show_progress() as bar:
        api.fleet.up(hosts, progress=bar)


@app.command(
    "worker",
    cls=PanelCommand,
    epilog=format_examples(
        "ovtool fleet worker tls://10.0.0.5:8786 --label npu=4000 --label site=lab"
    ),
)
def worker(
    address: Annotated[str, argument("Address of the scheduler.", "ADDRESS")],
    label: Annotated[
        list[str] | None,
        option(TARGET, "NAME=VALUE", "Label of the host, for --hosts of sweep; may be repeated."),
    ] = None,
    name: Annotated[
        str | None,
        option(TARGET, "NAME", "Name of the host.", show_default="the name of the machine"),
    ] = None,
    cache: Annotated[
        str | None,
        option(
            OUTPUT,
            "FOLDER",
            "Folder of the models that clients send.",
            show_default="in the cache of ovtool",
        ),
    ] = None,
    cache_mib: Annotated[
        float | None,
        option(
            OUTPUT,
            "MIB",
            "Limit of the cache: the files that were used longest ago are removed.",
            min=1,
            show_default="no limit",
        ),
    ] = None,
    shared: Annotated[
        str | None,
        option(
            OUTPUT,
            "URL",
            "Folder or object store in which clients put files, instead of sending them.",
        ),
    ] = None,
    certificates: options.Certificates = None,
    attempts: Annotated[
        int | None,
        option(
            INSTALL,
            "N",
            "Connections that may fail one after the other.",
            min=1,
            show_default="no limit",
        ),
    ] = None,
) -> None:
    """Serve as a host of a fleet; it measures and runs nothing else."""
    from ovtool import api

    with progress.show_progress() as bar:
        api.fleet.worker(
            address,
            name=name,
            labels=label or (),
            cache=cache,
            certificates=certificates,
            attempts=attempts,
            cache_mib=cache_mib,
            shared=shared,
            progress=bar,
        )


@app.command("status", cls=PanelCommand, epilog=format_examples("ovtool fleet status hosts.yaml"))
def status(
    fleet: FleetAddress,
    certificates: options.Certificates = None,
    hosts: options.Hosts = None,
    json: options.Json = False,
) -> None:
    """List the hosts: labels, devices, versions, and what keeps one from measuring."""
    from ovtool import api

    rows = api.fleet.status(fleet, certificates=certificates, hosts=hosts)
    if json:
        console.print_json({"hosts": [row.to_json() for row in rows]})
        return
    cells = [
        (
            row.name,
            ", ".join(f"{name}={value}" for name, value in row.labels.items()),
            "measures" if row.busy else row.problem or "ready",
            " ".join(row.devices),
            " ".join(f"{name} {version}" for name, version in row.versions.items()),
            "" if row.free_mib is None else f"{units.text(row.free_mib / 1024)} GiB",
        )
        for row in rows
    ]
    console.print_table(("host", "labels", "state", "devices", "versions", "free disk"), cells)


@app.command("down", cls=PanelCommand, epilog=format_examples("ovtool fleet down hosts.yaml"))
def down(fleet: FleetAddress, certificates: options.Certificates = None) -> None:
    """Stop the workers and the scheduler."""
    from ovtool import api

    count = api.fleet.down(fleet, certificates=certificates)
    print_unwrapped(f"stopped: {units.count_text(count, 'host')}")
