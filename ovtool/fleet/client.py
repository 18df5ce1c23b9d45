"""The client of a fleet: its hosts, requests to them, and the transfer of files."""

from __future__ import annotations

import contextlib
import functools
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ovtool.core import units
from ovtool.core.errors import InputError, MissingError
from ovtool.core.fields import validation_message
from ovtool.core.sweep_folder import Environment
from ovtool.core.variant import versions
from ovtool.devices.discovery import Device
from ovtool.fleet import hardening, messages
from ovtool.fleet.certificates import default_folder, load_security
from ovtool.fleet.hosts import matches, read_hosts
from ovtool.fleet.serving import labels_of
from ovtool.fleet.shared import SharedStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovtool.core.fields import Record

CONNECT_S = 20.0
STOP_S = 10.0
CLOCK_S = 120.0
"""Largest difference of the clocks of client and host."""
DISK_MIB = 512.0
"""Least free disk of a host."""
SAME = ("ovtool", "openvino", "nncf")
"""Packages that client and host need in the same version; nncf only where both have it."""
_DEVICES: TypeAdapter[tuple[Device, ...]] = TypeAdapter(tuple[Device, ...])


DEFAULT = "default"
"""Word for the folder of certificates that ``certs`` uses without ``--out``."""


class HostLostError(Exception):
    """A host, the scheduler, or the connection to it ended during a request."""


@dataclass(frozen=True, slots=True)
class FleetHost:
    """A host that has joined: its name, its labels and the address of its worker."""

    name: str
    labels: Mapping[str, str]
    address: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class CheckedHost:
    """A host that passed the join check."""

    host: FleetHost
    environment: Environment
    devices: tuple[Device, ...]
    free_mib: float
    clock_offset_s: float


@dataclass(slots=True)
class Task:
    """A request under way; ``done`` is true once :meth:`Fleet.result` does not wait."""

    host: str
    future: Any
    sent_s: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether there is a reply or an error."""
        return bool(self.future.done())


class Fleet:
    """A connection to the scheduler of a fleet; use :func:`connect`."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self.address = client, address
        self._addresses: dict[str, str] = {}

    def hosts(self, wanted: Mapping[str, str] | None = None) -> list[FleetHost]:
        """Return the hosts with these labels, by name.

        Raises:
            HostLostError: The scheduler does not answer.
        """
        scheduler = self._client.scheduler
        info = self._ask_scheduler(scheduler.identity, n_workers=-1)
        requests = self._ask_scheduler(scheduler.processing, workers=None)
        hosts = [
            FleetHost(
                str(worker["name"]),
                labels_of(worker["resources"]),
                address,
                busy=bool(requests.get(address)),
            )
            for address, worker in info["workers"].items()
        ]
        chosen = [host for host in hosts if matches(host.labels, wanted or {})]
        return sorted(chosen, key=lambda host: host.name)

    def addresses(self) -> Mapping[str, str]:
        """Return the addresses of all hosts by name; cheap while no host comes or goes.

        Raises:
            HostLostError: The scheduler does not answer.
        """
        present = self._ask_scheduler(self._client.scheduler.ncores, workers=None).keys()
        if present != set(self._addresses.values()):
            self._addresses = {host.name: host.address for host in self.hosts()}
        return self._addresses

    def _ask_scheduler(self, request: Any, **arguments: Any) -> Any:
        try:
            return self._client.sync(request, **arguments)
        except (OSError, AttributeError, TimeoutError) as error:
            raise HostLostError(f"the scheduler {self.address} does not answer") from error

    def send(self, host: str, request: Record) -> Task:
        """Send a request to a host, which it answers when it is free."""
        from ovtool.fleet.host import handle

        future = self._client.submit(
            handle,
            messages.dump(request),
            key=f"{type(request).__name__.lower()}-{host}-{uuid.uuid4().hex}",
            workers=[host],
            allow_other_workers=False,
            resources={hardening.HOST: 1},
            retries=0,
            pure=False,
        )
        return Task(host, future)

    def result(self, task: Task, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the content of the reply.

        Raises:
            InputError: The host refused the request, or the reply is not valid.
            HostLostError: The host was lost, or did not answer in time.
        """
        try:
            text = task.future.result(timeout=timeout_s)
        except Exception as error:
            raise HostLostError(f"host {task.host} was lost") from error
        finally:
            with contextlib.suppress(Exception):
                task.future.release()
        try:
            return messages.parse_reply(text)
        except InputError as error:
            raise type(error)(f"host {task.host}: {error}", error.hint) from error

    def ask(self, host: str, request: Record, timeout_s: float = 300.0) -> dict[str, Any]:
        """Send a request and wait for the content of its reply; raises as :meth:`result` does."""
        return self.result(self.send(host, request), timeout_s)

    def stop(self) -> int:
        """Stop the workers and the scheduler; return the number of hosts.

        A host that measures ends too, without its group.

        Raises:
            HostLostError: The scheduler does not answer.
        """
        hosts = self.hosts()
        tasks = [self.send(host.name, messages.Stop()) for host in hosts if not host.busy]
        for task in tasks:
            with contextlib.suppress(HostLostError, InputError):
                self.result(task, STOP_S)
        with contextlib.suppress(OSError, TimeoutError):
            self._client.sync(self._client.scheduler.terminate)
        return len(hosts)


def certificates_folder(given: str | Path | None, address: str) -> Path | None:
    """Return the folder of certificates; None on loopback without the option."""
    if given is not None:
        return default_folder() if str(given) == DEFAULT else Path(given)
    rest = address.rpartition("://")[2]
    loopback = hardening.is_loopback(rest.rpartition(":")[0].strip("[]"))
    return None if loopback and not address.startswith("tls:") else default_folder()


def locate(fleet: str, certificates: str | Path | None = None) -> tuple[str, Path | None]:
    """Return the address of a fleet and its certificates, of an address or of ``HOSTS.yaml``.

    Raises:
        InputError: The file has mistakes.
    """
    if _is_file(fleet):
        read = read_hosts(fleet)
        if certificates is None and read.certificates is not None:
            certificates = Path(fleet).parent / read.certificates
        fleet = read.listen
    return fleet, certificates_folder(certificates, fleet)


def locate_shared(fleet: str) -> SharedStore | None:
    """Return the shared folder of ``HOSTS.yaml``; None of an address, or without one.

    Raises:
        InputError: The file has mistakes, or the folder is not reached.
    """
    if not _is_file(fleet):
        return None
    url = read_hosts(fleet).shared
    return None if url is None else SharedStore(url)


def _is_file(fleet: str) -> bool:
    return fleet.endswith((".yaml", ".yml")) or Path(fleet).is_file()


@contextlib.contextmanager
def connect(address: str, certificates: Path | None) -> Iterator[Fleet]:
    """Connect to the scheduler of a fleet.

    Dask is restricted in this process meanwhile, see :mod:`ovtool.fleet.hardening`.

    Raises:
        InputError: The address or the certificates are not valid.
        MissingError: The scheduler is not reached, or refuses the certificate.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    hardening.require_dask()
    address = hardening.require_address(address, encrypted=certificates is not None)
    from distributed import Client

    security = load_security(certificates, "client")
    with hardening.hardened():
        try:
            client = Client(
                address,
                security=security,
                timeout=CONNECT_S,
                set_as_default=False,
                heartbeat_interval="5 s",
            )
        except (OSError, TimeoutError, ValueError) as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            hint = "start it: ovtool fleet up HOSTS.yaml"
            if "certificate" in reason.lower():
                hint = "--certificates FOLDER: the folder of ovtool fleet certs of this fleet"
            raise MissingError(
                f"cannot connect to the fleet at {address}: {reason}", hint
            ) from error
        try:
            yield Fleet(client, address)
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=5)


def check_host(host: FleetHost, reply: dict[str, Any], asked_s: float) -> CheckedHost:
    """Check that the measurements of a host can be compared with those of this machine.

    Args:
        host: The host.
        reply: Its answer to :class:`ovtool.fleet.messages.Describe`.
        asked_s: When it was asked, in seconds since 1970.

    Raises:
        InputError: The host has another version of a package, a wrong clock, no disk, or cannot
            infer; the hint is what to do there.
    """
    try:
        state = messages.HostState.model_validate(reply)
        environment = Environment.model_validate(state.environment)
        devices = _DEVICES.validate_python(state.devices)
    except ValidationError as error:
        first = validation_message(error.errors()[0])[:200]
        raise InputError(f"host {host.name} sent an invalid description: {first}") from error
    offset_s = max(asked_s - state.clock_s, state.clock_s - time.time(), 0.0)
    require_same_versions(host.name, state.versions)
    if state.health_error:
        raise InputError(
            f"host {host.name} cannot infer on its CPU: {state.health_error}",
            "run ovtool devices on that host",
        )
    if state.free_mib < DISK_MIB:
        raise InputError(
            f"host {host.name} has {state.free_mib:.0f} MiB of free disk, and needs"
            f" {DISK_MIB:.0f} MiB",
            "free disk there, or start its worker with another --cache",
        )
    if offset_s > CLOCK_S:
        raise InputError(
            f"the clock of host {host.name} differs by {units.text(offset_s)} s",
            "set the clocks, for example by NTP",
        )
    environment = environment.model_copy(update={"labels": dict(host.labels)})
    return CheckedHost(host, environment, devices, state.free_mib, offset_s)


def require_same_versions(host: str, theirs: Mapping[str, str]) -> None:
    """Check that a host has the packages of this machine in the same versions.

    Raises:
        InputError: One differs; the hint is the line to run on the host.
    """
    own = _own_versions()
    for package in SAME:
        here, there = own.get(package), theirs.get(package)
        if here == there or (package == "nncf" and None in (here, there)):
            continue
        raise InputError(
            f"host {host} has {package} {there or 'not installed'}, this machine has {here}",
            f"on {host}: pip install {package}=={here}",
        )


@functools.cache
def _own_versions() -> Mapping[str, str]:
    """Return the versions of this machine, which take 10 ms to find."""
    return versions()
