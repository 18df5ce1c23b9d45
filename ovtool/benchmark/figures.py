"""Computes the figures of a trial, with confidence intervals, from its windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.benchmark import token_figures
from ovtool.benchmark.windows import (
    SelectedWindows,
    describe_disturbances,
    determine_verdict,
    select_undisturbed,
    select_windows,
)
from ovtool.core import statistics, units
from ovtool.core.measurement import Round, Verdict
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.benchmark.session import CompiledInfo, RawRound, Stretch
    from ovtool.benchmark.windows import HostLoad
    from ovtool.core.trial import Trial

ENOUGH_UNDISTURBED_S = 0.2
"""Undisturbed time that suffices for the uncontended estimate."""
_UNCONTENDED = "throughput_uncontended_fps"
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a measured trial."""

    figures: dict[str, float]
    verdict: Verdict
    notes: tuple[Note, ...]
    rounds: tuple[Round, ...]


def summarize(
    trial: Trial,
    info: CompiledInfo,
    rounds: Sequence[tuple[int, RawRound]],
    host: HostLoad,
    target_pct: float,
    rate: float | None = None,
) -> Summary:
    """Return the known figures of a trial, the verdict, and notes with evidence.

    ``rounds`` are at least one, each with its index.  ``target_pct`` is the half width of the
    headline's interval, ``rate`` the arrivals per second in an open loop.
    """
    raw = [r for _, r in rounds]
    selected = select_windows(raw, host)
    undisturbed = select_undisturbed([r.stretches for r in raw])
    starts = {"compile_cold_ms": info.compile_ms, "first_inference_ms": info.first_inference_ms}
    figures = dict(info.figures) | {n: ms for n, ms in starts.items() if ms is not None}
    figures |= _latency_figures(selected) | _counter_figures(selected, host)
    token_figures.put(figures, "throughput_fps", selected.rate(trial.batch))
    drift = _compute_drift(selected, trial)
    if drift.known:
        figures["drift_pct"] = drift.value
    for name in ("peak_rss_mib", "rss_growth_mib"):
        known = [value for r in raw if (value := getattr(r, name)) is not None]
        if known:
            figures[name] = max(known)
    energy = _add_energy(figures, trial, raw)
    by_window = _figures_by_window(trial, selected)
    if selected.texts:
        texts = token_figures.compute(selected)
        figures |= texts.figures
        by_window |= texts.by_window
        for each in raw:
            figures |= each.phases_mib
    notes = energy + _add_rate(figures, trial.batch, rate)
    if host.uses_cpu:
        notes += _add_uncontended(figures, by_window, trial, selected, undisturbed)
    notes += _note_limits_beyond_windows(figures, by_window)
    requests = requests_of(trial, info)
    if rate is None and all(is_slow(r, requests) for r in raw):
        count = units.count_text(round(figures["inferences"]), "inference")
        evidence = f"{count} in {figures['measured_s']:.3g} s"
        notes.append(make_note("slow-inference", evidence))
    elif figures["inferences"] < 100 and not selected.texts:
        notes.append(make_note("few-inferences", f"{figures['inferences']:.0f} inferences"))
    verdict = determine_verdict(
        selected, figures, compute_headline(trial, selected), drift, target_pct
    )
    notes += describe_disturbances(selected, figures, verdict)
    return Summary(figures, verdict, tuple(notes), _describe_rounds(rounds, selected, undisturbed))


def requests_of(trial: Trial, info: CompiledInfo) -> int:
    """Return the number of requests that a round of a slow model completes.

    The requests of a text generator go on in the next round.
    """
    return 1 if trial.generation is not None else int(info.figures.get("requests", 1))


def is_slow(measured: RawRound, requests: int) -> bool:
    """Whether a round of a closed loop was a single use of each request."""
    return measured.inferences <= requests


def compute_headline(trial: Trial, selected: SelectedWindows) -> Interval:
    """Return the figure that decides when a trial has converged.

    It is the throughput, of a text generator in tokens; in an open loop, where arrivals set the
    throughput, the median latency.
    """
    if trial.open_loop:
        return selected.latency_ms(0.5)
    return token_figures.tokens_s(selected) if selected.texts else selected.rate(trial.batch)


def _latency_figures(selected: SelectedWindows) -> dict[str, float]:
    latencies_ms = [latency for latencies in selected.latencies_ms for latency in latencies]
    figures = {
        "latency_mean_ms": math.fsum(latencies_ms) / len(latencies_ms),
        "latency_p90_ms": statistics.quantile(latencies_ms, 0.90),
        "latency_min_ms": min(latencies_ms),
        "latency_max_ms": max(latencies_ms),
        "inferences": float(len(latencies_ms)),
        "measured_s": math.fsum(w.seconds for w in selected.windows),
    }
    token_figures.put(figures, "latency_p50_ms", selected.latency_ms(0.50))
    token_figures.put(figures, "latency_p99_ms", selected.latency_ms(0.99))
    return figures


def _figures_by_window(trial: Trial, selected: SelectedWindows) -> dict[str, list[float]]:
    """Return the figures with an interval, of every single window."""
    filled = [latencies for latencies in selected.latencies_ms if latencies]
    return {
        "throughput_fps": [w.inferences * trial.batch / w.seconds for w in selected.windows],
        "latency_p50_ms": [statistics.quantile(latencies, 0.50) for latencies in filled],
        "latency_p99_ms": [statistics.quantile(latencies, 0.99) for latencies in filled],
    }


def _note_limits_beyond_windows(
    figures: Mapping[str, float], by_window: Mapping[str, Sequence[float]]
) -> list[Note]:
    """Return a note on the intervals that reach beyond the figures of every single window.

    Few rounds widen an interval to Student's t, and differences between rounds widen it further.
    """
    beyond = []
    for name, values in by_window.items():
        low, high = (figures.get(f"{name}_ci_{end}", math.nan) for end in ("low", "high"))
        if low < min(values) * (1 - _ROUNDING) or high > max(values) * (1 + _ROUNDING):
            interval = units.interval_text(figures[name], low, high)
            span = f"{units.text(min(values))} to {units.text(max(values))}"
            beyond.append(f"{name} {interval}, windows {span}")
    return [make_note("interval-beyond-windows", "; ".join(beyond))] if beyond else []


def _counter_figures(selected: SelectedWindows, host: HostLoad) -> dict[str, float]:
    windows = selected.windows
    seconds = math.fsum(w.seconds for w in windows)
    figures: dict[str, float] = {
        "windows": float(len(selected.causes)),
        "quiet_windows": float(selected.causes.count(None)),
    }

    def total(values: Sequence[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return math.fsum(known) if known and len(known) == len(values) else None

    def add(name: str, value: float | None, whole: float) -> None:
        if value is not None and whole > 0:
            figures[name] = 100.0 * value / whole

    cpu, delay = total([w.cpu_s for w in windows]), total([w.delay_s for w in windows])
    busy, steal = total([w.busy_s for w in windows]), total([w.steal_s for w in windows])
    if cpu is not None and busy is not None:
        others = max(0.0, busy + (steal or 0.0) - cpu)
        add("others_cpu_pct", others, seconds * host.cpus)
    add("steal_pct", steal, seconds * host.cpus)
    if cpu is not None and delay is not None:
        add("cpu_wait_pct", delay, cpu + delay)
    add("cpu_pressure_pct", total([w.stalled_s for w in windows]), seconds)
    add("quota_wait_pct", total([w.quota_wait_s for w in windows]), seconds * host.usable)
    switches = total([w.switches for w in windows])
    if switches is not None:
        figures["switches_hz"] = switches / seconds
    clocks = [w.clock_mhz for w in windows if w.clock_mhz is not None]
    if clocks:
        figures["clock_mhz"] = math.fsum(clocks) / len(clocks)
    return figures


def _compute_drift(selected: SelectedWindows, trial: Trial) -> Interval:
    """Return the change of the throughput from the first round to the last, in percent."""
    if trial.open_loop:
        return Interval(math.nan, math.nan, math.nan)
    rates = []
    for block in sorted(set(selected.blocks)):
        inside = [i for i, of in enumerate(selected.blocks) if of == block]
        seconds = math.fsum(selected.windows[i].seconds for i in inside)
        rates.append(sum(selected.amounts[i] for i in inside) / seconds)
    return statistics.drift(rates)


def _add_uncontended(
    figures: dict[str, float],
    by_window: dict[str, list[float]],
    trial: Trial,
    selected: SelectedWindows,
    undisturbed: Sequence[Sequence[Stretch]],
) -> list[Note]:
    """Add the CPU time per sample, and the estimated throughput without other processes.

    ``by_window`` gets the estimate of every window, or of every undisturbed stretch.
    """
    by_cpu = selected.cpu_rate(trial.batch)
    if math.isnan(by_cpu.value):
        return []
    figures["cpu_s_per_sample"] = 1 / by_cpu.value
    if trial.open_loop:
        return []
    undisturbed_s = math.fsum(s.seconds for stretches in undisturbed for s in stretches)
    if not selected.quiet and undisturbed_s >= ENOUGH_UNDISTURBED_S:
        kept = [(i, s) for i, stretches in enumerate(undisturbed) for s in stretches]
        amounts = [s.inferences * trial.batch for _, s in kept]
        seconds = [s.seconds for _, s in kept]
        rate = statistics.bootstrap_rate(amounts, seconds, [i for i, _ in kept])
        by_window[_UNCONTENDED] = [a / s for a, s in zip(amounts, seconds, strict=True)]
        token_figures.put(figures, _UNCONTENDED, rate)
        return [make_note("uncontended-stretches", f"{undisturbed_s:.2f} s undisturbed")]
    threads = figures.get("threads")
    if threads is None:
        return [make_note("no-threads")]
    use = _busy_share(selected, threads)
    scale = threads * (1.0 if use is None else use)
    rate = Interval(by_cpu.value * scale, by_cpu.low * scale, by_cpu.high * scale)
    by_window[_UNCONTENDED] = [
        scale * w.inferences * trial.batch / w.cpu_s for w in selected.windows if w.cpu_s
    ]
    token_figures.put(figures, _UNCONTENDED, rate)
    if use is None:
        return [make_note("uncontended-cpu-time", f"{threads:.0f} threads, assumed to be busy")]
    return []


def _busy_share(selected: SelectedWindows, threads: float) -> float | None:
    """Return the share of its threads' time in which the process worked in quiet windows."""
    if not selected.quiet:
        return None
    spent = [w.cpu_s for w in selected.windows if w.cpu_s is not None]
    return math.fsum(spent) / (threads * math.fsum(w.seconds for w in selected.windows))


def _add_energy(figures: dict[str, float], trial: Trial, rounds: Sequence[RawRound]) -> list[Note]:
    """Add energy per sample and mean power over whole rounds, where every round has energy."""
    spent = [r.energy for r in rounds if r.energy is not None]
    if len(spent) < len(rounds):
        reason = next((r.energy_unknown for r in rounds if r.energy_unknown), "not read")
        return [make_note("no-energy", reason)]
    joules = math.fsum(s.joules for s in spent)
    samples = sum(s.inferences for s in spent) * trial.batch
    figures["energy_mj_per_sample"] = joules * units.MS_PER_S / samples
    figures["power_w"] = joules / math.fsum(s.seconds for s in spent)
    return [make_note("energy-source", spent[0].source)]


def _add_rate(figures: dict[str, float], batch: int, rate: float | None) -> list[Note]:
    """Add the arrival rate, and a note where the device did not keep up."""
    if rate is None:
        return []
    requested = rate * batch
    figures["rate_rps"] = rate
    served = figures["throughput_fps"]
    # n Poisson arrivals have a standard deviation of sqrt(n).
    scatter = 3 / math.sqrt(max(1.0, figures["inferences"]))
    if served < requested * (1 - max(0.02, scatter)):
        evidence = f"{units.text(requested)} samples/s requested, {units.text(served)} served"
        return [make_note("rate-not-kept", evidence)]
    return []


def _describe_rounds(
    rounds: Sequence[tuple[int, RawRound]],
    selected: SelectedWindows,
    undisturbed: Sequence[Sequence[Stretch]],
) -> tuple[Round, ...]:
    described, start = [], 0
    for (index, raw), stretches in zip(rounds, undisturbed, strict=True):
        causes = selected.causes[start : start + len(raw.windows)]
        start += len(raw.windows)
        described.append(
            Round(
                index,
                raw.windows,
                tuple(i for i, cause in enumerate(causes) if cause is None),
                math.fsum(s.seconds for s in stretches) if raw.stretches else None,
                sum(s.inferences for s in stretches),
            )
        )
    return tuple(described)
