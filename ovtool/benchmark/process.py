"""Measures each trial in a process of its own: a crash, a hang or a kill costs one row."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ovtool.benchmark import layer_timing, worker_protocol
from ovtool.benchmark.session import Job, RawRound, TrialFailedError
from ovtool.core.third_party import condense
from ovtool.devices import plugin_errors
from ovtool.system.child_process import ChildProcess, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ovtool.benchmark.worker_protocol import WorkerProfile
    from ovtool.graph.runtime import Layer

T = TypeVar("T")

_PYTHON = (sys.executable, "-P", "-m")
_COMMAND = (*_PYTHON, "ovtool.benchmark.worker")
_TEXT_COMMAND = (*_PYTHON, "ovtool.benchmark.generation_worker")


@dataclass(slots=True)
class ProcessRunner:
    """Opens sessions in worker processes; the time limit is that of compiling and of each round."""

    timeout_s: float = 300.0
    seed: int = 0
    _ready: dict[tuple[str, ...], list[ChildProcess]] = field(default_factory=dict)

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Start workers in parallel; see :class:`ovtool.benchmark.session.Runner`."""
        for command, count in Counter(map(_command_of, jobs)).items():
            ready = self._ready.setdefault(command, [])
            ready += [self._start_worker(command) for _ in range(count - len(ready))]
        for workers in self._ready.values():
            for worker in workers:
                worker.wait_until_ready()

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> ProcessSession:
        """Compile in a worker; see :class:`ovtool.benchmark.session.Runner`."""
        command = _command_of(job)
        ready = self._ready.get(command)
        worker = ready.pop() if ready else self._start_worker(command)
        return ProcessSession(job, worker, self.seed, cache, warm_up)

    def close(self) -> None:
        """Stop the workers that no session uses."""
        for workers in self._ready.values():
            while workers:
                workers.pop().close()

    def _start_worker(self, command: tuple[str, ...]) -> ChildProcess:
        return ChildProcess(command, self.timeout_s)


def _command_of(job: Job) -> tuple[str, ...]:
    """Return the command of the worker of a job."""
    return _COMMAND if job.trial.generation is None else _TEXT_COMMAND


class ProcessSession:
    """A compiled model in a worker."""

    def __init__(
        self, job: Job, worker: ChildProcess, seed: int, cache: Path | None, warm_up: bool
    ) -> None:
        self._worker = worker
        self._names = list(job.names)
        inference = job.trial.generation is None
        parse = worker_protocol.parse_opened if inference else worker_protocol.parse_opened_text
        try:
            self.info = self._request(
                "open",
                lambda reply: parse(reply, job),
                batch=job.trial.batch,
                requests=job.trial.requests,
                rate=job.trial.rate,
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
                generation=job.trial.generation and asdict(job.trial.generation),
            )
        except BaseException:
            self.close()
            raise

    def measure(
        self, seconds: float, rate: float | None = None, concurrency: int | None = None
    ) -> RawRound:
        """Measure a round; see :class:`ovtool.benchmark.session.Session`."""
        given = {"seconds": seconds, "rate": rate, "concurrency": concurrency}
        return self._request("measure", worker_protocol.parse_round, **given)

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
