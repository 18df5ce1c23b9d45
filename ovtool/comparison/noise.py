"""How far a figure moves from one sweep to the next although nothing changed.

A sweep measures a trial in one process within some seconds.  The interval of its figures holds
what varies in that time, and not what differs between two sweeps: where the process's memory came
to lie, heat, neighbours, the clock of a virtual machine's host.  Kalibera and Jones 2013 ("Rigorous
Benchmarking in Reasonable Time") take these as levels of variation: the variance of a mean is the
sum of each level's, divided by its repetitions, so that no number of windows makes up for one run.
With one sweep on either side the upper level cannot be estimated from the two (what they differ
by is what is asked for), so it is an allowance, stated openly; with reruns it is measured.
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
"""Standard deviation between runs of a throughput or median latency, where nothing else is said.

A convention, half as wide again as the interval that a sweep aims at; a machine's own is what
reruns and ``tests/benchmarks/test_compare.py`` show.
"""
FACTORS: Mapping[str, float] = {
    "throughput_fps": 1.0,
    "rate_rps": 1.0,
    "latency_p50_ms": 1.0,
    "latency_p99_ms": 3.0,
    "throughput_uncontended_fps": 3.0,
}
"""How much more than a throughput a figure moves: tails, and estimates from CPU time.

On a virtual machine of 2 processors with five to ten processes running at any time, the estimate
moved by 4.9 % (standard deviation) from one to the next of 21 sweeps; from a quiet to a busy
machine it moves by some 10 %.
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation between runs of a figure's logarithm, and how well it is known."""

    sd: float
    degrees: int | None = None
    """Degrees of freedom; None where it is an allowance."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The variation between runs that figures are judged with.

    Args:
        allowance_pct: Standard deviation between runs of a throughput, in per cent.
        measured: What reruns show, by (device, column); it stands in place of the allowance.
        reruns: How many sweeps of A it was measured with, A itself left out.
    """

    allowance_pct: float = ALLOWANCE_PCT
    measured: Mapping[tuple[str, str], Spread] | None = None
    reruns: int = 0

    def __post_init__(self) -> None:
        """Check the allowance."""
        if not (math.isfinite(self.allowance_pct) and 0 <= self.allowance_pct < 100):
            raise InputError(
                f"the noise between runs must be within 0 and 100 %, not {self.allowance_pct:g} %"
            )

    def of(self, device: str, column: str) -> Spread:
        """Return the variation of one figure on one device."""
        found = (self.measured or {}).get((device, column))
        return found or Spread(math.log1p(self.allowance_pct / 100) * FACTORS[column])

    @property
    def text(self) -> str:
        """What it is and where it comes from, in one sentence."""
        tail = (
            f"Between two runs a throughput or median latency is taken to vary by"
            f" {self.allowance_pct:g} % (standard deviation), a 99th percentile or an estimate from"
            f" CPU time by {3 * self.allowance_pct:g} %"
        )
        if not self.measured:
            return f"{tail}: an allowance (--noise), for drift between sweeps is in no interval."
        shown = ", ".join(
            f"{column} on {device} {units.text(100 * math.expm1(spread.sd), 2)} %"
            for (device, column), spread in self.measured.items()
        )
        many = f"{self.reruns} rerun{'' if self.reruns == 1 else 's'} of A"
        return (
            f"Variation between two runs (standard deviation), measured with {many}: {shown}."
            f" What was not measured again has the allowance of {self.allowance_pct:g} %."
        )


@dataclass(frozen=True, slots=True)
class Repeated:
    """The logarithms of one figure in several runs of the same trial.

    Args:
        device: Where.
        column: Of the figure.
        moment: What was measured in turn with it, so that both drift alike.
        logs: One a run.
    """

    device: str
    column: str
    moment: str
    logs: tuple[float, ...]


def measured_noise(repeated: Sequence[Repeated]) -> dict[tuple[str, str], Spread]:
    """Return the variation between runs that repeated trials show, by device and column.

    The variances of all trials are pooled.  Those measured in turn share their drift, so a group
    of them counts no degrees of freedom beyond those of one trial.
    """
    found: dict[tuple[str, str], list[Repeated]] = {}
    for one in repeated:
        if len(one.logs) > 1:
            found.setdefault((one.device, one.column), []).append(one)
    spreads = {}
    for key, several in found.items():
        moments: dict[str, list[Repeated]] = {}
        for one in several:
            moments.setdefault(one.moment, []).append(one)
        degrees = [max(len(one.logs) - 1 for one in group) for group in moments.values()]
        within = [math.fsum(map(_variance, group)) / len(group) for group in moments.values()]
        pooled = math.fsum(d * v for d, v in zip(degrees, within, strict=True)) / sum(degrees)
        spreads[key] = Spread(math.sqrt(pooled), sum(degrees))
    return spreads


def _variance(one: Repeated) -> float:
    mean = math.fsum(one.logs) / len(one.logs)
    return math.fsum((v - mean) ** 2 for v in one.logs) / (len(one.logs) - 1)
