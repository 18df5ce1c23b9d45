"""A runner with scripted latencies: plans, journals, reports and choices in milliseconds.

What only this runner passed proves nothing of a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.measure.session import Job, Opened, RawRound, TrialFailedError
from ovtool.results import Window
from ovtool.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

Script = Callable[[Trial, int], float]
"""Latency in ms of one inference, by trial and round; it may raise :class:`TrialFailedError`."""


@dataclass(frozen=True, slots=True)
class FakeRunner:
    """Opens sessions that take no time and answer as the script says."""

    script: Script
    noise_pct: float = 0.5
    seed: int = 0

    def open(self, job: Job) -> FakeSession:
        """Return a session; a script that fails on round -1 fails to compile."""
        self.script(job.trial, -1)
        return FakeSession(job, self)


class FakeSession:
    """A session of :class:`FakeRunner`: two windows of 100 ms a round, one request in flight."""

    def __init__(self, job: Job, runner: FakeRunner) -> None:
        self._job, self._runner = job, runner
        self._random = np.random.default_rng(runner.seed)
        self._index = 0
        self.closed = False
        self.opened = Opened(
            figures={"compile_cold_ms": 100.0, "requests": 1.0, "streams": 1.0, "threads": 1.0},
            executed_precision="f32" if job.trial.precision == "f32" else "bf16",
            properties=job.properties,
        )

    def measure(self, seconds: float) -> RawRound:
        """Return windows of the scripted latency with a little noise; no time passes."""
        base = self._runner.script(self._job.trial, self._index)
        self._index += 1
        windows, latencies = [], []
        for _ in range(2):
            count = max(1, round(seconds * 500 / base))
            noise = self._random.normal(1, self._runner.noise_pct / 100, count)
            taken = tuple(float(v) for v in base * noise)
            latencies.append(taken)
            total_s = sum(taken) / 1000
            windows.append(
                Window(total_s, count, sum(taken) / count, max(taken), total_s, total_s, 0.0)
            )
        return RawRound(tuple(windows), tuple(latencies), None, "a fake", 100.0)

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Refuse: a fake has no outputs.

        Raises:
            TrialFailedError: Always.
        """
        raise TrialFailedError(f"a fake cannot infer {inputs} into {outputs}")

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True
