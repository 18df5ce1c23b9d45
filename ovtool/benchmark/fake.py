"""A runner with scripted latencies: plans, journals, reports and choices in milliseconds.

What only this runner passed proves nothing of a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.benchmark.session import Job, Opened, RawRound, TrialFailedError
from ovtool.core.measurement import Window
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.graph.runtime_layers import Layer

Script = Callable[[Trial, int], float]
"""Latency in ms of one inference, by trial and round; it may raise :class:`TrialFailedError`."""


@dataclass(frozen=True, slots=True)
class FakeRunner:
    """Opens sessions that take no time and answer as the script says."""

    script: Script
    noise_pct: float = 0.5
    seed: int = 0
    executed: Callable[[Trial], tuple[Layer, ...] | None] = lambda _: None

    def prepare(self, count: int) -> None:
        """Do nothing: a fake has no processes."""

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> FakeSession:  # noqa: ARG002 - a fake is warm
        """Return a session; a script that fails on round -1 fails to compile."""
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
        self.opened = Opened(
            figures={"requests": 1.0, "streams": 1.0, "threads": 1.0, "usable_cpus": 1.0},
            executed_precision="f32" if job.trial.precision == "f32" else "bf16",
            properties=job.properties,
            notes=job.notes,
            compile_ms=10.0 if cached else 100.0,
            first_inference_ms=5.0,
            loaded_from_cache=cached,
        )

    def measure(self, seconds: float, rate: float | None = None) -> RawRound:
        """Return windows of the scripted latency with a little noise; no time passes.

        Requests that arrive at a rate queue for one server, whose service the script times.
        """
        base = self._runner.script(self._job.trial, self._index)
        self._index += 1
        if rate is not None:
            return self._arriving(base, seconds, rate)
        windows, latencies = [], []
        for _ in range(2):
            count = max(1, round(seconds * 500 / base))
            noise = self._random.normal(1, self._runner.noise_pct / 100, count)
            taken = tuple(float(v) for v in base * noise)
            latencies.append(taken)
            windows.append(_window(taken, sum(taken) / 1000))
        return RawRound(tuple(windows), tuple(latencies), (), None, "a fake", 100.0, 50.0)

    def _arriving(self, base: float, seconds: float, rate: float) -> RawRound:
        due, free, taken = 0.0, 0.0, list[float]()
        while (due := due + self._random.exponential(1 / rate)) < seconds:
            free = max(due, free) + base / 1000
            taken.append((free - due) * 1000)
        taken = taken or [base]
        window = _window(tuple(taken), max(seconds, free))
        return RawRound((window,), (tuple(taken),), (), None, "a fake", 100.0, 50.0)

    def layers(self) -> tuple[Layer, ...] | None:
        """Return what was scripted for its trial; None where nothing was."""
        return self._runner.executed(self._job.trial)

    def save_cache(self, folder: Path) -> float | None:  # noqa: ARG002 - a fake writes nothing
        """Return the size of a compiled model that is not there."""
        return 1.0

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Refuse: a fake has no outputs.

        Raises:
            TrialFailedError: Always.
        """
        raise TrialFailedError(f"a fake cannot infer {inputs} into {outputs}")

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def _window(latencies_ms: tuple[float, ...], seconds: float) -> Window:
    count = len(latencies_ms)
    mean_ms, max_ms = sum(latencies_ms) / count, max(latencies_ms)
    return Window(seconds, count, mean_ms, max_ms, seconds, seconds, 0.0)
