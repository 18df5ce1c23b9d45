"""Judging windows: was the machine ours, and if not, who or what had it?

Each window is ``quiet`` or has one cause of disturbance.  The thresholds are shares of time, so
they hold for windows and processors of any number.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.core.measurement import Window
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
TICK_S = 0.01
"""Linux and Windows count the machine's busy time in steps of 10 ms and more a processor."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the windows of a trial are judged against.

    Args:
        cpus: Logical processors of the machine.
        usable: Those that the measuring process may run on.
        uses_cpu: Whether the device is the CPU itself, so that CPU time tells of its work.
    """

    cpus: int
    usable: int
    uses_cpu: bool


def judge(windows: Sequence[Window], machine: Machine) -> list[Cause | None]:
    """Return the cause of disturbance of each window of a trial; None for a quiet one."""
    clocks = [w.clock_mhz for w in windows if w.clock_mhz is not None]
    fastest = max(clocks, default=None)
    shares = [s for w in windows if (s := _worked_share(w)) is not None]
    usual = statistics.median(shares) if shares else None
    latencies = [w.latency_mean_ms for w in windows]
    latency_ms = statistics.median(latencies) if latencies else math.nan
    return [_cause(w, machine, fastest, usual, latency_ms) for w in windows]


def _cause(
    w: Window, machine: Machine, fastest: float | None, usual: float | None, latency_ms: float
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


def _others(w: Window, machine: Machine) -> bool:
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


def undisturbed(rounds: Sequence[Sequence[Stretch]]) -> list[list[Stretch]]:
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
