"""Searches the highest arrival rate that keeps a latency percentile under a limit, by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.benchmark import token_figures, windows
from ovtool.core import statistics, units
from ovtool.core.columns import BY_NAME
from ovtool.core.notes import Note, make_note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ovtool.benchmark.session import RawRound, Session
    from ovtool.benchmark.windows import HostLoad
    from ovtool.core.statistics import Interval
    from ovtool.core.trial import Generation

TOLERANCE = 0.02
"""Relative width of the bracket that ends the search."""
STEPS = 12
BEYOND = 10
"""Number of requests above the percentile, for its estimate."""
PROBE_S = (1.0, 6.0)
MAX_ROUNDS = 3
"""Maximum rounds of a rate while its interval contains the limit."""
SEARCH_FACTOR = 6
"""Maximum time of the search, over that of the measurement."""
SERVED_SHARE = 0.95
"""Minimum share of arrivals served; below it, the queue grows without bound."""


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper limit of a latency percentile."""

    latency_ms: float
    percentile: int

    def __str__(self) -> str:
        """Return the limit as text: ``p99 <= 20 ms``."""
        return f"p{self.percentile} <= {self.latency_ms:g} ms"


@dataclass(frozen=True, slots=True)
class Probe:
    """The latency and the served share at a rate."""

    latency_ms: Interval
    served_share: float

    def meets(self, limit: Limit) -> bool:
        """Whether the percentile meets the limit, and the queue does not grow."""
        return self.served_share >= SERVED_SHARE and self.latency_ms.value <= limit.latency_ms


@dataclass(frozen=True, slots=True)
class Bracket:
    """The highest rate that met the limit and the lowest that missed it, in requests per second."""

    kept: float
    missed: float


def search_highest_rate(
    probe: Callable[[float], Probe],
    limit: Limit,
    capacity: float,
    in_time: Callable[[], bool] = lambda: True,
) -> Bracket | Interval:
    """Search between zero and the closed-loop ``capacity``, in requests per second.

    The search ends with a wider bracket where ``in_time`` is false before a further rate.

    Returns:
        The bracket, with ``kept`` 0 if the time was over before a rate met the limit; or the
        latency at the lowest rate, where that misses the limit.
    """
    kept, missed, lowest_latency = 0.0, capacity, None
    for step in range(STEPS):
        if missed - kept <= TOLERANCE * missed:
            break
        if step and not in_time():
            return Bracket(kept, missed)
        rate = (kept + missed) / 2
        result = probe(rate)
        if result.meets(limit):
            kept = rate
        else:
            missed, lowest_latency = rate, result.latency_ms
        if kept == 0.0 and missed < capacity / 2**5:
            break
    if kept == 0.0 and lowest_latency is not None:
        return lowest_latency
    return Bracket(kept, missed)


def compute_probe_s(rate: float, percentile: int) -> float:
    """Return the length of a round in seconds, so that some requests lie above the percentile."""
    beyond = max(1e-3, 1 - percentile / 100)
    return min(max(PROBE_S[0], BEYOND / beyond / rate), PROBE_S[1])


def probe_session(
    session: Session, rate: float, limit: Limit, host: HostLoad, max_s: float
) -> Probe:
    """Measure a rate by its quiet windows if enough; longer where its interval has the limit.

    ``max_s`` is the maximum time of a round.
    """
    rounds: list[RawRound] = []
    while True:
        seconds = min(compute_probe_s(rate, limit.percentile), max_s)
        rounds.append(session.measure(seconds, rate))
        selected = windows.select_windows(rounds, host)
        latency = statistics.bootstrap_quantile(selected.latencies_ms, limit.percentile / 100)
        if len(rounds) == MAX_ROUNDS or not latency.low <= limit.latency_ms <= latency.high:
            break
    due = rate * math.fsum(w.seconds for w in selected.windows)
    scatter = 3 / math.sqrt(max(1.0, due))  # three standard deviations of Poisson arrivals
    return Probe(latency, sum(w.inferences for w in selected.windows) / due + scatter)


MAX_CONCURRENCY = 256
"""The highest concurrency of a search; ContinuousBatchingPipeline schedules as many."""


@dataclass(frozen=True, slots=True)
class TextLimit:
    """An upper limit of a time of the requests of a text generator, by its column."""

    column: str
    limit_ms: float

    def __str__(self) -> str:
        """Return the limit as text: ``TTFT <= 20 ms``."""
        return f"{BY_NAME[self.column].title} <= {self.limit_ms:g} ms"


@dataclass(frozen=True, slots=True)
class TextMiss:
    """A limit that a concurrency misses, and by which figure."""

    limit: TextLimit
    figure: Interval

    def __str__(self) -> str:
        """Return limit and figure as text."""
        return f"limit {self.limit}, measured {units.text(self.figure.value)} ms"


def text_limits(generation: Generation) -> tuple[TextLimit, ...]:
    """Return the limits of a search for the highest concurrency."""
    limits = {"ttft_ms": generation.max_ttft_ms, "tpot_ms": generation.max_tpot_ms}
    return tuple(TextLimit(name, ms) for name, ms in limits.items() if ms is not None)


def search_highest_concurrency(
    probe: Callable[[int], TextMiss | None], in_time: Callable[[], bool] = lambda: True
) -> Bracket | TextMiss:
    """Search from one request upwards: double until a limit is missed, then bisect.

    Returns:
        The bracket, with ``missed`` infinite if no concurrency missed a limit, up to
        :data:`MAX_CONCURRENCY` or to the end of the time; or the limit that one request misses.
    """
    miss = probe(1)
    if miss is not None:
        return miss
    kept, missed = 1, math.inf
    while kept < MAX_CONCURRENCY and missed - kept > 1 and in_time():
        tried = min(2 * kept, MAX_CONCURRENCY) if math.isinf(missed) else int(kept + missed) // 2
        if probe(tried) is None:
            kept = tried
        else:
            missed = tried
    return Bracket(kept, missed)


def probe_concurrency(
    session: Session, concurrency: int, limits: Sequence[TextLimit], host: HostLoad, max_s: float
) -> TextMiss | None:
    """Measure a concurrency by its quiet windows if enough; longer where an interval has a limit.

    Returns the first limit that is missed; None if all are kept.
    """
    rounds: list[RawRound] = []
    while True:
        rounds.append(session.measure(min(PROBE_S[0], max_s), None, concurrency))
        selected = windows.select_windows(rounds, host)
        measured = [(limit, token_figures.quantile(selected, limit.column)) for limit in limits]
        decided = all(not v.known or v.excludes(limit.limit_ms) for limit, v in measured)
        if len(rounds) == MAX_ROUNDS or (decided and len(rounds) > 1):
            break
    return next((TextMiss(m, v) for m, v in measured if not v.value <= m.limit_ms), None)


def note_concurrency(bracket: Bracket) -> Note:
    """Return the note on the highest concurrency, and on the lowest one that misses a limit."""
    if math.isinf(bracket.missed):
        return make_note("concurrency-unlimited", f"{bracket.kept:.0f} is the highest tried")
    evidence = f"{bracket.kept:.0f} keeps the limits, {bracket.missed:.0f} does not"
    if bracket.missed - bracket.kept > 1:
        evidence += "; none between was tried in time"
    return make_note("concurrency-found", evidence)


def check_text_limits(limits: Sequence[TextLimit], figures: Mapping[str, float]) -> list[Note]:
    """Return a note on each limit that the full measurement misses; see :func:`check_limit`."""
    return [
        make_note("limit-missed-later", f"limit {limit}, measured {units.text(value)} ms")
        for limit in limits
        if (value := figures.get(limit.column, 0.0)) > limit.limit_ms
    ]


def check_search(bracket: Bracket) -> list[Note]:
    """Return a note where the time was over before the bracket was narrow."""
    if bracket.missed - bracket.kept <= TOLERANCE * bracket.missed:
        return []
    low, high = units.text(bracket.kept), units.text(bracket.missed)
    return [make_note("rate-search-stopped", f"between {low} and {high} requests/s")]


def check_limit(limit: Limit, figures: Mapping[str, float]) -> list[Note]:
    """Return a note where the full measurement at the highest rate misses the limit.

    The search measures each rate for a few seconds only, and disturbances vary.
    """
    name = f"latency_p{limit.percentile}_ms"
    latency = figures.get(name)
    if latency is None or latency <= limit.latency_ms:
        return []
    low = figures.get(f"{name}_ci_low", latency)
    certainty = "" if low <= limit.latency_ms else ", beyond the interval"
    evidence = f"limit {limit}, measured {units.text(latency)} ms{certainty}"
    return [make_note("limit-missed-later", evidence)]
