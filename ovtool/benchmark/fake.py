"""A runner with scripted latencies for tests, which proves nothing about a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.benchmark.session import CompiledInfo, Job, RawRound, TextRequest, TrialFailedError
from ovtool.core.measurement import Window
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.graph.runtime import Layer

Script = Callable[[Trial, int], float]
"""Returns the latency in ms of an inference, by trial and round; may raise TrialFailedError."""


@dataclass(frozen=True, slots=True)
class FakeRunner:
    """Opens sessions that take no time and have scripted latencies."""

    script: Script
    noise_pct: float = 0.5
    seed: int = 0
    executed: Callable[[Trial], tuple[Layer, ...] | None] = lambda _: None

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Do nothing: there are no processes."""

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> FakeSession:  # noqa: ARG002 - part of the interface
        """Return a session; a script that fails in round -1 fails to compile."""
        self.script(job.trial, -1)
        return FakeSession(job, self, cached=cache is not None)

    def close(self) -> None:
        """Do nothing."""


class FakeSession:
    """A session of :class:`FakeRunner`: two windows of 100 ms a round, one request in flight."""

    def __init__(self, job: Job, runner: FakeRunner, *, cached: bool = False) -> None:
        self._job, self._runner = job, runner
        self._random = np.random.default_rng(runner.seed)
        self._index = 0
        self.closed = False
        self.info = CompiledInfo(
            figures={"requests": 1.0, "streams": 1.0, "threads": 1.0, "usable_cpus": 1.0},
            executed_precision="f32" if job.trial.precision == "f32" else "bf16",
            properties=job.properties,
            notes=job.notes,
            compile_ms=10.0 if cached else 100.0,
            first_inference_ms=5.0,
            loaded_from_cache=cached,
        )

    def measure(
        self, seconds: float, rate: float | None = None, concurrency: int | None = None
    ) -> RawRound:
        """Return windows with the scripted latency and noise; no time passes.

        In an open loop, the scripted latency is the service time of a single server.  A text
        generator takes it for each token and for each prompt, one prompt after another.
        """
        base = self._runner.script(self._job.trial, self._index)
        self._index += 1
        if (generation := self._job.trial.generation) is not None:
            together = concurrency or generation.concurrency or 1
            return self._measure_texts(base, together, generation.output_length)
        if rate is not None:
            return self._measure_open_loop(base, seconds, rate)
        windows, latencies = [], []
        for _ in range(2):
            count = max(1, round(seconds * 500 / base))
            noise = self._random.normal(1, self._runner.noise_pct / 100, count)
            latencies_ms = tuple(float(v) for v in base * noise)
            latencies.append(latencies_ms)
            windows.append(_window(latencies_ms, sum(latencies_ms) / 1000))
        return RawRound(tuple(windows), tuple(latencies), (), None, "a fake", 100.0, 50.0)

    def _measure_open_loop(self, base: float, seconds: float, rate: float) -> RawRound:
        due, free, latencies_ms = 0.0, 0.0, list[float]()
        while (due := due + self._random.exponential(1 / rate)) < seconds:
            free = max(due, free) + base / 1000
            latencies_ms.append((free - due) * 1000)
        latencies_ms = latencies_ms or [base]
        window = _window(tuple(latencies_ms), max(seconds, free))
        return RawRound((window,), (tuple(latencies_ms),), (), None, "a fake", 100.0, 50.0)

    def _measure_texts(self, base: float, concurrency: int, output_length: int) -> RawRound:
        """Return two waves of text requests."""
        windows, texts, latencies = [], [], []
        for _ in range(2):
            noise = float(self._random.normal(1, self._runner.noise_pct / 100))
            token_ms = base * noise
            requests = []
            for i in range(concurrency):
                first = (i + 1) * token_ms
                requests.append(
                    TextRequest(0.0, tuple(first + n * token_ms for n in range(output_length)))
                )
            latencies_ms = tuple(request.tokens_ms[-1] for request in requests)
            texts.append(tuple(requests))
            latencies.append(latencies_ms)
            windows.append(_window(latencies_ms, max(latencies_ms) / 1000))
        return RawRound(
            tuple(windows), tuple(latencies), (), None, "a fake", 100.0, 50.0, tuple(texts)
        )

    def layers(self) -> tuple[Layer, ...] | None:
        """Return the scripted layers of the trial."""
        return self._runner.executed(self._job.trial)

    def save_cache(self, folder: Path) -> float | None:  # noqa: ARG002 - part of the interface
        """Return an invented size."""
        return 1.0

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Raise TrialFailedError: there are no outputs."""
        raise TrialFailedError(f"the fake session cannot infer {inputs} into {outputs}")

    def close(self) -> None:
        """Record that the session is closed."""
        self.closed = True


def _window(latencies_ms: tuple[float, ...], seconds: float) -> Window:
    count = len(latencies_ms)
    mean_ms, max_ms = sum(latencies_ms) / count, max(latencies_ms)
    return Window(seconds, count, mean_ms, max_ms, seconds, seconds, 0.0)
