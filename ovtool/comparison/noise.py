"""The variation of a figure between two sweeps of the same configuration.

A sweep measures a trial in one process within seconds.  The interval of a figure covers the
variation in that time, but not the variation between sweeps: memory layout of the process, heat,
other processes, the clock of a virtual machine's host.  Kalibera and Jones 2013 ("Rigorous
Benchmarking in Reasonable Time") treat these as levels of variation: the variance of a mean is the
sum of each level's variance divided by its repetitions, so no number of windows replaces a second
run.  One sweep per side does not show the upper level, so an allowance is assumed and stated;
reruns measure it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALLOWANCE_PCT = 3.0
"""Default standard deviation between runs of a throughput or median latency.

A convention, 1.5 times the interval that a sweep aims at; reruns and
``tests/benchmarks/test_compare.py`` show that of a machine.
"""
FACTORS: Mapping[str, float] = {
    "throughput_fps": 1.0,
    "rate_rps": 1.0,
    "latency_p50_ms": 1.0,
    "latency_p99_ms": 3.0,
    "throughput_uncontended_fps": 3.0,
}
"""Variation of a figure relative to that of a throughput: tails and estimates from CPU time vary
more.

On a virtual machine of 2 processors with five to ten running processes, the estimate varied by
4.9% (standard deviation) over 21 sweeps, between a quiet and a busy machine by about 10%, and in
one pair of sweeps of the same file by half, so it decides nothing.
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation between runs of a figure's logarithm.

    ``degrees`` are its degrees of freedom; None for an allowance.
    """

    sd: float
    degrees: int | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """The variation between runs that a comparison assumes or has measured.

    Args:
        allowance_pct: Standard deviation between runs of a throughput, in percent.
        measured: Spread of the reruns by (device, column); replaces the allowance.
        reruns: Number of reruns of A.

    Raises:
        InputError: The allowance is out of range.
    """

    allowance_pct: float = ALLOWANCE_PCT
    measured: Mapping[tuple[str, str], Spread] | None = None
    reruns: int = 0

    def __post_init__(self) -> None:
        """Check the allowance."""
        if not (math.isfinite(self.allowance_pct) and 0 <= self.allowance_pct < 100):
            raise InputError(
                f"noise between runs out of range: {self.allowance_pct:g}%", "use 0 to 100%"
            )

    def of(self, device: str, column: str) -> Spread:
        """Return the variation of a figure on a device."""
        measured = (self.measured or {}).get((device, column))
        return measured or Spread(math.log1p(self.allowance_pct / 100) * FACTORS[column])

    @property
    def text(self) -> str:
        """The variation and its source, in one or two sentences."""
        if not self.measured:
            return (
                f"Assumed standard deviation between two runs (--noise): {self.allowance_pct:g}%"
                f" for throughput and p50 latency, {3 * self.allowance_pct:g}% for p99 latency."
                " No interval of a sweep covers it."
            )
        spreads = ", ".join(
            f"{column} on {device} {units.text(100 * math.expm1(spread.sd), 2)}%"
            for (device, column), spread in self.measured.items()
        )
        reruns = units.count_text(self.reruns, "rerun")
        return (
            f"Standard deviation between two runs, measured with {reruns} of A: {spreads}."
            f" Other figures: {self.allowance_pct:g}%, assumed."
        )


@dataclass(frozen=True, slots=True)
class RepeatedFigure:
    """One figure of the same trial in several runs."""

    device: str
    column: str
    group: str
    """The group of trials that were measured in turn and share their drift."""
    logs: tuple[float, ...]
    """Logarithm of the figure in each run."""


def measure_noise(repeated: Sequence[RepeatedFigure]) -> dict[tuple[str, str], Spread]:
    """Return the variation between runs by device and column.

    The variances of all trials are pooled.  Trials of a group share their drift, so a group counts
    the degrees of freedom of one trial.
    """
    by_figure: dict[tuple[str, str], dict[str, list[RepeatedFigure]]] = {}
    for figure in repeated:
        if len(figure.logs) > 1:
            groups = by_figure.setdefault((figure.device, figure.column), {})
            groups.setdefault(figure.group, []).append(figure)
    spreads = {}
    for key, groups in by_figure.items():
        degrees = [max(len(f.logs) - 1 for f in group) for group in groups.values()]
        within = [math.fsum(map(_variance, group)) / len(group) for group in groups.values()]
        pooled = math.fsum(d * v for d, v in zip(degrees, within, strict=True)) / sum(degrees)
        spreads[key] = Spread(math.sqrt(pooled), sum(degrees))
    return spreads


def _variance(figure: RepeatedFigure) -> float:
    mean = math.fsum(figure.logs) / len(figure.logs)
    return math.fsum((v - mean) ** 2 for v in figure.logs) / (len(figure.logs) - 1)
