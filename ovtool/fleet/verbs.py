"""The verbs of ``ovtool fleet``, for the command line and the API."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import places
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.fleet import hardening, messages, serving
from ovtool.fleet.certificates import create_certificates, default_folder
from ovtool.fleet.client import HostLostError, certificates_folder, check_host, connect, locate
from ovtool.fleet.hosts import as_labels, parse_labels, read_hosts
from ovtool.fleet.run import sweep_fleet as sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["HostStatus", "certs", "down", "locate", "status", "sweep", "up", "worker"]
STATUS_S = 30.0


@dataclass(frozen=True, slots=True, repr=False)
class HostStatus(Tabular):
    """A host of a fleet; ``problem`` says why a sweep would leave it out."""

    name: str
    labels: Mapping[str, str]
    address: str
    busy: bool
    devices: tuple[str, ...] = ()
    machine: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    free_mib: float | None = None
    clock_offset_s: float | None = None
    health_fps: float | None = None
    problem: str = ""

    def _title(self) -> str:
        return f"{self.name}, {self.problem or ', '.join(self.devices)}"

    def _rows(self) -> list[dict[str, Any]]:
        return [self.to_json()]

    def to_json(self) -> dict[str, Any]:
        """Return the host as JSON types."""
        names = ("name", "address", "busy", "machine", "free_mib", "clock_offset_s", "health_fps",
                 "problem")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "labels": dict(self.labels),
            "devices": list(self.devices),
            "versions": dict(self.versions),
        }


def certs(out: str | Path | None = None) -> list[Path]:
    """Write an authority and the certificates of scheduler, hosts and clients; return the files.

    Raises:
        InputError: The folder has certificates already, or is not writable.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    return create_certificates(Path(out) if out is not None else default_folder())


def worker(
    address: str,
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    cache: str | Path | None = None,
    certificates: str | Path | None = None,
    attempts: int | None = None,
    cache_mib: float | None = None,
    shared: str | None = None,
    progress: Progress = SILENT,
) -> None:
    """Serve as a host of a fleet until it is stopped; a lost connection is made again.

    Args:
        address: The scheduler.
        name: Name of the host; by default that of the machine.
        labels: ``NAME=VALUE`` each.
        cache: Folder of models; by default in the cache of ovtool.
        certificates: Folder of certificates.
        attempts: Connections that may fail one after the other; None: no limit.
        cache_mib: Limit of the cache in MiB; beyond it, the files that were used longest ago are
            removed, but never those of the current sweep.
        shared: URL of fsspec or absolute path of a folder in which clients put files, see
            ``shared`` of ``HOSTS.yaml``.
        progress: Receives a line for each change.

    Raises:
        InputError: The address, a label, the name or the certificates are not valid, or no
            connection was made.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    hardening.require_dask()
    name = name or socket.gethostname()
    try:
        from pydantic import TypeAdapter, ValidationError

        from ovtool.fleet.hosts import HostName

        TypeAdapter(HostName).validate_python(name)
    except ValidationError as error:
        raise InputError(f"name of the host is not valid: {name!r}", "set --name") from error
    settings = serving.WorkerSettings(
        address,
        name,
        Path(cache) if cache is not None else places.user_folder() / "fleet" / name,
        parse_labels(labels),
        certificates_folder(certificates, address),
        attempts,
        cache_mib,
        shared,
    )
    serving.run_worker(settings, progress.note)


def up(hosts: str | Path, *, progress: Progress = SILENT) -> None:
    """Run the scheduler, and a worker on each host of ``HOSTS.yaml``, until ``down`` or Ctrl-C.

    Raises:
        MistakesError: The file has mistakes.
        InputError: The address or the certificates are not valid, or the port is in use.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    hardening.require_dask()
    read = read_hosts(hosts)
    _, certificates = locate(str(hosts))
    with hardening.hardened():
        from ovtool.fleet.cluster import run_cluster

        asyncio.run(run_cluster(read, certificates, progress.note))


def status(
    fleet: str,
    *,
    certificates: str | Path | None = None,
    hosts: Mapping[str, str] | str | None = None,
) -> list[HostStatus]:
    """Return the hosts of a fleet; a host that measures is not disturbed.

    Raises:
        InputError: The address or the certificates are not valid.
        MissingError: The scheduler is not reached.
    """
    with connect(*locate(fleet, certificates)) as connection:
        present = connection.hosts(as_labels(hosts))
        asked = {
            host.name: (time.time(), connection.send(host.name, messages.Describe()))
            for host in present
            if not host.busy
        }
        rows = []
        for host in present:
            row = HostStatus(host.name, host.labels, host.address, host.busy)
            if host.name in asked:
                row = _describe(connection, row, host, *asked[host.name])
            rows.append(row)
        return rows


def _describe(connection: Any, row: HostStatus, host: Any, asked_s: float, task: Any) -> HostStatus:
    from dataclasses import replace

    try:
        reply = connection.result(task, STATUS_S)
        state = messages.HostState.model_validate(reply)
        row = replace(
            row,
            devices=tuple(str(d["name"]) for d in state.devices if d.get("available")),
            machine=str(state.environment.get("machine", "")),
            versions=state.versions,
            free_mib=state.free_mib,
            clock_offset_s=max(asked_s - state.clock_s, state.clock_s - time.time(), 0.0),
            health_fps=state.health_fps,
        )
        check_host(host, reply, asked_s)
    except (InputError, HostLostError, ValueError) as error:
        return replace(row, problem=getattr(error, "full_text", str(error)))
    return row


def down(fleet: str, *, certificates: str | Path | None = None) -> int:
    """Stop the workers and the scheduler of a fleet; return the number of hosts.

    Raises:
        InputError: The address or the certificates are not valid.
        MissingError: The scheduler is not reached.
    """
    with connect(*locate(fleet, certificates)) as connection:
        count: int = connection.stop()
        return count
