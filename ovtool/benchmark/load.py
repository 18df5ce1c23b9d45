"""The highest arrival rate that keeps a percentile of latency under a limit, by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.benchmark import windows
from ovtool.core import statistics, units
from ovtool.core.notes import Note, make_note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovtool.benchmark.session import RawRound, Session
    from ovtool.benchmark.windows import HostLoad
    from ovtool.core.statistics import Interval

TOLERANCE = 0.02
"""The bracket, by the rate, at which the search ends."""
STEPS = 12
BEYOND = 10
"""Requests slower than the percentile that an estimate of it rests on."""
PROBE_S = (1.0, 6.0)
TRIES = 3
"""How often a rate is measured at most, while it is not sure on which side of the limit it is."""
SERVED_SHARE = 0.95
"""Of the arrivals, that must be served; below it the queue grows for ever."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``latency_ms`` at a percentile."""

    latency_ms: float
    percentile: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"p{self.percentile} <= {self.latency_ms:g} ms"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a rate came to."""

    latency_ms: Interval
    served_share: float

    def keeps(self, limit: Limit) -> bool:
        """Whether the percentile keeps to the limit, and the queue does not grow."""
        return self.served_share >= SERVED_SHARE and self.latency_ms.value <= limit.latency_ms


@dataclass(frozen=True, slots=True)
class Bracket:
    """The highest rate seen to keep the limit and the lowest seen to miss it, requests a second."""

    kept: float
    missed: float


def highest_rate(
    probe: Callable[[float], Probe], limit: Limit, capacity: float
) -> Bracket | Interval:
    """Search between no load and what the device completes with every request busy.

    Args:
        probe: Measures a rate.
        limit: What must be kept.
        capacity: Requests completed a second when they never wait for an arrival.

    Returns:
        The bracket; or the latency at the least rate tried, where even that misses the limit.
    """
    kept, missed, least = 0.0, capacity, None
    for _ in range(STEPS):
        if missed - kept <= TOLERANCE * missed:
            break
        rate = (kept + missed) / 2
        found = probe(rate)
        if found.keeps(limit):
            kept = rate
        else:
            missed, least = rate, found.latency_ms
        if kept == 0.0 and missed < capacity / 2**5:
            break
    if kept == 0.0 and least is not None:
        return least
    return Bracket(kept, missed)


def probe_s(rate: float, percentile: int) -> float:
    """Return for how long a rate is measured, so that some requests lie beyond the percentile."""
    beyond = max(1e-3, 1 - percentile / 100)
    return min(max(PROBE_S[0], BEYOND / beyond / rate), PROBE_S[1])


def probe_session(session: Session, rate: float, limit: Limit, machine: HostLoad) -> Probe:
    """Measure a rate in a session, longer where its interval straddles the limit.

    Windows that neighbours disturbed are left out where enough were quiet.

    Raises:
        TrialFailedError: The session failed.
    """
    rounds: list[RawRound] = []
    while True:
        rounds.append(session.measure(probe_s(rate, limit.percentile), rate))
        taken = windows.select_windows(rounds, machine)
        latency = statistics.bootstrap_quantile(taken.latencies_ms, limit.percentile / 100)
        if len(rounds) == TRIES or not latency.low <= limit.latency_ms <= latency.high:
            break
    due = rate * math.fsum(w.seconds for w in taken.windows)
    scatter = 3 / math.sqrt(max(1.0, due))  # of Poisson arrivals, whatever the model does
    return Probe(latency, sum(w.inferences for w in taken.windows) / due + scatter)


def remeasured(limit: Limit, figures_found: Mapping[str, float]) -> list[Note]:
    """Return a note where the rate that was found missed its limit when it was measured at length.

    The search measures each rate for seconds only, and what disturbs the machine comes and goes.
    """
    name = f"latency_p{limit.percentile}_ms"
    latency = figures_found.get(name)
    if latency is None or latency <= limit.latency_ms:
        return []
    low = figures_found.get(f"{name}_ci_low", latency)
    surely = "" if low <= limit.latency_ms else ", beyond the interval"
    return [
        make_note("limit-missed-later", f"limit {limit}, measured {units.text(latency)} ms{surely}")
    ]
