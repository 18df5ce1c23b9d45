"""Workers as objects of this process, for tests that are not about processes.

The requests, the replies and the work are the real ones; only the process, which takes a second to
start, is not.  Tests of crashes, kills, time limits and memory use real processes.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
from typing import TYPE_CHECKING

from ovtool.charts import render
from ovtool.system import child_process
from ovtool.system.child_process import ChildProcess, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    import pytest

_WORKERS = {
    "ovtool.benchmark.worker": "Worker",
    "ovtool.benchmark.generation_worker": "GenerationWorker",
    "ovtool.charts.render": "DrawingWorker",
    "ovtool.sweep.preparation": "PreparationWorker",
}


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

    def kill(self) -> None:
        """Do nothing: there is no process."""

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


@functools.cache
def _draw(spec: str) -> dict[str, str]:
    return _DRAW(None, {"spec": json.loads(spec)})


_DRAW = render.DrawingWorker.draw
_LIBRARY = functools.cache(render._load_library)


def use_local_renderer(patch: pytest.MonkeyPatch) -> None:
    """Draw charts in this process; equal charts once."""
    patch.setattr(render, "ChildProcess", _start)
    patch.setattr(
        render.DrawingWorker, "draw", lambda _, request: _draw(json.dumps(request["spec"]))
    )
    patch.setattr(render, "_load_library", _LIBRARY)
