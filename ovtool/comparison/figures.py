"""One figure of one trial in both sweeps: its ratio, and the variance of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.core import statistics
from ovtool.core.columns import BY_NAME
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.matching import Matched
    from ovtool.comparison.noise import Noise, Spread
    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial

Outcome = Literal["worse", "better", "unknown", "same"]
_UNKNOWN = Interval(math.nan, math.nan, math.nan)
_BY_CPU_TIME = "throughput_uncontended_fps"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one trial in both sweeps.

    Args:
        label: The trial.
        column: The figure; ``throughput_uncontended_fps`` where it had to be told from CPU time.
        a: In A, the geometric mean of its runs; its interval is that of the figure within a run.
        b: In B.
        ratio: B / A with its 95 % interval, variation between runs included.
        p: Of the difference, adjusted for their number; NaN where it cannot be told.
        outcome: Of B against A.
        remarks: Why it is unknown, and what else differs between the two.
    """

    label: str
    column: str
    a: Interval
    b: Interval
    ratio: Interval
    p: float
    outcome: Outcome
    remarks: tuple[str, ...] = ()

    @property
    def loss_pct(self) -> float:
        """By how much B is worse, in per cent of A; below 0 where it is better."""
        change = 100 * (self.ratio.value - 1)
        return change if BY_NAME[self.column].better == "lower" else -change


def columns(trial: Trial) -> tuple[str, ...]:
    """Return the figures that a trial is compared by.

    Where requests arrive at a rate of their own, that rate sets the throughput; where the highest
    rate was looked for, it sets the latency.
    """
    if trial.max_latency_ms is not None:
        return ("rate_rps",)
    latencies = ("latency_p50_ms", "latency_p99_ms")
    if trial.rate is not None:
        return latencies
    quick = trial.hint == "latency" or trial.requests == 1
    return ("throughput_fps", *(latencies if quick else ()))


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both sides before all are judged together."""

    change: Change
    error: float
    """Standard error of the ratio's logarithm."""
    degrees: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A figure of some runs, by the column that they can be compared by."""

    column: str
    figures: tuple[Interval, ...]
    unknown: str = ""


def figures_of(runs: Sequence[Measurement], column: str) -> Taken:
    """Return a figure of each run; throughput from CPU time where others took the CPU in one."""
    disturbed = {m.verdict for m in runs if m.verdict in {"contended", "throttled"}}
    if not disturbed:
        return Taken(column, tuple(_figure(m, column) for m in runs))
    why = f"{' and '.join(sorted(str(v) for v in disturbed))} while it was measured"
    if column != "throughput_fps" or not all(m.on_cpu for m in runs):
        return Taken(column, tuple(_figure(m, column) for m in runs), why)
    rates = tuple(_rate_by_cpu_time(m) for m in runs)
    if any(math.isnan(rate.value) for rate in rates):
        return Taken(column, tuple(_figure(m, column) for m in runs), why)
    return Taken(_BY_CPU_TIME, rates)


def _figure(of: Measurement, column: str) -> Interval:
    names = (column, f"{column}_ci_low", f"{column}_ci_high")
    return Interval(*(float(of.figures.get(name, math.nan)) for name in names))


def _rate_by_cpu_time(of: Measurement) -> Interval:
    """Return threads / CPU time per sample, of all windows: the same formula on both sides.

    The sweep's own estimate takes undisturbed moments where there are any, which a quiet and a
    busy run do not have alike.
    """
    windows = [(w, r.index) for r in of.rounds for w in r.windows]
    threads = of.figures.get("threads", math.nan)
    spent = [w.cpu_s for w, _ in windows if w.cpu_s is not None]
    if not windows or len(spent) < len(windows) or not sum(spent) > 0 or math.isnan(threads):
        return _UNKNOWN
    amounts = [w.inferences * of.trial.batch for w, _ in windows]
    rate = statistics.bootstrap_rate(amounts, spent, [index for _, index in windows])
    return Interval(rate.value * threads, rate.low * threads, rate.high * threads)


def compared(pair: Matched, column: str, noise: Noise) -> Compared:
    """Return a figure of a matched trial, B against the mean of the runs of A."""
    again = tuple(m for m in pair.again if m.status == "ok")
    runs = (pair.a, *again, pair.b)
    taken = figures_of(runs, column)
    *before, b = taken.figures
    a = _mean(before)
    spread = noise.of(pair.a.device, taken.column)
    variances = [_variance(m, i, spread) for m, i in zip(runs, taken.figures, strict=True)]
    *of_a, of_b = variances
    error = math.sqrt(math.fsum(of_a) / len(of_a) ** 2 + of_b)
    why = taken.unknown or _unknown(a, b, error)
    value = b.value / a.value if a.value > 0 else math.nan
    half = statistics.critical(0.05, spread.degrees) * error
    ratio = Interval(value, value * math.exp(-half), value * math.exp(half))
    if why:
        ratio = Interval(value, math.nan, math.nan)
    remarks = (*([why] if why else []), *_remarks(pair, taken.column))
    change = Change(pair.label, taken.column, a, b, ratio, math.nan, "unknown", remarks)
    return Compared(change, math.nan if why else error, spread.degrees)


def _mean(runs: Sequence[Interval]) -> Interval:
    """Return the geometric mean of the runs; with several the limits are means of theirs too."""
    if len(runs) == 1 or any(not i.value > 0 for i in runs):
        return runs[0]

    def geometric(values: list[float]) -> float:
        return math.exp(math.fsum(math.log(v) for v in values) / len(values))

    value = geometric([i.value for i in runs])
    if any(math.isnan(statistics.standard_error(i)) for i in runs):
        return Interval(value, math.nan, math.nan)
    return Interval(value, geometric([i.low for i in runs]), geometric([i.high for i in runs]))


def _variance(of: Measurement, figure: Interval, spread: Spread) -> float:
    """Return the variance of a figure's logarithm: within its run, and between runs.

    A speed that moves evenly by ``drift_pct`` while it is measured has a standard deviation of
    that by the square root of 12 (the uniform distribution's).  What reruns show has the variation
    within a run in it, so there the greater of the two counts.
    """
    own = statistics.standard_error(figure) ** 2
    if of.verdict == "unsteady":
        own += (of.figures.get("drift_pct", 0.0) / 100) ** 2 / 12
    if spread.degrees is not None:
        return own if math.isnan(own) else max(own, spread.sd**2)
    return own + spread.sd**2


def _unknown(a: Interval, b: Interval, error: float) -> str:
    if not (a.value > 0 and b.value > 0):
        return "not measured"
    return "measured without an interval" if math.isnan(error) else ""


def _remarks(pair: Matched, column: str) -> Iterator[str]:
    a, b = pair.a, pair.b
    if a.rounds and a.rounds == b.rounds and (a.finished, a.figures) == (b.finished, b.figures):
        yield "the very same measurement on both sides: a copy"
    if column == _BY_CPU_TIME:
        yield "estimated from CPU time, since others or a quota took the CPU"
    for name in ("threads", "streams", "requests"):
        mine, theirs = a.figures.get(name), b.figures.get(name)
        if mine is not None and theirs is not None and mine != theirs:
            yield f"{name} {mine:g} in A, {theirs:g} in B"
    for what, old, new in (
        ("runs in", a.executed_precision, b.executed_precision),
        ("ran on", a.ran_on, b.ran_on),
    ):
        if old and new and old != new:
            yield f"{what} {old} in A, {new} in B"
