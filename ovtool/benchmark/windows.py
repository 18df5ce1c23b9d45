"""Judging windows: was the machine ours, and if not, who or what had it?

Each window is ``quiet`` or has one cause of disturbance.  The thresholds are shares of time, so
they hold for windows and processors of any number.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, get_args

from ovtool.core import statistics, units
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.benchmark.session import RawRound
    from ovtool.core.measurement import Verdict, Window
    from ovtool.core.notes import Note
    from ovtool.system.counters import Reading

Cause = Literal["paused", "quota", "clock", "hypervisor", "others"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

OTHERS_SHARE = 0.05
"""Share of the machine that others may take in a quiet window."""
WAIT_SHARE = 0.02
"""Share of the CPU time it wanted that a process alone may wait for, in a quiet window."""
STEAL_SHARE = 0.02
QUOTA_SHARE = 0.01
CLOCK_SHARE = 0.9
"""Share of the fastest clock seen below which a window was slowed down."""
PAUSED_S = 0.1
"""Least time without any work that is called a pause and not a slow inference."""
ENOUGH_S = 1.0
"""Quiet time that stands for a trial, however much was disturbed."""
MIN_ROUNDS = 3
"""Rounds that quiet windows must come from, where there were as many."""
TICK_S = 0.01
"""Linux and Windows count the machine's busy time in steps of 10 ms and more a processor."""


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What the windows of a trial are judged against.

    Args:
        cpus: Logical processors of the machine.
        usable: Those that the measuring process may run on.
        uses_cpu: Whether the device is the CPU itself, so that CPU time tells of its work.
    """

    cpus: int
    usable: int
    uses_cpu: bool


def classify_windows(windows: Sequence[Window], machine: HostLoad) -> list[Cause | None]:
    """Return the cause of disturbance of each window of a trial; None for a quiet one."""
    clocks = [w.clock_mhz for w in windows if w.clock_mhz is not None]
    fastest = max(clocks, default=None)
    shares = [s for w in windows if (s := _worked_share(w)) is not None]
    usual = median(shares) if shares else None
    latencies = [w.latency_mean_ms for w in windows]
    latency_ms = median(latencies) if latencies else math.nan
    return [_cause(w, machine, fastest, usual, latency_ms) for w in windows]


def _cause(
    w: Window, machine: HostLoad, fastest: float | None, usual: float | None, latency_ms: float
) -> Cause | None:
    if machine.uses_cpu and paused_s(w, usual, latency_ms) > 0:
        return "paused"
    if (w.quota_wait_s or 0.0) > QUOTA_SHARE * w.seconds:
        return "quota"
    slowed = fastest is not None and w.clock_mhz is not None and w.clock_mhz < CLOCK_SHARE * fastest
    if w.throttles or slowed:
        return "clock"
    if (w.steal_s or 0.0) > STEAL_SHARE * w.seconds * machine.cpus + TICK_S:
        return "hypervisor"
    return "others" if _others(w, machine) else None


def _others(w: Window, machine: HostLoad) -> bool:
    """Whether others took processors that the process wanted.

    Both signs are asked for where both are told: what others take elsewhere on a large machine
    does not make this process wait, and threads of its own that wait for one another are nobody
    else's doing.
    """
    taken = others_s(w)
    took = None
    if taken is not None:
        took = taken > OTHERS_SHARE * w.seconds * machine.usable + TICK_S * machine.usable
    waited = wait_share(w)
    if waited is None or not machine.uses_cpu:
        return bool(took)
    return waited > WAIT_SHARE and took is not False


def others_s(w: Window | Reading) -> float | None:
    """Return the CPU time that others and the hypervisor took; None where it is not told."""
    if w.cpu_s is None or w.busy_s is None:
        return None
    return max(0.0, w.busy_s + (w.steal_s or 0.0) - w.cpu_s)


def wait_share(w: Window) -> float | None:
    """Return the share of the CPU time it wanted that a process waited for; None where untold."""
    if w.delay_s is None or w.cpu_s is None:
        return None
    wanted = w.cpu_s + w.delay_s
    return w.delay_s / wanted if wanted > 0 else 0.0


def _worked_share(w: Window) -> float | None:
    """Return CPU time, spent or waited for, by wall time."""
    if w.cpu_s is None:
        return None
    return (w.cpu_s + (w.delay_s or 0.0) + (w.quota_wait_s or 0.0)) / w.seconds


def paused_s(w: Window, usual: float | None, latency_ms: float) -> float:
    """Return for how long the process was stopped in a window; 0 where it was not.

    A stopped process neither runs nor waits for a processor, which one that is merely slow does.

    Args:
        w: The window.
        usual: The trial's usual :func:`_worked_share`; None where it is not told.
        latency_ms: The trial's usual latency.
    """
    share = _worked_share(w)
    if share is None or not usual:
        return 0.0
    idle_s = w.seconds * (1 - share / usual)
    gap_s = (w.latency_max_ms - latency_ms) / 1000
    return min(idle_s, gap_s) if min(idle_s, gap_s) > PAUSED_S else 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A few inferences in a row, one request at a time: short enough to lie between neighbours.

    Args:
        seconds: Its length.
        inferences: Completed in it.
        cpu_s: CPU time of the process.
        delay_s: Time for which its threads were ready and waited for a processor.
    """

    seconds: float
    inferences: int
    cpu_s: float
    delay_s: float


STRETCH_WAIT_SHARE = 0.01
STRETCH_FULL_SHARE = 0.97


def select_undisturbed(rounds: Sequence[Sequence[Stretch]]) -> list[list[Stretch]]:
    """Return, for each round, the stretches in which the process had every processor it could use.

    In such a stretch no thread waited, and as much CPU time was spent a second as in the busiest
    ones: a thread that is asleep because a neighbour held it up a moment ago does not wait, and
    the work is done by fewer processors.  The first stretch after a disturbed one is left out,
    since its caches are still cold.
    """
    calm = [s for stretches in rounds for s in stretches if _calm(s)]
    if not calm:
        return [[] for _ in rounds]
    shares = sorted(s.cpu_s / s.seconds for s in calm)
    full = STRETCH_FULL_SHARE * shares[int(0.9 * (len(shares) - 1))]
    kept = []
    for stretches in rounds:
        fine = [_calm(s) and s.cpu_s / s.seconds >= full for s in stretches]
        kept.append([s for i, s in enumerate(stretches) if fine[i] and (i == 0 or fine[i - 1])])
    return kept


def _calm(s: Stretch) -> bool:
    return s.delay_s <= STRETCH_WAIT_SHARE * s.seconds


@dataclass(frozen=True, slots=True)
class SelectedWindows:
    """The windows that stand for a trial: the quiet ones where there are enough, else all.

    Args:
        windows: Those windows.
        latencies_ms: Of each inference, by window.
        blocks: The round of each window.
        causes: What disturbed each window of all the rounds; None for a quiet one.
        quiet: Whether disturbed windows were left out, or there were none.
    """

    windows: tuple[Window, ...]
    latencies_ms: tuple[tuple[float, ...], ...]
    blocks: tuple[int, ...]
    causes: tuple[Cause | None, ...]
    quiet: bool

    def rate(self, batch: int) -> Interval:
        """Return samples a second of wall time."""
        return statistics.bootstrap_rate(
            [w.inferences * batch for w in self.windows],
            [w.seconds for w in self.windows],
            self.blocks,
        )

    def cpu_rate(self, batch: int) -> Interval:
        """Return samples a second of CPU time; unknown where a window does not tell it."""
        spent = [w.cpu_s for w in self.windows if w.cpu_s is not None]
        if len(spent) != len(self.windows) or not sum(spent):
            return Interval(math.nan, math.nan, math.nan)
        samples = [w.inferences * batch for w in self.windows]
        return statistics.bootstrap_rate(samples, spent, self.blocks)

    def latency_ms(self, q: float) -> Interval:
        """Return a quantile of the latency of a request."""
        return statistics.bootstrap_quantile(self.latencies_ms, q, self.blocks)


def select_windows(rounds: Sequence[RawRound], machine: HostLoad) -> SelectedWindows:
    """Judge every window of a trial, and choose those that stand for it."""
    windows = [w for r in rounds for w in r.windows]
    latencies = [latency for r in rounds for latency in r.latencies_ms]
    blocks = [i for i, r in enumerate(rounds) for _ in r.windows]
    causes = classify_windows(windows, machine)
    quiet = [i for i, cause in enumerate(causes) if cause is None]
    seconds = math.fsum(windows[i].seconds for i in quiet)
    several = len({blocks[i] for i in quiet}) >= min(MIN_ROUNDS, len(rounds))
    enough = len(quiet) == len(windows) or (seconds >= ENOUGH_S and several)
    chosen = quiet if enough else range(len(windows))
    return SelectedWindows(
        tuple(windows[i] for i in chosen),
        tuple(latencies[i] for i in chosen),
        tuple(blocks[i] for i in chosen),
        tuple(causes),
        enough,
    )


def determine_verdict(
    taken: SelectedWindows,
    found: dict[str, float],
    figure: Interval,
    moved: Interval,
    target_pct: float,
) -> Verdict:
    """Judge a measurement by what disturbed it, or else by whether it converged.

    Neighbours that take little in each window, too little to tell from the clock's ticks, show
    over all of them.
    """
    if not taken.quiet:
        return _VERDICTS[_main_cause(taken.causes)]
    others, waited = found.get("others_cpu_pct", 0.0), found.get("cpu_wait_pct", 100.0)
    if others > 100 * OTHERS_SHARE and waited > 100 * WAIT_SHARE:
        return "contended"
    if "paused" in taken.causes:
        return "unsteady"
    drifted = moved.excludes(0.0) and abs(moved.value) > 2 * target_pct
    known = figure.known and figure.half_width_pct <= target_pct
    return "stable" if known and not drifted else "unsteady"


_VERDICTS: dict[Cause, Verdict] = {
    "paused": "unsteady",
    "quota": "throttled",
    "clock": "throttled",
    "hypervisor": "contended",
    "others": "contended",
}


def _main_cause(causes: Sequence[Cause | None]) -> Cause:
    counted = Counter(cause for cause in causes if cause is not None)
    return counted.most_common(1)[0][0]


_EVIDENCE: dict[Cause, tuple[str, str]] = {
    "quota": ("quota_wait_pct", "quota wait {} %"),
    "clock": ("clock_mhz", "clock {} MHz"),
    "hypervisor": ("steal_pct", "steal {} %"),
    "others": ("others_cpu_pct", "others' CPU {} %"),
}


def disturbances(taken: SelectedWindows, found: dict[str, float], verdict: Verdict) -> list[Note]:
    """Say what disturbed how many windows, whether or not they were left out."""
    notes = []
    for cause, count in Counter(c for c in taken.causes if c is not None).most_common():
        share = "excluded" if taken.quiet else "included"
        evidence = f"{count} of {len(taken.causes)} windows, {share}"
        name, text = _EVIDENCE.get(cause, ("", ""))
        if not taken.quiet and name in found:
            evidence += f"; {text.format(units.text(found[name]))}"
            if cause == "others" and "cpu_wait_pct" in found:
                evidence += f", CPU wait {units.text(found['cpu_wait_pct'])} %"
        notes.append(make_note(f"disturbed-{cause}", evidence))
    wandered = verdict == "unsteady" and "paused" not in taken.causes
    if taken.quiet and wandered and "drift_pct" in found:
        notes.append(
            make_note(
                "throughput-not-stable",
                f"{found['drift_pct']:+.1f} % from the first round to the last",
            )
        )
    return notes
