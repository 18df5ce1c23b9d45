"""One figure of one trial in both sweeps: the ratio B / A and its variance.

Other processes, quotas and a lower clock make a trial slower, never faster.  So the figure of a
disturbed run limits the undisturbed one on one side only: a loss against a disturbed A is at least
the observed loss, and a gain of a disturbed B at least the observed gain.  Every other difference
may come from the disturbance and is unknown.  An estimate from CPU time does not decide: on shared
cores and caches the same work takes up to twice the CPU time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import variance as variance_of_sample
from typing import TYPE_CHECKING, Literal

from ovtool.core import statistics, units
from ovtool.core.columns import BY_NAME
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.matching import MatchedTrial
    from ovtool.comparison.noise import Noise, Spread
    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial

Outcome = Literal["worse", "better", "unknown", "same"]
OUTCOMES: tuple[Outcome, ...] = ("worse", "better", "unknown", "same")
LEVEL = 0.01
"""Probability of any false difference, so half of that of a false regression: 20 comparisons of
equal sweeps should pass."""

COPY = "copy: the same measurement on both sides"
FROM_CPU_TIME = "estimated from CPU time, which does not decide"
NO_FIGURE = "not measured"
NO_INTERVAL = "no confidence interval"

_DISTURBED = {"contended", "throttled"}
_CPU_TIME_COLUMN = "throughput_uncontended_fps"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one trial in both sweeps.

    Args:
        label: The trial.
        column: The figure; ``throughput_uncontended_fps`` if it comes from CPU time, which leaves
            the outcome unknown.
        a: In A: the geometric mean of its runs, with the interval within a run.
        ratio: B / A with its 95% interval, which includes the variation between runs.
        p: p-value of the difference, adjusted for the number of figures; NaN if unknown.
        remarks: Why the outcome is unknown, and other differences between the two.
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
        """Loss of B in percent of A; negative if B is better."""
        return self._loss_pct(self.ratio.value)

    @property
    def max_loss_pct(self) -> float:
        """Largest loss within the interval; infinite if unknown."""
        ends = [self._loss_pct(end) for end in (self.ratio.low, self.ratio.high)]
        return max(ends) if self.ratio.known else math.inf

    def _loss_pct(self, ratio: float) -> float:
        change = 100 * (ratio - 1)
        return change if BY_NAME[self.column].better == "lower" else -change

    @property
    def reason(self) -> str:
        """Why the outcome is unknown: the first remark, or the width of the interval."""
        if not self.ratio.known:
            return self.remarks[0] if self.remarks else ""
        return f"B / A {units.interval_text(self.ratio.value, self.ratio.low, self.ratio.high)}"


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """A change before the correction for multiple comparisons.

    The p-value and the outcome of the change are still unknown.
    """

    change: Change
    error: float
    """Standard error of the ratio's logarithm."""
    degrees: int | None
    """Degrees of freedom of the error; None if the error is known."""
    one_sided: bool = False
    """Whether a run was disturbed, so that the true difference may be larger."""

    @property
    def p(self) -> float:
        """The p-value of the difference; NaN if unknown."""
        if math.isnan(self.error):
            return math.nan
        log = math.log(self.change.ratio.value)
        if self.error == 0:
            return 1.0 if log == 0 else 0.0
        return statistics.two_sided_p(log / self.error, self.degrees)


def compared_columns(trial: Trial) -> tuple[str, ...]:
    """Return the columns that a trial is compared by.

    In an open loop the arrival rate determines the throughput, so latencies are compared; the
    search for the highest rate determines the latency, so rates are compared.
    """
    if trial.max_latency_ms is not None:
        return ("rate_rps",)
    latencies = ("latency_p50_ms", "latency_p99_ms")
    if trial.rate is not None:
        return latencies
    low_latency = trial.hint == "latency" or trial.requests == 1
    return ("throughput_fps", *(latencies if low_latency else ()))


def interval_of(measurement: Measurement, column: str) -> Interval:
    """Return a figure of a measurement with its interval; NaN if unknown."""
    names = (column, f"{column}_ci_low", f"{column}_ci_high")
    return Interval(*(float(measurement.figures.get(name, math.nan)) for name in names))


def is_disturbed(measurement: Measurement) -> bool:
    """Whether others, a quota or the clock slowed down a measurement."""
    return measurement.verdict in _DISTURBED


def compare_figure(pair: MatchedTrial, column: str, noise: Noise) -> FigureComparison:
    """Compare one figure of a matched trial: B with the mean of the undisturbed runs of A.

    If every run of A was disturbed, B is compared with the mean of all.
    """
    of_a = (pair.a, *pair.measured_reruns)
    runs = (*([run for run in of_a if not is_disturbed(run)] or of_a), pair.b)
    figures = tuple(interval_of(run, column) for run in runs)
    observed = _compare(pair, runs, column, figures, noise)
    disturbed = {
        side: {str(run.verdict) for run in of_side if is_disturbed(run)}
        for side, of_side in {"A": runs[:-1], "B": runs[-1:]}.items()
    }
    sides = [side for side, verdicts in disturbed.items() if verdicts]
    if not sides:
        return observed
    verdicts = f"{' and '.join(sorted(set.union(*disturbed.values())))} in {' and '.join(sides)}"
    if not math.isnan(observed.p):
        loss = observed.change.loss_pct > 0
        if sides == ["A" if loss else "B"]:
            remark = f"{verdicts}: the {'loss' if loss else 'gain'} is at least this"
            return _with_remark(replace(observed, one_sided=True), remark)
    rates = _rates_by_cpu_time(runs) if column == "throughput_fps" else ()
    shown = _compare(pair, runs, _CPU_TIME_COLUMN, rates, noise) if rates else observed
    change = replace(shown.change, ratio=Interval(shown.change.ratio.value, math.nan, math.nan))
    undecided = replace(shown, change=change, error=math.nan)
    return _with_remark(undecided, f"{verdicts}: the difference may come from that")


def _with_remark(figure: FigureComparison, remark: str) -> FigureComparison:
    change = figure.change
    return replace(figure, change=replace(change, remarks=(remark, *change.remarks)))


def _rates_by_cpu_time(runs: Sequence[Measurement]) -> tuple[Interval, ...]:
    """Return threads / CPU time per sample over all windows; empty if unknown of a run.

    The formula is the same on both sides.  The estimate of a sweep prefers undisturbed moments,
    which a quiet and a busy run do not have to the same extent.
    """
    rates = []
    for run in runs:
        windows = [(w, r.index) for r in run.rounds for w in r.windows]
        threads = run.figures.get("threads", math.nan)
        cpu_s = [w.cpu_s for w, _ in windows if w.cpu_s is not None]
        known = windows and len(cpu_s) == len(windows) and sum(cpu_s) > 0
        if not (run.on_cpu and known and threads > 0):
            return ()
        amounts = [w.inferences * run.trial.batch for w, _ in windows]
        rate = statistics.bootstrap_rate(amounts, cpu_s, [index for _, index in windows])
        rates.append(Interval(rate.value * threads, rate.low * threads, rate.high * threads))
    return tuple(rates)


def _compare(
    pair: MatchedTrial,
    runs: Sequence[Measurement],
    column: str,
    figures: Sequence[Interval],
    noise: Noise,
) -> FigureComparison:
    """Compare the figures of the runs, the last of which is B, as if no run was disturbed."""
    *of_a, b = figures
    a = _mean(of_a)
    spread = noise.of(pair.a.device, column)
    terms = [_variance(m, i, spread) for m, i in zip(runs, figures, strict=True)]
    error, degrees = _combine([*(t.scaled(1 / len(of_a) ** 2) for t in terms[:-1]), terms[-1]])
    unknown = ""
    if not (a.value > 0 and b.value > 0):
        unknown = NO_FIGURE
    elif math.isnan(error):
        unknown = NO_INTERVAL
    value = b.value / a.value if a.value > 0 else math.nan
    half = statistics.critical(0.05, degrees) * error
    ratio = Interval(value, value * math.exp(-half), value * math.exp(half))
    if unknown:
        error, ratio = math.nan, Interval(value, math.nan, math.nan)
    remarks = (*([unknown] if unknown else []), *_remarks(pair, column))
    change = Change(pair.label, column, a, b, ratio, math.nan, "unknown", remarks)
    return FigureComparison(change, error, degrees)


def _mean(runs: Sequence[Interval]) -> Interval:
    """Return the geometric mean of the runs; the limits of several runs are means as well."""
    if len(runs) == 1 or any(not i.value > 0 for i in runs):
        return runs[0]

    def geometric(values: list[float]) -> float:
        return math.exp(math.fsum(math.log(v) for v in values) / len(values))

    value = geometric([i.value for i in runs])
    if any(math.isnan(statistics.standard_error(i)) for i in runs):
        return Interval(value, math.nan, math.nan)
    return Interval(value, geometric([i.low for i in runs]), geometric([i.high for i in runs]))


@dataclass(frozen=True, slots=True)
class _Variance:
    """The variance of a figure's logarithm, and its effective degrees of freedom.

    ``spread`` is its square divided by its degrees of freedom, 0 if it is known.
    """

    value: float
    spread: float = 0.0

    def scaled(self, factor: float) -> _Variance:
        """Return the variance times a factor."""
        return _Variance(self.value * factor, self.spread * factor**2)


def _combine(variances: Sequence[_Variance]) -> tuple[float, int | None]:
    """Return the error of the sum, and its degrees of freedom (Welch 1947, Satterthwaite 1946)."""
    total = math.fsum(v.value for v in variances)
    spread = math.fsum(v.spread for v in variances)
    known = spread > 0 and not math.isnan(total)
    degrees = max(1, math.floor(total**2 / spread)) if known else None
    return math.sqrt(total), degrees


def _variance(measurement: Measurement, figure: Interval, spread: Spread) -> _Variance:
    """Return the variance of a figure's logarithm: within its run, and between runs.

    A run that was not steady may have been at another of its levels as a whole, see
    :func:`_variance_of_levels`.  The spread of reruns includes the variation within a run, so the
    larger of the two applies.
    """
    within = _variance_within(measurement, figure)
    if measurement.verdict == "unsteady":
        levels = _variance_of_levels(measurement)
        within = _Variance(within.value + levels.value, within.spread + levels.spread)
    between = _Variance(spread.sd**2, spread.sd**4 / spread.degrees if spread.degrees else 0.0)
    if spread.degrees is not None:
        return within if not within.value < between.value else between
    return _Variance(within.value + between.value, within.spread)


def _variance_of_levels(measurement: Measurement) -> _Variance:
    """Return the variance of the speed's logarithm between rounds, or that of its drift.

    A speed that drifts evenly by ``drift_pct`` has the standard deviation of the uniform
    distribution: the drift / sqrt(12).
    """
    drift = _Variance((measurement.figures.get("drift_pct", 0.0) / 100) ** 2 / 12)
    rounds = [r for r in measurement.rounds if r.inferences and r.seconds > 0]
    if len(rounds) < 2:
        return drift
    logs = [math.log(r.inferences / r.seconds) for r in rounds]
    variance, degrees = variance_of_sample(logs), len(logs) - 1
    return max(drift, _Variance(variance, variance**2 / degrees), key=lambda v: v.value)


def _variance_within(measurement: Measurement, figure: Interval) -> _Variance:
    """Return the variance of a figure's logarithm from its interval; NaN if unknown.

    In a run that was not steady the wider half counts: with a few slow rounds, the value is close
    to one limit.  The rounds determine the degrees of freedom, but not of a rate that was found by
    bisection.
    """
    if math.isnan(statistics.standard_error(figure)):
        return _Variance(math.nan)
    half = math.log(figure.high / figure.low) / 2
    if measurement.verdict == "unsteady":
        half = math.log(max(figure.high / figure.value, figure.value / figure.low))
    degrees = len(measurement.rounds) - 1
    if degrees < 1 or measurement.trial.max_latency_ms is not None:
        return _Variance((half / statistics.Z975) ** 2)
    variance = (half / statistics.student_t(degrees)) ** 2
    return _Variance(variance, variance**2 / degrees)


def _remarks(pair: MatchedTrial, column: str) -> Iterator[str]:
    a, b = pair.a, pair.b
    if a.rounds and a.rounds == b.rounds and (a.finished, a.figures) == (b.finished, b.figures):
        yield COPY
    if column == _CPU_TIME_COLUMN:
        yield FROM_CPU_TIME
    for name in ("threads", "streams", "requests"):
        in_a, in_b = a.figures.get(name), b.figures.get(name)
        if in_a is not None and in_b is not None and in_a != in_b:
            yield f"{name} {in_a:g} in A, {in_b:g} in B"
    precisions = (a.executed_precision, b.executed_precision)
    for verb, (old, new) in {"runs in": precisions, "ran on": (a.ran_on, b.ran_on)}.items():
        if old and new and old != new:
            yield f"{verb} {old} in A, {new} in B"
