"""Workers as objects of this process, for tests that are not about processes.

The requests, the replies and the work are the real ones; only the process, which takes a second to
start, is not.  Tests of crashes, kills, time limits and memory use real processes.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Self

from ovtool.charts import render
from ovtool.system import child_process
from ovtool.system.child_process import ChildProcess, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    import pytest

_WORKERS = {"ovtool.benchmark.worker": "Worker", "ovtool.sweep.preparation": "PreparationWorker"}


class LocalWorker:
    """Stands for ``ChildProcess``: answers requests as ``serve`` does, without a process."""

    def __init__(self, module: str) -> None:
        self._worker: Any = getattr(importlib.import_module(module), _WORKERS[module])()
        self.pid = os.getpid()

    def wait_until_ready(self) -> None:
        """Do nothing: a worker is ready when it is created."""

    def request(self, method: str, *, timeout_s: Any = None, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002
        """Answer a request; requests and replies are JSON, as between processes."""
        request = json.loads(json.dumps({"method": method, **arguments}))
        try:
            return dict(json.loads(json.dumps(getattr(self._worker, method)(request))))
        except child_process._HANDLED_ERRORS as error:
            raise WorkerError("error", f"{type(error).__name__}: {error}", method) from error

    def parse(self, method: str, read: Callable[[], Any]) -> Any:  # noqa: ARG002
        """Return what ``read`` makes of a reply; here it must be valid."""
        return read()

    def close(self) -> None:
        """Release what the end of a process does: the compiled model and open files."""
        if getattr(self._worker, "counters", None) is not None:
            self._worker.counters.close()
        self._worker = None


def _start(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> LocalWorker | ChildProcess:
    """Start a worker; another command is a process."""
    if environment is None and command[-1] in _WORKERS:
        return LocalWorker(command[-1])
    return ChildProcess(command, timeout_s, environment)


def use_local_workers(patch: pytest.MonkeyPatch) -> None:
    """Measure and read models in this process, with warm-ups of a few short windows."""
    from ovtool.benchmark import process, worker
    from ovtool.sweep import preparation

    for module in (process, preparation):
        patch.setattr(module, "ChildProcess", _start)
    patch.setattr(worker, "WARM_UP_WINDOW_S", 0.005)
    patch.setattr(worker, "STEADY_PCT", float("inf"))


class _Immediate(Executor):
    """Stands for a pool of processes: calls at once."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - as a pool does
            future.set_exception(error)
        return future


@functools.cache
def _draw(spec: str) -> tuple[str, bytes]:
    return _DRAW(json.loads(spec))


_DRAW = render._draw
_LIBRARY = functools.cache(render._load_library)


class LocalRenderer(render.ChartRenderer):
    """Draws in this process; equal charts once."""

    def __enter__(self) -> Self:
        self._pool = _Immediate()  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there are no processes."""


def use_local_renderer(patch: pytest.MonkeyPatch) -> None:
    """Draw charts in this process."""
    patch.setattr(render.ChartRenderer, "__enter__", LocalRenderer.__enter__)
    patch.setattr(render.ChartRenderer, "__exit__", LocalRenderer.__exit__)
    patch.setattr(render, "_draw", lambda spec: _draw(json.dumps(spec)))
    patch.setattr(render, "_load_library", _LIBRARY)
