"""The verdict on how a measurement went, and what disturbed it, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ovtool.benchmark import contention
from ovtool.core import units
from ovtool.core.measurement import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.benchmark.contention import Cause
    from ovtool.benchmark.figures import Taken
    from ovtool.core.measurement import Verdict
    from ovtool.core.statistics import Interval


def judge(
    taken: Taken,
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
    if others > 100 * contention.OTHERS_SHARE and waited > 100 * contention.WAIT_SHARE:
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


_CAUSES: dict[Cause, str] = {
    "paused": "the measuring process was stopped: it neither ran nor waited for a processor",
    "quota": "a control group's CPU quota held the process",
    "clock": "the processor lowered its clock or throttled itself",
    "hypervisor": "the hypervisor gave the processors to others",
    "others": "other processes took the processors",
}
_EVIDENCE: dict[Cause, tuple[str, str]] = {
    "quota": ("quota_wait_pct", "held back for {} % of its processors' time"),
    "clock": ("clock_mhz", "mean clock {} MHz"),
    "hypervisor": ("steal_pct", "{} % of the machine"),
    "others": ("others_cpu_pct", "others took {} % of the machine"),
}


def disturbances(taken: Taken, found: dict[str, float], verdict: Verdict) -> list[Note]:
    """Say what disturbed how many windows, whether or not they were left out."""
    notes = []
    for cause, count in Counter(c for c in taken.causes if c is not None).most_common():
        what = "were left out" if taken.quiet else "are in the figures"
        evidence = f"{count} of {len(taken.causes)} windows, which {what}"
        name, text = _EVIDENCE.get(cause, ("", ""))
        if not taken.quiet and name in found:
            evidence += f"; {text.format(units.text(found[name]))}"
            if cause == "others" and "cpu_wait_pct" in found:
                evidence += f", it waited {units.text(found['cpu_wait_pct'])} % of what it wanted"
        notes.append(Note(f"disturbed-{cause}", _CAUSES[cause], evidence))
    wandered = verdict == "unsteady" and "paused" not in taken.causes
    if taken.quiet and wandered and "drift_pct" in found:
        notes.append(
            Note(
                "unsteady",
                "nobody took the CPU, and yet the speed was not steady: clock, heat, or caches and"
                " memory shared with what this machine does not show",
                f"throughput moved {found['drift_pct']:+.1f} % from the first round to the last",
                "measure longer (--max-seconds), or at another time",
            )
        )
    return notes
