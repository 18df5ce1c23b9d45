"""A host: answers the requests of clients, one at a time, from its cache and its processes."""

from __future__ import annotations

import base64
import binascii
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.system_errors import explain
from ovtool.fleet import messages
from ovtool.fleet.cache import Cache
from ovtool.fleet.messages import AnyRequest, Data, Describe, Reply, Stop, Store, Stored
from ovtool.system.child_process import ChildProcess, WorkerError

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.fleet.shared import SharedStore

_COMMAND = (sys.executable, "-P", "-m", "ovtool.fleet.measuring")
_DESCRIBE_S = 300.0
"""Limit of describing a host; the first use of a GPU takes long."""
ATTEMPTS = 3
"""Starts of the process that measures, for a request during which it dies."""
HOSTS: dict[str, Host] = {}
"""The hosts of this process, by name: one, except in tests."""


def handle(text: str) -> str:
    """Answer a request: the only function that a client can call on a host.

    The worker of Dask that runs it has the name of the host.
    """
    from distributed import get_worker

    return HOSTS[str(get_worker().name)].answer(text)


class Host:
    """Answers requests.

    ``cache`` is its folder, ``cache_mib`` its limit; ``shared`` has files of clients.
    """

    def __init__(
        self,
        name: str,
        cache: Path,
        cache_mib: float | None = None,
        shared: SharedStore | None = None,
    ) -> None:
        self._name, self._cache, self._shared = name, Cache(cache, cache_mib), shared
        self.stopped = False
        """Whether a client asked the worker to end."""
        self._worker: ChildProcess | None = None
        self._lock = threading.Lock()
        self._numbers, self._latest = itertools.count(1), 0
        # On Linux a process ends with the thread that started it; threads of Dask end with a
        # connection to the scheduler.
        self._starter = ThreadPoolExecutor(1)

    def answer(self, text: str) -> str:
        """Return the reply to a request; an error is a reply as well."""
        try:
            request = messages.parse_request(text)
            reply = Reply(ok=self._do(request))
            return messages.dump(reply)
        except OvtoolError as error:
            failed = isinstance(error, messages.MeasuringFailedError)
            return messages.dump(Reply(error=str(error), hint=error.hint, failed=failed))
        except (OSError, ValueError, MemoryError) as error:
            known = explain(error)
            return messages.dump(Reply(error=str(known or error)[:500]))

    def close(self) -> None:
        """Stop the process that measures."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            worker.close()

    def _do(self, request: AnyRequest) -> dict[str, Any]:
        if isinstance(request, Describe):
            state = self._request("describe", _DESCRIBE_S)
            return {**state, "free_mib": self._cache.free_mib, "clock_s": time.time()}
        if isinstance(request, Stored):
            self._cache.need(request.files)
            if self._shared is not None:
                for each in request.files:
                    self._cache.take(each, self._shared)
            return {"files": {each: self._cache.stored(each) for each in request.files}}
        if isinstance(request, Store):
            stored = self._cache.store(
                request.sha256, request.size, request.offset, _decode(request.content)
            )
            return {"stored": stored}
        if isinstance(request, Stop):
            self.stopped = True
            return {}
        folders = {i: str(self._cache.folder_of(f)) for i, f in request.variants.items()}
        return self._request(
            "measure",
            request.timeout_s,
            environment=request.environment,
            trials=list(request.trials),
            settings=request.settings,
            folders=folders,
            data=None if request.data is None else self._locate(request.data),
            evaluated=list(request.evaluated),
        )

    def _locate(self, data: Data) -> dict[str, Any]:
        """Return a dataset with the paths of its files on this host."""
        found = data.model_dump()
        listed = found.pop("files")
        if listed is not None:
            folder = self._cache.folder_of(self._cache.read_list(listed))
            found["source"] = str(folder / data.source)
            found["labels"] = None if data.labels is None else str(folder / data.labels)
        return found

    def _request(self, method: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Ask the process that measures; one that dies gets :data:`ATTEMPTS`.

        A request of a client that has lost its connection may still run: it is stopped, so that
        no two groups are measured at the same time.
        """
        number = next(self._numbers)
        self._latest = number
        while not self._lock.acquire(blocking=False):
            self.close()
            time.sleep(0.05)
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._ask(method, timeout_s, arguments)
                except WorkerError as error:
                    if error.failure == "error":
                        raise InputError(str(error)) from error
                    self.close()
                    again = error.failure == "died" and attempt < ATTEMPTS
                    if not again or self._latest != number:
                        raise messages.MeasuringFailedError(str(error)) from error
            raise AssertionError
        finally:
            self._lock.release()

    def _ask(self, method: str, timeout_s: float, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._worker is None:
            self._worker = self._starter.submit(ChildProcess, _COMMAND, _DESCRIBE_S).result()
        return self._worker.request(method, timeout_s=timeout_s, host=self._name, **arguments)


def _decode(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"request refused: content: not Base64: {error}") from error
