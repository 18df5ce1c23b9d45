"""Dask's scheduler and worker with what a fleet needs: no web page, few requests answered.

This module imports Dask when it is imported, because it has subclasses.
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker  # noqa: TID253 - imported only in functions

WORKER_HANDLERS = frozenset({
    "identity", "connection_stream", "gather", "get_data", "free_keys", "terminate", "ping", "keys",
})  # fmt: skip
SCHEDULER_HANDLERS = frozenset({
    "identity", "connection_stream", "register-client", "register-worker", "unregister", "gather",
    "heartbeat_worker", "who_has", "has_what", "ncores", "processing", "terminate",
    "subscribe_worker_status", "retire_workers", "workers_to_close", "get_metadata", "set_metadata",
})  # fmt: skip
"""Requests that are answered.  Among the others are those that run, load or write anything."""


class FleetScheduler(Scheduler):  # type: ignore[misc] # Dask has no types
    """The scheduler of a fleet."""

    def __init__(self, address: str, security: Any, **_options: Any) -> None:
        super().__init__(
            host=host_of(address),
            port=int(address.rpartition(":")[2]),
            protocol=f"{address.partition(':')[0]}://",
            security=security,
            dashboard=False,
            jupyter=False,
            idle_timeout=None,
        )
        _keep(self.handlers, SCHEDULER_HANDLERS)

    def start_http_server(self, *_arguments: Any, **_options: Any) -> None:
        """Listen on no port but that of the fleet."""


class FleetWorker(Worker):  # type: ignore[misc] # Dask has no types
    """The worker of a host: one thread, one group of trials at a time."""

    def __init__(self, address: str, **options: Any) -> None:
        super().__init__(
            address,
            nthreads=1,
            memory_limit=0,
            protocol=f"{address.partition(':')[0]}://",
            dashboard=False,
            **options,
        )
        _keep(self.handlers, WORKER_HANDLERS)

    def start_http_server(self, *_arguments: Any, **_options: Any) -> None:
        """Listen on no port but that of the worker."""


def _keep(handlers: dict[str, Any], names: frozenset[str]) -> None:
    for name in [*handlers]:
        if name not in names:
            del handlers[name]


def host_of(address: str) -> str:
    """Return the host in an address."""
    return address.partition("://")[2].rpartition(":")[0].strip("[]")
