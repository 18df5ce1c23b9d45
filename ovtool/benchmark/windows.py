"""Classifies windows by what disturbed them, selects the quiet ones, and derives the verdict.

Each window is quiet or has one cause of disturbance.  The thresholds are shares of time, so they
do not depend on the length of a window or the number of processors.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from ovtool.core import statistics, units
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.benchmark.session import RawRound, Stretch, TextRequest
    from ovtool.core.measurement import Verdict, Window
    from ovtool.system.counters import Reading

Cause = Literal["paused", "quota", "clock", "hypervisor", "others"]

OTHERS_SHARE = 0.05
"""Maximum share of the machine's CPU time that other processes use in a quiet window."""
WAIT_SHARE = 0.02
"""Maximum share of its CPU demand that the process waits in a quiet window."""
STEAL_SHARE = 0.02
QUOTA_SHARE = 0.01
CLOCK_SHARE = 0.9
"""Share of the trial's highest clock below which a window was slowed down."""
PAUSED_S = 0.1
"""Minimum time without work that counts as a pause rather than a slow inference."""
ENOUGH_S = 1.0
"""Quiet time that suffices for a trial."""
MIN_ROUNDS = 3
"""Minimum number of rounds with quiet windows."""
TICK_S = 0.01
"""Resolution of the machine's busy time on Linux and Windows, per processor."""


@dataclass(frozen=True, slots=True)
class HostLoad:
    """The processors of the host, and whether the trial's work runs on them.

    ``usable`` processors are those that the worker may use.  With ``uses_cpu`` the device is the
    CPU, so that CPU time measures its work.
    """

    cpus: int
    usable: int
    uses_cpu: bool


def classify_windows(windows: Sequence[Window], host: HostLoad) -> list[Cause | None]:
    """Return the cause of disturbance of each window of a trial; None for a quiet window."""
    clocks = [w.clock_mhz for w in windows if w.clock_mhz is not None]
    highest_mhz = max(clocks, default=None)
    shares = [s for w in windows if (s := _demand_share(w)) is not None]
    typical = median(shares) if shares else None
    latencies = [w.latency_mean_ms for w in windows]
    latency_ms = median(latencies) if latencies else math.nan
    return [_classify(w, host, highest_mhz, typical, latency_ms) for w in windows]


def _classify(
    w: Window, host: HostLoad, highest_mhz: float | None, typical: float | None, latency_ms: float
) -> Cause | None:
    if host.uses_cpu and compute_pause_s(w, typical, latency_ms) > 0:
        return "paused"
    if (w.quota_wait_s or 0.0) > QUOTA_SHARE * w.seconds:
        return "quota"
    slowed = (
        highest_mhz is not None
        and w.clock_mhz is not None
        and w.clock_mhz < CLOCK_SHARE * highest_mhz
    )
    if w.throttles or slowed:
        return "clock"
    if (w.steal_s or 0.0) > STEAL_SHARE * w.seconds * host.cpus + TICK_S:
        return "hypervisor"
    return "others" if _others_interfered(w, host) else None


def _others_interfered(w: Window, host: HostLoad) -> bool:
    """Whether other processes used processors that this process needed.

    Where both counters are known, both must agree: other processes on idle processors of a large
    machine do not make this process wait, and its own threads may wait for one another.
    """
    used_s = compute_others_s(w)
    exceeded = None
    if used_s is not None:
        exceeded = used_s > OTHERS_SHARE * w.seconds * host.usable + TICK_S * host.usable
    waited = compute_wait_share(w)
    if waited is None or not host.uses_cpu:
        return bool(exceeded)
    return waited > WAIT_SHARE and exceeded is not False


def compute_others_s(w: Window | Reading) -> float | None:
    """Return the CPU time of other processes and the hypervisor; None where unknown."""
    if w.cpu_s is None or w.busy_s is None:
        return None
    return max(0.0, w.busy_s + (w.steal_s or 0.0) - w.cpu_s)


def compute_wait_share(w: Window) -> float | None:
    """Return the share of its CPU demand that the process waited; None where unknown."""
    if w.delay_s is None or w.cpu_s is None:
        return None
    demand_s = w.cpu_s + w.delay_s
    return w.delay_s / demand_s if demand_s > 0 else 0.0


def _demand_share(w: Window) -> float | None:
    """Return CPU time, used or waited for, per wall time; None where unknown."""
    if w.cpu_s is None:
        return None
    return (w.cpu_s + (w.delay_s or 0.0) + (w.quota_wait_s or 0.0)) / w.seconds


def compute_pause_s(w: Window, typical: float | None, latency_ms: float) -> float:
    """Return how long the process was stopped in a window; 0 where it was not.

    A stopped process neither runs nor waits for a processor; a slow one does.  ``typical`` is the
    trial's typical :func:`_demand_share`, ``latency_ms`` its typical latency.
    """
    share = _demand_share(w)
    if share is None or not typical:
        return 0.0
    idle_s = w.seconds * (1 - share / typical)
    gap_s = (w.latency_max_ms - latency_ms) / 1000
    return min(idle_s, gap_s) if min(idle_s, gap_s) > PAUSED_S else 0.0


STRETCH_WAIT_SHARE = 0.01
STRETCH_FULL_SHARE = 0.97


def select_undisturbed(rounds: Sequence[Sequence[Stretch]]) -> list[list[Stretch]]:
    """Return, for each round, the stretches in which the process had all its processors.

    In such a stretch no thread waited, and the process used as much CPU time per second as in the
    busiest stretches.  A thread that sleeps after a delay does not wait, although fewer processors
    do the work.  The first stretch after a disturbed one is excluded, since its caches are cold.
    """
    undisturbed = [s for stretches in rounds for s in stretches if _is_undisturbed(s)]
    if not undisturbed:
        return [[] for _ in rounds]
    shares = sorted(s.cpu_s / s.seconds for s in undisturbed)
    full = STRETCH_FULL_SHARE * shares[int(0.9 * (len(shares) - 1))]
    kept = []
    for stretches in rounds:
        passed = [_is_undisturbed(s) and s.cpu_s / s.seconds >= full for s in stretches]
        kept.append([s for i, s in enumerate(stretches) if passed[i] and (i == 0 or passed[i - 1])])
    return kept


def _is_undisturbed(s: Stretch) -> bool:
    return s.delay_s <= STRETCH_WAIT_SHARE * s.seconds


@dataclass(frozen=True, slots=True)
class SelectedWindows:
    """The windows that represent a trial: the quiet ones where there are enough, else all.

    Args:
        latencies_ms: Latencies of the inferences, by window.
        texts: Requests of a text generator that end in a window; empty for other models.
        tokens: Tokens of all its requests in each window.
        blocks: Round of each window.
        causes: Cause of disturbance of each window of all rounds; None for a quiet window.
        quiet: Whether all selected windows are quiet.
    """

    windows: tuple[Window, ...]
    latencies_ms: tuple[tuple[float, ...], ...]
    blocks: tuple[int, ...]
    causes: tuple[Cause | None, ...]
    quiet: bool
    texts: tuple[tuple[TextRequest, ...], ...] = ()
    tokens: tuple[int, ...] = ()

    @property
    def amounts(self) -> tuple[int, ...]:
        """The work of each window: the tokens of a text generator, else the inferences."""
        return self.tokens or tuple(w.inferences for w in self.windows)

    def rate(self, batch: int) -> Interval:
        """Return samples per second of wall time."""
        return statistics.bootstrap_rate(
            [w.inferences * batch for w in self.windows],
            [w.seconds for w in self.windows],
            self.blocks,
        )

    def cpu_rate(self, batch: int) -> Interval:
        """Return samples per second of CPU time; unknown where a window has no CPU time."""
        spent = [w.cpu_s for w in self.windows if w.cpu_s is not None]
        if len(spent) != len(self.windows) or not sum(spent):
            return Interval(math.nan, math.nan, math.nan)
        samples = [w.inferences * batch for w in self.windows]
        return statistics.bootstrap_rate(samples, spent, self.blocks)

    def latency_ms(self, q: float) -> Interval:
        """Return a quantile of the latency of a request."""
        return statistics.bootstrap_quantile(self.latencies_ms, q, self.blocks)


def select_windows(rounds: Sequence[RawRound], host: HostLoad) -> SelectedWindows:
    """Classify the windows of a trial, and select those that represent it."""
    windows = [w for r in rounds for w in r.windows]
    latencies = [latency for r in rounds for latency in r.latencies_ms]
    blocks = [i for i, r in enumerate(rounds) for _ in r.windows]
    texts = [requests for r in rounds for requests in r.texts]
    tokens = [count for r in rounds for count in r.tokens]
    causes = classify_windows(windows, host)
    quiet = [i for i, cause in enumerate(causes) if cause is None]
    seconds = math.fsum(windows[i].seconds for i in quiet)
    enough_rounds = len({blocks[i] for i in quiet}) >= min(MIN_ROUNDS, len(rounds))
    enough = len(quiet) == len(windows) or (seconds >= ENOUGH_S and enough_rounds)
    selected = quiet if enough else range(len(windows))
    return SelectedWindows(
        tuple(windows[i] for i in selected),
        tuple(latencies[i] for i in selected),
        tuple(blocks[i] for i in selected),
        tuple(causes),
        enough,
        tuple(texts[i] for i in selected) if texts else (),
        tuple(tokens[i] for i in selected) if tokens else (),
    )


def determine_verdict(
    selected: SelectedWindows,
    figures: dict[str, float],
    headline: Interval,
    drift: Interval,
    target_pct: float,
) -> Verdict:
    """Return the verdict: the main disturbance, else whether the figure converged.

    The sum of all windows also shows other processes with less CPU time per window than the
    resolution of the clock.
    """
    if not selected.quiet:
        disturbed = Counter(cause for cause in selected.causes if cause is not None)
        return _VERDICTS[disturbed.most_common(1)[0][0]]
    others, waited = figures.get("others_cpu_pct", 0.0), figures.get("cpu_wait_pct", 100.0)
    if others > 100 * OTHERS_SHARE and waited > 100 * WAIT_SHARE:
        return "contended"
    if "paused" in selected.causes:
        return "unsteady"
    drifts = drift.excludes(0.0) and abs(drift.value) > 2 * target_pct
    converged = headline.known and headline.half_width_pct <= target_pct
    return "stable" if converged and not drifts else "unsteady"


_VERDICTS: dict[Cause, Verdict] = {
    "paused": "unsteady",
    "quota": "throttled",
    "clock": "throttled",
    "hypervisor": "contended",
    "others": "contended",
}


_EVIDENCE: dict[Cause, tuple[str, str]] = {
    "quota": ("quota_wait_pct", "quota wait {}%"),
    "clock": ("clock_mhz", "clock {} MHz"),
    "hypervisor": ("steal_pct", "steal {}%"),
    "others": ("others_cpu_pct", "others' CPU {}%"),
}


def describe_disturbances(
    selected: SelectedWindows, figures: dict[str, float], verdict: Verdict
) -> list[Note]:
    """Return a note on each cause of disturbance, with the number of windows."""
    notes = []
    for cause, count in Counter(c for c in selected.causes if c is not None).most_common():
        share = "excluded" if selected.quiet else "included"
        evidence = f"{count} of {len(selected.causes)} windows, {share}"
        name, text = _EVIDENCE.get(cause, ("", ""))
        if not selected.quiet and name in figures:
            evidence += f"; {text.format(units.text(figures[name]))}"
            if cause == "others" and "cpu_wait_pct" in figures:
                evidence += f", CPU wait {units.text(figures['cpu_wait_pct'])}%"
        notes.append(make_note(f"disturbed-{cause}", evidence))
    unexplained = verdict == "unsteady" and "paused" not in selected.causes
    if selected.quiet and unexplained and "drift_pct" in figures:
        evidence = f"{figures['drift_pct']:+.1f}% from the first round to the last"
        notes.append(make_note("throughput-not-stable", evidence))
    return notes
