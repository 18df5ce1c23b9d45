"""Two sweeps side by side: what became better or worse, and how sure that is.

Each matched trial has the ratio B / A of its figures.  Its variance is, for either side, that of
the figure within its run (the interval of the sweep) and that between runs (:mod:`.noise`), and
where the speed was still moving when measuring ended, that movement too.  A difference is called
one when its p-value, adjusted by Holm's method for all that are compared, is below :data:`LEVEL`;
no difference is called that only when the whole 95 % interval lies within a margin (two one-sided
tests, Schuirmann 1987); everything else is unknown.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ovtool import statistics
from ovtool.columns import BY_NAME
from ovtool.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.report.compare_quality import QualityChange, SizeChange, quality, sizes
from ovtool.report.facts import Difference, differences
from ovtool.report.matching import Matched, Matching, match
from ovtool.report.noise import Noise, Repeated, Spread, measured_noise
from ovtool.report.reading import Sweep, read
from ovtool.report.rows import words
from ovtool.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ovtool.results import Measurement, Note
    from ovtool.trial import Trial

Outcome = Literal["worse", "better", "unknown", "same"]
OUTCOMES: tuple[Outcome, ...] = ("worse", "better", "unknown", "same")
LEVEL = 0.01
"""Chance that any of the differences is called one without being one, and so half of that for a
false regression: twenty comparisons of nothing shall pass."""
WITHIN_PCT = 10.0
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


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that failed on one side or both; an empty reason is that it did not."""

    label: str
    reason_a: str
    reason_b: str

    @property
    def new(self) -> bool:
        """Whether it ran in A and not in B."""
        return bool(self.reason_b) and not self.reason_a


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sweeps."""

    name: str
    folder: str
    machine: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sweeps side by side.

    Args:
        a: The sweep that is compared with.
        b: The sweep that is judged.
        differences: Of their environments and settings, those of the machine first.
        noise: The variation between runs that was reckoned with.
        within_pct: Changes less than this count as none.
        detectable_pct: The median of the least changes that could have been told.
        changes: Speed, trial by trial, the worst first.
        quality: By variant, device and precision.
        sizes: Of the models.
        only_a: Trials that only A has.
        only_b: Trials that only B has.
        failures: Trials that failed.
        notes: What else is to be known.
    """

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    noise: Noise
    within_pct: float
    detectable_pct: float
    changes: tuple[Change, ...]
    quality: tuple[QualityChange, ...]
    sizes: tuple[SizeChange, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[Note, ...]

    @property
    def same_machine(self) -> bool:
        """Whether no fact of the machine differs."""
        return not any(one.of_machine for one in self.differences)

    def regressions(self, limit_pct: float) -> tuple[str, ...]:
        """Return what became worse by at least a limit, beyond chance, or does not run any more."""
        slower = [
            f"{c.label}: {words(c.column)} {c.loss_pct:.1f} % worse"
            for c in self.changes
            if c.outcome == "worse" and c.loss_pct >= limit_pct
        ]
        poorer = [
            f"{q.label}: {words(q.column)} {q.loss_pct:.1f} % worse"
            for q in self.quality
            if q.outcome == "worse" and q.loss_pct >= limit_pct
        ]
        broken = [f"{f.label}: fails in B: {f.reason_b}" for f in self.failures if f.new]
        return (*slower, *poorer, *broken)

    def check(self, limit_pct: float) -> None:
        """Refuse what became worse by at least a limit.

        Raises:
            LimitNotMetError: Something did.
        """
        found = self.regressions(limit_pct)
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise LimitNotMetError(
                f"{len(found)} {'regression' if len(found) == 1 else 'regressions'} of at least"
                f" {limit_pct:g} %: {found[0]}{more}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        document = asdict(replace(self, noise=Noise()))
        document["noise"] = {
            "text": self.noise.text,
            "allowance_pct": self.noise.allowance_pct,
            "reruns": self.noise.reruns,
            "measured": [
                {"device": device, "column": column, "sd_pct": 100 * math.expm1(s.sd)}
                for (device, column), s in (self.noise.measured or {}).items()
            ],
        }
        document["same_machine"] = self.same_machine
        document["level"] = LEVEL
        return document


def compare(
    a: str | Path,
    b: str | Path,
    *,
    reruns: Sequence[str | Path] = (),
    noise_pct: float | None = None,
    within_pct: float = WITHIN_PCT,
) -> Comparison:
    """Compare sweep B with sweep A.

    Args:
        a: Folder of the sweep that is compared with.
        b: Folder of the sweep that is judged.
        reruns: Further sweeps of what A measured: A's figures are then the mean of all, and the
            variation between runs is measured with them instead of being allowed for.
        noise_pct: Standard deviation between runs of a throughput, in per cent; by default
            :data:`ovtool.report.noise.ALLOWANCE_PCT`.
        within_pct: Changes less than this count as none.

    Raises:
        InputError: A folder is no sweep, the same one is given twice, the two have no trial in
            common, or a figure given is not possible.
        NothingMeasuredError: No trial was measured in both.
    """
    noise = Noise() if noise_pct is None else Noise(noise_pct)
    one, other, *again = (read(path) for path in (a, b, *reruns))
    _different(one, other, again)
    return compare_sweeps(one, other, reruns=again, noise=noise, within_pct=within_pct)


def compare_sweeps(
    a: Sweep,
    b: Sweep,
    *,
    reruns: Sequence[Sweep] = (),
    noise: Noise | None = None,
    within_pct: float = WITHIN_PCT,
) -> Comparison:
    """Compare sweeps that were read; see :func:`compare`.

    Raises:
        InputError: The two have no trial in common, or ``within_pct`` is not possible.
        NothingMeasuredError: No trial was measured in both.
    """
    if not (math.isfinite(within_pct) and 0 < within_pct < 100):
        raise InputError(f"changes of less than {within_pct:g} % cannot count as none")
    found = match(a, b, reruns)
    fine = _measured(a, b, found)
    reckoned = noise or Noise()
    if reruns:
        spreads = measured_noise(list(_repeated(fine)))
        reckoned = replace(reckoned, measured=spreads, reruns=len(reruns))
    compared = [_compared(p, column, reckoned) for p in fine for column in columns(p.a.trial)]
    return _comparison(a, b, found, reckoned, within_pct, compared)


def _measured(a: Sweep, b: Sweep, found: Matching) -> list[Matched]:
    """Return the trials that ran on both sides."""
    if not found.pairs:
        raise InputError(
            f"{a.path} and {b.path} have no trial in common: {_what(a)} against {_what(b)}",
            "compare sweeps of the same variants, devices, batches and loads",
        )
    fine = [p for p in found.pairs if p.a.status == p.b.status == "ok"]
    if not fine:
        first = found.pairs[0]
        raise NothingMeasuredError(
            f"none of {len(found.pairs)} common trials was measured in both sweeps",
            f"{first.label}: {first.a.reason or first.b.reason}",
        )
    return fine


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
class _Compared:
    """A figure of both sides before all are judged together."""

    change: Change
    error: float
    """Standard error of the ratio's logarithm."""
    degrees: int | None


def _comparison(
    a: Sweep,
    b: Sweep,
    found: Matching,
    noise: Noise,
    within_pct: float,
    compared: Sequence[_Compared],
) -> Comparison:
    adjusted = statistics.holm([_p(one) for one in compared])
    changes = [
        replace(one.change, p=p, outcome=_outcome(one.change, p, within_pct))
        for one, p in zip(compared, adjusted, strict=True)
    ]
    return Comparison(
        a=_side(a),
        b=_side(b),
        differences=differences(_facts(a), _facts(b)),
        noise=noise,
        within_pct=within_pct,
        detectable_pct=_detectable([c for c in compared if not math.isnan(c.error)]),
        changes=_sorted(changes),
        quality=quality(a, b, found.pairs, LEVEL),
        sizes=sizes(a, b, found.pairs),
        only_a=tuple(m.label for m in found.only_a),
        only_b=tuple(m.label for m in found.only_b),
        failures=tuple(
            Failure(p.label, p.a.reason, p.b.reason)
            for p in found.pairs
            if not p.a.status == p.b.status == "ok"
        ),
        notes=found.notes,
    )


def _different(a: Sweep, b: Sweep, reruns: Sequence[Sweep]) -> None:
    paths = [sweep.path.resolve() for sweep in (a, b, *reruns)]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(
                f"{path} is given twice: a sweep cannot be compared with itself",
                "measure it again into another folder",
            )


def _what(sweep: Sweep) -> str:
    if not sweep.measurements:
        return "nothing measured"
    names = ", ".join(dict.fromkeys(m.trial.variant_name for m in sweep.measurements))
    return f"{names} on {', '.join(dict.fromkeys(m.device for m in sweep.measurements))}"


def _side(sweep: Sweep) -> Side:
    return Side(sweep.name, str(sweep.path), sweep.environment.machine)


def _facts(sweep: Sweep) -> dict[str, Any]:
    return {**sweep.environment.facts, "sweep settings": sweep.plan.settings}


def _repeated(pairs: Sequence[Matched]) -> Iterator[Repeated]:
    for pair in pairs:
        runs = [pair.a, *(m for m in pair.again if m.status == "ok")]
        for column in columns(pair.a.trial):
            taken = _figures(runs, column)
            logs = tuple(math.log(i.value) for i in taken.figures if i.value > 0)
            if not taken.unknown:
                yield Repeated(pair.a.device, taken.column, pair.a.trial.group, logs)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A figure of some runs, by the column that they can be compared by."""

    column: str
    figures: tuple[Interval, ...]
    unknown: str = ""


def _figures(runs: Sequence[Measurement], column: str) -> _Taken:
    """Return a figure of each run; throughput from CPU time where others took the CPU in one."""
    disturbed = {m.verdict for m in runs if m.verdict in {"contended", "throttled"}}
    if not disturbed:
        return _Taken(column, tuple(_figure(m, column) for m in runs))
    why = f"{' and '.join(sorted(str(v) for v in disturbed))} while it was measured"
    if column != "throughput_fps" or not all(m.on_cpu for m in runs):
        return _Taken(column, tuple(_figure(m, column) for m in runs), why)
    rates = tuple(_rate_by_cpu_time(m) for m in runs)
    if any(math.isnan(rate.value) for rate in rates):
        return _Taken(column, tuple(_figure(m, column) for m in runs), why)
    return _Taken(_BY_CPU_TIME, rates)


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


def _compared(pair: Matched, column: str, noise: Noise) -> _Compared:
    again = tuple(m for m in pair.again if m.status == "ok")
    runs = (pair.a, *again, pair.b)
    taken = _figures(runs, column)
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
    return _Compared(change, math.nan if why else error, spread.degrees)


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


def _p(one: _Compared) -> float:
    if math.isnan(one.error):
        return math.nan
    log = math.log(one.change.ratio.value)
    if one.error == 0:
        return 1.0 if log == 0 else 0.0
    return statistics.two_sided_p(log / one.error, one.degrees)


def _outcome(change: Change, p: float, within_pct: float) -> Outcome:
    if math.isnan(p):
        return "unknown"
    if p < LEVEL:
        return "worse" if change.loss_pct > 0 else "better"
    margin = 1 + within_pct / 100
    return "same" if 1 / margin < change.ratio.low and change.ratio.high < margin else "unknown"


def _detectable(compared: Sequence[_Compared]) -> float:
    """Return the median of the losses that would have been told, in per cent."""
    if not compared:
        return math.nan
    level = LEVEL / len(compared)
    least = sorted(1 - math.exp(-statistics.critical(level, c.degrees) * c.error) for c in compared)
    return 100 * least[len(least) // 2]


def _sorted(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return trials by their worst figure, the figures of a trial together."""
    worst: dict[str, tuple[int, float]] = {}
    for one in changes:
        loss = 0.0 if math.isnan(one.loss_pct) else one.loss_pct
        key = (OUTCOMES.index(one.outcome), -abs(loss))
        worst[one.label] = min(worst.get(one.label, key), key)
    return tuple(sorted(changes, key=lambda one: (worst[one.label], one.label)))
