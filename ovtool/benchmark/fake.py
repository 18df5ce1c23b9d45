"""A runner with scripted latencies for tests, which proves nothing about a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.benchmark.generation import Arrivals, PausableClock, Step, TextLoad, TextTimes
from ovtool.benchmark.session import CompiledInfo, Job, RawRound, TextRequest, TrialFailedError
from ovtool.core.measurement import Window
from ovtool.core.trial import Trial
from ovtool.core.units import MS_PER_S, NS_PER_S
from ovtool.system.counters import Reading

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
        self._load: TextLoad | None = None
        self._pipeline: FakeTextPipeline
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
        generator takes it for each prompt, and for the next token of all other requests together.
        """
        base = self._runner.script(self._job.trial, self._index)
        self._index += 1
        if (generation := self._job.trial.generation) is not None:
            together = None if rate else concurrency or generation.concurrency
            return self._measure_texts(seconds, Arrivals(together, rate), base)
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

    def _measure_texts(self, seconds: float, arrivals: Arrivals, base: float) -> RawRound:
        """Return a round of the real load on a scripted pipeline, on a clock of its own."""
        generation = self._job.trial.generation
        assert generation is not None  # noqa: S101 - checked by the caller
        if self._load is None or self._load.arrivals != arrivals:
            self._pipeline = FakeTextPipeline(base, self._noise)
            clock = PausableClock(self._pipeline.now)
            self._load = TextLoad(
                self._pipeline, clock, self._draw, generation.output_length, arrivals,
                seed=self._runner.seed, sleep=self._pipeline.sleep,
            )  # fmt: skip
            self._pipeline.clock = clock
            self._load.start()
        self._pipeline.base_ms = base
        recorded = self._load.measure(seconds, self._pipeline.read)
        return RawRound(
            tuple(Window(**window) for window in recorded.windows),
            tuple(map(tuple, recorded.latencies_ms)),
            (), None, "a fake", 100.0, 50.0,
            tuple(tuple(TextRequest(at, tuple(ms)) for at, ms in each) for each in recorded.texts),
            tuple(recorded.tokens),
        )  # fmt: skip

    def _noise(self) -> float:
        return float(self._random.normal(1, self._runner.noise_pct / 100))

    def _draw(self) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)

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


@dataclass(slots=True)
class _FakeText:
    output_length: int
    times: TextTimes


class FakeTextPipeline:
    """A text generator that takes a time for each prompt, one after another, and for each token.

    A step reads all prompts that wait, and gives each request a token; the requests with an earlier
    token share the time of theirs.  It is its own clock and its own counters.
    """

    def __init__(self, base_ms: float, noise: Callable[[], float] = lambda: 1.0) -> None:
        self.base_ms, self.clock = base_ms, PausableClock()
        self._noise = noise
        self._now_ns = 0
        self._requests: list[_FakeText] = []

    @property
    def in_flight(self) -> int:
        """Number of requests."""
        return len(self._requests)

    def now(self) -> int:
        """Return the time in ns."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ns += math.ceil(seconds * NS_PER_S)

    def read(self) -> Reading:
        """Return counters of a process with a processor of its own."""
        now_s = self._now_ns / NS_PER_S
        return Reading(cpu_s=now_s, busy_s=now_s, delay_s=0.0)

    def submit(self, prompt: NDArray[np.int64], output_length: int, submitted_ns: int) -> None:  # noqa: ARG002 - part of the interface
        """Add a request."""
        self._requests.append(_FakeText(output_length, TextTimes(submitted_ns)))

    def step(self) -> Step:
        """Give each request a token."""
        prompts = sum(not each.times.tokens_ns for each in self._requests)
        parts = prompts + (prompts < len(self._requests))
        self.sleep(parts * self.base_ms * self._noise() / MS_PER_S)
        now, finished, tokens = self.clock(), [], len(self._requests)
        for each in self._requests:
            each.times.tokens_ns.append(now)
            if len(each.times.tokens_ns) == each.output_length:
                finished.append(each)
        self._requests = [r for r in self._requests if len(r.times.tokens_ns) < r.output_length]
        return Step(tokens, [each.times for each in finished])


def _window(latencies_ms: tuple[float, ...], seconds: float) -> Window:
    count = len(latencies_ms)
    mean_ms, max_ms = sum(latencies_ms) / count, max(latencies_ms)
    return Window(seconds, count, mean_ms, max_ms, seconds, seconds, 0.0)
