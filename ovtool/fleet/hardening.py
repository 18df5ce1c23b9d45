"""What Dask may do in a fleet: quiet settings, few handlers, no code that travels, small messages.

Dask sends tasks as pickles, which can name any function.  Here a pickle may name
:func:`ovtool.fleet.host.handle` and the classes around a task, and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import logging
import pickle
from typing import TYPE_CHECKING, Any, NoReturn

from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.fleet.messages import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "host"
"""Resource of which each worker has one: a host measures one group at a time."""
SETTINGS: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.http.routes": [],
    "distributed.worker.preload": [],
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.preload": [],
    "distributed.scheduler.worker-ttl": "60 s",
    "distributed.admin.system-monitor.interval": "10 s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.tick.interval": "2 s",
    "distributed.admin.tick.limit": "1 h",
    "distributed.comm.retry.count": 0,
    "distributed.comm.compression": None,
    "distributed.client.preload": [],
}
"""Settings of Dask that disturb no measurement, and load no code of its configuration."""
ALLOWED = frozenset({
    ("dask._expr", "Expr._reconstruct"), ("dask._expr", "LLGExpr"), ("dask._task_spec", "Task"),
    ("ovtool.fleet.host", "handle"), ("builtins", "str"), ("builtins", "bytes"),
    ("distributed.shuffle._worker_plugin", "ShuffleWorkerPlugin"),
})  # fmt: skip
"""Module and name of everything that a pickle may name."""
FRAME_BYTES = 2 * MAX_BYTES
"""Largest frame on a connection: a message with what Dask adds."""


class RefusedError(AttributeError):
    """A pickle names something that a fleet does not accept.

    Dask handles it as the AttributeError of a name that this machine does not have; any other
    error would end its loop that receives messages.
    """


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise RefusedError(f"refused: a message names {module}.{name}, which is not measuring")
        return super().find_class(module, name)


class _Pickle:
    """Stands for the module ``pickle``, with the loads of this module."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pickle, name)

    @staticmethod
    def loads(content: Any, *, buffers: Any = ()) -> Any:
        """Load a pickle that names only what is allowed."""
        return _Unpickler(io.BytesIO(content), buffers=buffers).load()


def require_dask() -> None:
    """Check that the extra is installed.

    Raises:
        MissingDependencyError: It is not.
    """
    try:
        import distributed  # noqa: F401 - whether it can be imported
    except ModuleNotFoundError as error:
        raise missing_package("ovtool fleet", error, "fleet") from error


@contextlib.contextmanager
def hardened() -> Iterator[None]:
    """Restrict Dask in this process to what a fleet needs.

    Raises:
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    require_dask()
    import dask
    from distributed import scheduler
    from distributed.comm import tcp
    from distributed.protocol import pickle as dask_pickle

    _quiet_logs()
    changed: Any = dask_pickle
    connections: Any = tcp
    intervals: Any = scheduler
    before, read, interval = changed.pickle, connections.read_bytes_rw, scheduler.heartbeat_interval
    changed.pickle, connections.read_bytes_rw = _Pickle(), _limited(read)
    intervals.heartbeat_interval = heartbeat_interval_s
    try:
        with dask.config.set(SETTINGS):
            yield
    finally:
        changed.pickle, connections.read_bytes_rw = before, read
        intervals.heartbeat_interval = interval


def heartbeat_interval_s(hosts: int) -> float:
    """Return the seconds between the heartbeats of a host.

    Dask has 0.5 s, and a heartbeat takes some milliseconds of the CPU of a host that measures.
    """
    return max(5.0, hosts / 100)


def _limited(read: Any) -> Any:
    async def read_limited(stream: Any, count: int) -> Any:
        if count > FRAME_BYTES:
            refuse_frame(count)
        return await read(stream, count)

    return read_limited


def refuse_frame(count: int) -> NoReturn:
    """Refuse a frame by its size, which closes the connection."""
    from distributed.comm import CommClosedError

    raise CommClosedError(
        f"refused: a message of {count} bytes, the limit is {FRAME_BYTES >> 20} MiB"
    )


def require_address(address: str, *, encrypted: bool) -> str:
    """Return an address as ``tls://HOST:PORT`` or ``tcp://127.0.0.1:PORT``.

    Raises:
        InputError: The address is not valid, or is not loopback without encryption.
    """
    scheme, separator, rest = address.rpartition("://")
    host, colon, port = rest.rpartition(":")
    host = host.strip("[]")
    known = scheme in ("", "tls", "tcp") and bool(scheme) == bool(separator)
    if not known or not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"address is not HOST:PORT: {address!r}", "such as tls://10.0.0.5:8786")
    if encrypted:
        if scheme == "tcp":
            raise InputError(f"{address} is not encrypted", f"use tls://{rest}")
    elif not is_loopback(host) or scheme == "tls":
        raise InputError(
            f"{address} needs certificates: without them a fleet uses 127.0.0.1 only",
            "ovtool fleet certs, then --certificates FOLDER on every machine",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{'tls' if encrypted else 'tcp'}://{shown}:{int(port)}"


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only; of names, only ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quiet_logs() -> None:
    """Keep the log of Dask, which its import sets up for stderr, off the terminal."""
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] in ("distributed", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers[:] = [logging.NullHandler()]
            logger.setLevel(logging.CRITICAL + 1)
