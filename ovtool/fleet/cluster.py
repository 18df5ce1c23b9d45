"""``ovtool fleet up``: the scheduler here, and a worker on each host of ``HOSTS.yaml``."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distributed.core import Status  # noqa: TID253 - this module is imported only by up
from distributed.deploy.spec import ProcessInterface, SpecCluster  # noqa: TID253 - the same

from ovtool.core.errors import InputError
from ovtool.fleet import hardening
from ovtool.fleet.certificates import load_security
from ovtool.fleet.dask_servers import FleetScheduler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovtool.fleet.hosts import FleetFile, HostEntry

STOP_S = 10.0
"""Seconds in which a worker ends before it is killed."""
ATTEMPTS = 3
"""Connections, which take 20 s each, after which a worker ends: its ``up`` was killed, or starts it
again."""
RESTART_S = 5.0
"""Seconds between the end of a worker and its next start."""


@dataclass(frozen=True, slots=True)
class HostCommand:
    """How the worker of a host is started."""

    name: str
    entry: HostEntry
    address: str
    certificates: Path | None
    shared: str | None = None

    def words(self) -> list[str]:
        """Return the command; with ``ssh``, a shell of the host reads the last word."""
        entry = self.entry
        python = sys.executable if entry.ssh is None else entry.python
        words = [python, "-P", "-m", "ovtool", "fleet", "worker", self.address]
        words += ["--name", self.name]
        for name, value in entry.labels.items():
            words += ["--label", f"{name}={value}"]
        words += ["--attempts", str(ATTEMPTS)]
        if entry.cache is not None:
            words += ["--cache", entry.cache]
        shared = entry.shared or self.shared
        if shared is not None:
            words += ["--shared", shared]
        certificates = entry.certificates or (None if entry.ssh else self.certificates)
        if certificates is not None:
            words += ["--certificates", str(certificates)]
        elif self.certificates is not None:
            words += ["--certificates", "default"]
        if entry.ssh is None:
            return words
        options = ["-o", "BatchMode=yes", "-tt", *entry.ssh_options]
        return ["ssh", *options, "--", entry.ssh, shlex.join(words)]


class HostProcess(ProcessInterface):  # type: ignore[misc] # Dask has no types
    """The worker of a host, as a process of this machine or through SSH."""

    def __init__(
        self,
        scheduler: str,  # noqa: ARG002 - part of the interface
        name: str,
        command: HostCommand,
        on_event: Callable[[str], None],
        **_options: Any,
    ) -> None:
        super().__init__(name=name)
        self._command, self._on_event = command, on_event
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process; the worker joins the scheduler later."""
        self._watch = asyncio.create_task(self._run())
        self.status = Status.running

    async def close(self) -> None:
        """Stop the process."""
        self.status = Status.closing
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await super().close()

    async def _run(self) -> None:
        """Run the process, and run it again when it ends by itself."""
        name = self._command.name
        while True:
            try:
                code = await self._run_once()
            except OSError as error:
                self._on_event(f"warning: host {name}: {error}")
            else:
                if self.status != Status.running or code == 0:
                    return
                self._on_event(f"warning: the worker of host {name} ended with exit code {code}")
            await asyncio.sleep(RESTART_S)

    async def _run_once(self) -> int:
        """Run the process and print its lines, with the name of the host."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command.words(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=sys.platform != "win32",
        )
        assert self._process.stderr is not None  # noqa: S101 - opened as a pipe
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._on_event(f"{self._command.name}: {text[:500]}")
        return await self._process.wait()


async def run_cluster(
    fleet: FleetFile, certificates: Path | None, on_event: Callable[[str], None]
) -> None:
    """Run the scheduler and the workers until the scheduler is stopped, in a hardened process.

    Raises:
        InputError: The address or the certificates are not valid, or the port is in use.
    """
    address = hardening.require_address(fleet.listen, encrypted=certificates is not None)
    security = load_security(certificates, "scheduler")
    workers = {
        name: {
            "cls": HostProcess,
            "options": {
                "command": HostCommand(name, entry, address, certificates, fleet.shared),
                "on_event": on_event,
            },
        }
        for name, entry in fleet.hosts.items()
    }
    scheduler = {"cls": FleetScheduler, "options": {"address": address, "security": security}}
    cluster = SpecCluster(
        workers=workers,
        scheduler=scheduler,
        security=load_security(certificates, "client"),
        asynchronous=True,
        name="ovtool-fleet",
        # By its address, the cluster could stop another scheduler that listens there by now.
        shutdown_scheduler=False,
    )
    try:
        async with cluster:
            on_event(f"scheduler listens on {cluster.scheduler_address}; Ctrl-C stops the fleet")
            await cluster.scheduler.finished()
    except (OSError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InputError(f"cannot start the fleet at {address}: {cause}") from error
    finally:
        if cluster.scheduler is not None:
            await cluster.scheduler.close()
