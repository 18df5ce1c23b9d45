"""The processes of a fleet: the scheduler, and the worker of a host."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovtool.core import temporary
from ovtool.core.errors import InputError
from ovtool.fleet import hardening
from ovtool.fleet.certificates import load_security
from ovtool.fleet.host import HOSTS, Host
from ovtool.fleet.shared import SharedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONNECT_S = 20.0
"""Seconds in which a connection to the scheduler is made."""
RETRY_S = 2.0
"""Seconds between two attempts of a worker to reach its scheduler."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A worker.

    Args:
        address: The scheduler.
        name: Name of the host.
        cache: Folder of its files.
        certificates: Folder of its certificates; None on loopback.
        attempts: Connections that may fail one after the other; None: no limit.
        cache_mib: Limit of the cache; None: no limit.
        shared: URL of a folder with files of clients; None: clients send them.
    """

    address: str
    name: str
    cache: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    certificates: Path | None = None
    attempts: int | None = None
    cache_mib: float | None = None
    shared: str | None = None


def resources(labels: Mapping[str, str]) -> dict[str, float]:
    """Return what Dask knows of a host: one group at a time, and its labels."""
    return {hardening.HOST: 1.0} | {f"{name}={value}": 1.0 for name, value in labels.items()}


def labels_of(resources: Mapping[str, float]) -> dict[str, str]:
    """Return the labels among the resources of a worker."""
    pairs = (name.partition("=") for name in resources if "=" in name)
    return {name: value for name, _, value in pairs}


def run_worker(settings: WorkerSettings, on_event: Callable[[str], None]) -> None:
    """Serve as a host until it is stopped; a lost connection is made again.

    ``on_event`` receives one line for each change.

    Raises:
        InputError: The address or the certificates are not valid, or no attempt succeeded.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    with hardening.hardened():
        asyncio.run(serve_host(settings, on_event))


async def serve_host(settings: WorkerSettings, on_event: Callable[[str], None]) -> None:
    """Serve as a host, as :func:`run_worker` does, in a hardened process."""
    address = hardening.require_address(
        settings.address, encrypted=settings.certificates is not None
    )
    security = load_security(settings.certificates, "worker")
    shared = None if settings.shared is None else SharedStore(settings.shared)
    host = HOSTS[settings.name] = Host(settings.name, settings.cache, settings.cache_mib, shared)
    failed, known = 0, ""
    try:
        while True:
            try:
                await _serve_once(address, security, settings, on_event)
            except (OSError, TimeoutError, ValueError, RuntimeError) as error:
                failed += 1
                cause = error.__cause__ if isinstance(error, RuntimeError) else None
                reason = " ".join(str(cause or error).split())[:200] or type(error).__name__
                if "name taken" in reason:
                    reason = f"the fleet has a host with the name {settings.name} already"
                if _is_final(error) or failed == settings.attempts:
                    raise InputError(f"cannot join the fleet at {address}: {reason}") from error
                if reason != known:
                    on_event(f"no connection to {address}: {reason}")
                known = reason
            else:
                failed, known = 0, ""
                if host.stopped:
                    return
                on_event(f"connection to {address} lost")
            await asyncio.sleep(RETRY_S)
    finally:
        host.close()
        if HOSTS.get(settings.name) is host:
            del HOSTS[settings.name]


def _is_final(error: BaseException) -> bool:
    """Whether trying again cannot help: a certificate is refused."""
    text = repr(error).lower() + repr(error.__cause__).lower()
    return any(sign in text for sign in ("certificate", "wrong_version", "alert"))


async def _serve_once(
    address: str, security: Any, settings: WorkerSettings, on_event: Callable[[str], None]
) -> None:
    """Serve until the worker ends."""
    from distributed.comm import connect

    from ovtool.fleet.dask_servers import FleetWorker, host_of

    # A worker tries for ever by itself, without saying why.
    arguments = security.get_connection_args("worker")
    trial = await connect(address, timeout=CONNECT_S, **arguments)
    await trial.close()
    with temporary.scratch_folder("fleet-worker") as scratch:
        worker = FleetWorker(
            address,
            name=settings.name,
            resources=resources(settings.labels),
            security=security,
            local_directory=str(scratch),
            host=_own_address(host_of(address)),
        )
        async with worker:
            on_event(f"host {settings.name} joined {address}")
            await worker.finished()


def _own_address(scheduler: str) -> str:
    """Return the address of this machine towards the scheduler: a worker listens there only."""
    from distributed.utils import get_ip, get_ipv6

    if hardening.is_loopback(scheduler):
        return "::1" if ":" in scheduler else "127.0.0.1"
    return str(get_ipv6(scheduler) if ":" in scheduler else get_ip(scheduler))
