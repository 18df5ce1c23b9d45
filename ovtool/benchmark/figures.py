"""From windows to figures with intervals, and a verdict on how the measuring went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.benchmark.windows import (
    SelectedWindows,
    determine_verdict,
    disturbances,
    select_undisturbed,
    select_windows,
)
from ovtool.core import statistics, units
from ovtool.core.measurement import Round, Verdict
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.benchmark.session import Opened, RawRound
    from ovtool.benchmark.windows import HostLoad, Stretch
    from ovtool.core.trial import Trial

ENOUGH_UNDISTURBED_S = 0.2


@dataclass(frozen=True, slots=True)
class Summary:
    """What a trial came to."""

    figures: dict[str, float]
    verdict: Verdict
    notes: tuple[Note, ...]
    rounds: tuple[Round, ...]


def summarize(
    trial: Trial,
    opened: Opened,
    rounds: Sequence[tuple[int, RawRound]],
    machine: HostLoad,
    target_pct: float,
    rate: float | None = None,
) -> Summary:
    """Return every figure of a trial that is known, the verdict, and notes with the evidence.

    Args:
        trial: What was measured.
        opened: What compiling told.
        rounds: Each with its index, at least one.
        machine: What the windows are judged against.
        target_pct: Half width of the headline's interval that was aimed at.
        rate: Requests that arrived a second; None where every request was kept busy.
    """
    raw = [r for _, r in rounds]
    taken = select_windows(raw, machine)
    calm = select_undisturbed([r.stretches for r in raw])
    found = _started(opened) | _latencies(taken) | _evidence(taken, machine)
    put(found, "throughput_fps", taken.rate(trial.batch))
    moved = _drift(taken, trial)
    if moved.known:
        found["drift_pct"] = moved.value
    peaks = [r.peak_rss_mib for r in raw if r.peak_rss_mib is not None]
    if peaks:
        found["peak_rss_mib"] = max(peaks)
    grown = [r.rss_growth_mib for r in raw if r.rss_growth_mib is not None]
    if grown:
        found["rss_growth_mib"] = max(grown)
    notes = [*_energy(found, trial, raw)]
    if machine.uses_cpu:
        notes = [*_uncontended(found, trial, taken, calm), *notes]
    notes += _of_load(found, trial.batch, rate)
    if found["inferences"] < 100:
        notes.append(make_note("few-inferences", f"{found['inferences']:.0f} inferences"))
    judged = determine_verdict(taken, found, headline(trial, taken), moved, target_pct)
    notes += disturbances(taken, found, judged)
    return Summary(found, judged, tuple(notes), _rounds(rounds, taken, calm))


def headline(trial: Trial, taken: SelectedWindows) -> Interval:
    """Return the figure whose interval says when a trial is known well enough.

    That is its throughput; where requests arrive at a rate of their own, which sets the
    throughput, the median latency.
    """
    return taken.latency_ms(0.5) if trial.open_loop else taken.rate(trial.batch)


def put(found: dict[str, float], name: str, interval: Interval) -> None:
    """Add a figure, and its interval where it has one."""
    found[name] = interval.value
    if interval.known:
        found[f"{name}_ci_low"], found[f"{name}_ci_high"] = interval.low, interval.high


def _started(opened: Opened) -> dict[str, float]:
    found = dict(opened.figures)
    if opened.compile_ms is not None:
        found["compile_cold_ms"] = opened.compile_ms
    if opened.first_inference_ms is not None:
        found["first_inference_ms"] = opened.first_inference_ms
    return found


def _latencies(taken: SelectedWindows) -> dict[str, float]:
    everything = [latency for latencies in taken.latencies_ms for latency in latencies]
    found = {
        "latency_mean_ms": math.fsum(everything) / len(everything),
        "latency_p90_ms": statistics.quantile(everything, 0.90),
        "latency_min_ms": min(everything),
        "latency_max_ms": max(everything),
        "inferences": float(len(everything)),
        "measured_s": math.fsum(w.seconds for w in taken.windows),
    }
    put(found, "latency_p50_ms", taken.latency_ms(0.50))
    put(found, "latency_p99_ms", taken.latency_ms(0.99))
    return found


def _evidence(taken: SelectedWindows, machine: HostLoad) -> dict[str, float]:
    """Return the counters of the windows that stand for the trial; what is not told is left out."""
    windows = taken.windows
    seconds = math.fsum(w.seconds for w in windows)
    found: dict[str, float] = {
        "windows": float(len(taken.causes)),
        "quiet_windows": float(taken.causes.count(None)),
    }

    def total(values: Sequence[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return math.fsum(known) if known and len(known) == len(values) else None

    def add(name: str, value: float | None, whole: float) -> None:
        if value is not None and whole > 0:
            found[name] = 100.0 * value / whole

    cpu, delay = total([w.cpu_s for w in windows]), total([w.delay_s for w in windows])
    busy, steal = total([w.busy_s for w in windows]), total([w.steal_s for w in windows])
    if cpu is not None and busy is not None:
        others = max(0.0, busy + (steal or 0.0) - cpu)
        add("others_cpu_pct", others, seconds * machine.cpus)
    add("steal_pct", steal, seconds * machine.cpus)
    if cpu is not None and delay is not None:
        add("cpu_wait_pct", delay, cpu + delay)
    add("cpu_pressure_pct", total([w.stalled_s for w in windows]), seconds)
    add("quota_wait_pct", total([w.quota_wait_s for w in windows]), seconds * machine.usable)
    switches = total([w.switches for w in windows])
    if switches is not None:
        found["switches_hz"] = switches / seconds
    clocks = [w.clock_mhz for w in windows if w.clock_mhz is not None]
    if clocks:
        found["clock_mhz"] = math.fsum(clocks) / len(clocks)
    return found


def _drift(taken: SelectedWindows, trial: Trial) -> Interval:
    """Return how throughput moved from the first round to the last, in per cent."""
    if trial.open_loop:
        return Interval(math.nan, math.nan, math.nan)
    rates = []
    for block in sorted(set(taken.blocks)):
        mine = [w for w, b in zip(taken.windows, taken.blocks, strict=True) if b == block]
        rates.append(sum(w.inferences for w in mine) / math.fsum(w.seconds for w in mine))
    return statistics.drift(rates)


def _uncontended(
    found: dict[str, float], trial: Trial, taken: SelectedWindows, calm: Sequence[Sequence[Stretch]]
) -> list[Note]:
    """Add CPU time a sample, and what the same work would reach with its cores to itself."""
    by_cpu = taken.cpu_rate(trial.batch)
    if math.isnan(by_cpu.value):
        return []
    found["cpu_s_per_sample"] = 1 / by_cpu.value
    if trial.open_loop:
        return []
    undisturbed_s = math.fsum(s.seconds for stretches in calm for s in stretches)
    if not taken.quiet and undisturbed_s >= ENOUGH_UNDISTURBED_S:
        rate = statistics.bootstrap_rate(
            [s.inferences * trial.batch for stretches in calm for s in stretches],
            [s.seconds for stretches in calm for s in stretches],
            [i for i, stretches in enumerate(calm) for _ in stretches],
        )
        put(found, "throughput_uncontended_fps", rate)
        return [make_note("uncontended-stretches", f"{undisturbed_s:.2f} s undisturbed")]
    threads = found.get("threads")
    if threads is None:
        return [make_note("no-threads")]
    use = _busy_share(taken, threads)
    scale = threads * (1.0 if use is None else use)
    put(
        found,
        "throughput_uncontended_fps",
        Interval(by_cpu.value * scale, by_cpu.low * scale, by_cpu.high * scale),
    )
    if use is None:
        return [make_note("uncontended-cpu-time", f"{threads:.0f} threads, assumed to be busy")]
    return []


def _busy_share(taken: SelectedWindows, threads: float) -> float | None:
    """Return the share of its threads' time that the process worked for in quiet windows."""
    if not taken.quiet:
        return None
    spent = [w.cpu_s for w in taken.windows if w.cpu_s is not None]
    return math.fsum(spent) / (threads * math.fsum(w.seconds for w in taken.windows))


def _energy(found: dict[str, float], trial: Trial, rounds: Sequence[RawRound]) -> list[Note]:
    """Add energy a sample and mean power, over whole rounds; empty unless every round tells."""
    spent = [r.energy for r in rounds if r.energy is not None]
    if len(spent) < len(rounds):
        why = next((r.energy_unknown for r in rounds if r.energy_unknown), "not read")
        return [make_note("no-energy", why)]
    joules = math.fsum(s.joules for s in spent)
    samples = sum(s.inferences for s in spent) * trial.batch
    found["energy_mj_per_sample"] = joules * units.MS_PER_S / samples
    found["power_w"] = joules / math.fsum(s.seconds for s in spent)
    return [make_note("energy-source", spent[0].source)]


def _of_load(found: dict[str, float], batch: int, rate: float | None) -> list[Note]:
    """Say whether an arrival rate was kept up with."""
    if rate is None:
        return []
    asked = rate * batch
    found["rate_rps"] = rate
    served = found["throughput_fps"]
    # Poisson arrivals of n requests scatter by sqrt(n), whatever the model does.
    scatter = 3 / math.sqrt(max(1.0, found["inferences"]))
    if served < asked * (1 - max(0.02, scatter)):
        return [
            make_note(
                "rate-not-kept",
                f"{units.text(asked)} samples/s requested, {units.text(served)} served",
            )
        ]
    return []


def _rounds(
    rounds: Sequence[tuple[int, RawRound]],
    taken: SelectedWindows,
    calm: Sequence[Sequence[Stretch]],
) -> tuple[Round, ...]:
    made, place = [], 0
    for (index, raw), stretches in zip(rounds, calm, strict=True):
        causes = taken.causes[place : place + len(raw.windows)]
        place += len(raw.windows)
        made.append(
            Round(
                index,
                raw.windows,
                tuple(i for i, cause in enumerate(causes) if cause is None),
                math.fsum(s.seconds for s in stretches) if raw.stretches else None,
                sum(s.inferences for s in stretches),
            )
        )
    return tuple(made)
