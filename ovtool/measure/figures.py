"""From windows to figures with intervals, and a verdict on how the measuring went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovtool import statistics, units
from ovtool.results import Note, Verdict, Window
from ovtool.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.measure.session import Opened, RawRound
    from ovtool.trial import Trial

CONTENDED_PCT = 5.0
"""Share of the machine that others may take before a measurement is called contended."""


def throughput(rounds: Sequence[RawRound], batch: int) -> Interval:
    """Return samples a second of wall time, with an interval over the windows."""
    windows = _windows(rounds)
    return statistics.bootstrap_rate(
        [w.inferences * batch for w in windows], [w.seconds for w in windows]
    )


def figures(
    trial: Trial, opened: Opened, rounds: Sequence[RawRound], cpus: int
) -> tuple[dict[str, float], list[Note]]:
    """Return every figure of a trial that is known, and notes for those that are not.

    Args:
        trial: What was measured.
        opened: What compiling told.
        rounds: The rounds, at least one.
        cpus: Logical processors of the machine.
    """
    windows = _windows(rounds)
    by_window = [latencies for r in rounds for latencies in r.latencies_ms]
    everything = [latency for latencies in by_window for latency in latencies]
    found = dict(opened.figures) | {
        "latency_mean_ms": math.fsum(everything) / len(everything),
        "latency_p90_ms": statistics.quantile(everything, 0.90),
        "latency_min_ms": min(everything),
        "latency_max_ms": max(everything),
        "inferences": float(len(everything)),
        "measured_s": math.fsum(w.seconds for w in windows),
    }
    _put(found, "latency_p50_ms", statistics.bootstrap_quantile(by_window, 0.50))
    _put(found, "latency_p99_ms", statistics.bootstrap_quantile(by_window, 0.99))
    _put(found, "throughput_fps", throughput(rounds, trial.batch))
    peaks = [r.peak_rss_mib for r in rounds if r.peak_rss_mib is not None]
    if peaks:
        found["peak_rss_mib"] = max(peaks)
    others = others_cpu_pct(windows, cpus)
    if others is not None:
        found["others_cpu_pct"] = others
    notes = [*_cpu_figures(found, trial, windows), *_energy(found, trial, rounds)]
    if len(everything) < 100:
        notes.append(
            Note(
                "few-inferences",
                f"{len(everything)} inferences: the 99th percentile is near the greatest one",
                remedy="measure longer (--max-seconds)",
            )
        )
    return found, notes


def others_cpu_pct(windows: Sequence[Window], cpus: int) -> float | None:
    """Return the share of the machine that others took, in per cent; None where not told."""
    taken = 0.0
    for w in windows:
        if w.cpu_s is None or w.busy_s is None:
            return None
        taken += w.busy_s + (w.steal_s or 0.0) - w.cpu_s
    seconds = math.fsum(w.seconds for w in windows)
    return max(0.0, 100.0 * taken / (seconds * cpus)) if seconds else None


def verdict(found: dict[str, float], target_pct: float) -> Verdict:
    """Judge a measurement: others took the CPU, it did not converge, or it is stable."""
    if found.get("others_cpu_pct", 0.0) > CONTENDED_PCT:
        return "contended"
    low, high = found.get("throughput_fps_ci_low"), found.get("throughput_fps_ci_high")
    if low is None or high is None:
        return "unsteady"
    width = Interval(found["throughput_fps"], low, high).half_width_pct
    return "stable" if width <= target_pct else "unsteady"


def _windows(rounds: Sequence[RawRound]) -> list[Window]:
    return [w for r in rounds for w in r.windows]


def _put(found: dict[str, float], name: str, interval: Interval) -> None:
    found[name] = interval.value
    if interval.known:
        found[f"{name}_ci_low"], found[f"{name}_ci_high"] = interval.low, interval.high


def _cpu_figures(found: dict[str, float], trial: Trial, windows: Sequence[Window]) -> list[Note]:
    """Add CPU time a sample, and what the same work would reach with its cores to itself."""
    spent = [w.cpu_s for w in windows if w.cpu_s is not None]
    if trial.device != "CPU" or len(spent) != len(windows) or not sum(spent):
        return []
    samples = [w.inferences * trial.batch for w in windows]
    found["cpu_s_per_sample"] = math.fsum(spent) / sum(samples)
    threads = found.get("threads")
    if threads is None:
        return [Note("no-threads", "the device does not tell its threads: no uncontended estimate")]
    _put(
        found,
        "throughput_uncontended_fps",
        statistics.bootstrap_rate([s * threads for s in samples], spent),
    )
    return []


def _energy(found: dict[str, float], trial: Trial, rounds: Sequence[RawRound]) -> list[Note]:
    read = [(r.energy_j, r) for r in rounds if r.energy_j is not None]
    if len(read) < len(rounds):
        why = next((r.energy_unknown for r in rounds if r.energy_unknown), "not read")
        return [Note("no-energy", "no energy figure", why)]
    inferences = sum(w.inferences for _, r in read for w in r.windows)
    joules = math.fsum(energy for energy, _ in read)
    found["energy_mj_per_sample"] = joules * units.MS_PER_S / (inferences * trial.batch)
    return []
