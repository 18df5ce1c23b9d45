"""Measures each trial in a process of its own: a crash, a hang or a kill costs one row."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ovtool.benchmark import layer_timing, worker_protocol
from ovtool.benchmark.session import Job, RawRound, TrialFailedError
from ovtool.core.third_party import condense
from ovtool.devices import plugin_errors
from ovtool.system.child_process import ChildProcess, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovtool.benchmark.worker_protocol import WorkerProfile
    from ovtool.graph.runtime import Layer

T = TypeVar("T")

_COMMAND = (sys.executable, "-P", "-m", "ovtool.benchmark.worker")


@dataclass(slots=True)
class ProcessRunner:
    """Opens sessions in worker processes; the time limit is that of compiling and of each round."""

    timeout_s: float = 300.0
    seed: int = 0
    _ready: list[ChildProcess] = field(default_factory=list)

    def prepare(self, count: int) -> None:
        """Start workers in parallel; see :class:`ovtool.benchmark.session.Runner`."""
        self._ready += [self._start_worker() for _ in range(count - len(self._ready))]
        for worker in self._ready:
            worker.wait_until_ready()

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> ProcessSession:
        """Compile in a worker; see :class:`ovtool.benchmark.session.Runner`."""
        worker = self._ready.pop() if self._ready else self._start_worker()
        return ProcessSession(job, worker, self.seed, cache, warm_up)

    def close(self) -> None:
        """Stop the workers that no session uses."""
        while self._ready:
            self._ready.pop().close()

    def _start_worker(self) -> ChildProcess:
        return ChildProcess(_COMMAND, self.timeout_s)


class ProcessSession:
    """A compiled model in a worker."""

    def __init__(
        self, job: Job, worker: ChildProcess, seed: int, cache: Path | None, warm_up: bool
    ) -> None:
        self._worker = worker
        self._names = list(job.names)
        try:
            self.info = self._request(
                "open",
                lambda reply: worker_protocol.parse_opened(reply, job),
                batch=job.trial.batch,
                requests=job.trial.requests,
                shapes=job.shapes,
                data_shapes=job.data_shapes,
                xml=str(job.xml),
                device=job.trial.device,
                properties=dict(job.properties),
                batch_axes=job.batch_axes,
                output_axes=job.output_axes,
                names=self._names,
                inputs=str(job.inputs) if job.inputs else None,
                seed=seed,
                cache=str(cache) if cache else None,
                warm_up=warm_up,
            )
        except BaseException:
            self.close()
            raise

    def measure(self, seconds: float, rate: float | None = None) -> RawRound:
        """Measure a round; see :class:`ovtool.benchmark.session.Session`."""
        return self._request("measure", worker_protocol.parse_round, seconds=seconds, rate=rate)

    def save_cache(self, folder: Path) -> float | None:
        """Fill a model cache; see :class:`ovtool.benchmark.session.Session`."""
        return self._request("save_cache", worker_protocol.parse_blob_mib, folder=str(folder))

    def profile(self, seconds: float, rounds: int = layer_timing.ROUNDS) -> WorkerProfile:
        """Time each layer for about ``seconds``, with and without counters in ``rounds`` turns."""
        parse = worker_protocol.parse_profile
        return self._request("profile", parse, seconds=seconds, rounds=rounds)

    def layers(self) -> tuple[Layer, ...] | None:
        """Return the executed layers; see :class:`ovtool.benchmark.session.Session`."""
        return self._request("layers", worker_protocol.parse_layers)

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Infer the samples of a file; see :class:`ovtool.benchmark.session.Session`."""
        files = {"inputs": str(inputs), "outputs": str(outputs)}
        self._request("infer", lambda _: None, **files, names=self._names)

    def close(self) -> None:
        """Stop the worker."""
        self._worker.close()

    def _request(self, method: str, parse: Callable[[dict[str, Any]], T], **arguments: Any) -> T:
        try:
            reply = self._worker.request(method, **arguments)
            return self._worker.parse(method, lambda: parse(reply))
        except WorkerError as error:
            reason = str(error)
            if error.failure == "error":
                known = plugin_errors.explain(reason)
                reason = condense(reason) if known is None else known.line
            raise TrialFailedError(reason) from error
