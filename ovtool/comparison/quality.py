"""Quality and size of the models of two sweeps, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ovtool.core import statistics
from ovtool.core.columns import BY_NAME
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.matching import Matched
    from ovtool.core.measurement import Measurement
    from ovtool.results.reading import Sweep

Outcome = Literal["worse", "better", "unknown", "same"]
WITHIN = 0.01
"""A difference of quality below a point counts as none."""


@dataclass(frozen=True, slots=True)
class QualityChange:
    """The quality of a variant on a device in both sweeps.

    Args:
        label: Variant, device, precision and shapes.
        column: The metric.
        a: In A.
        b: In B.
        difference: B - A with its 95 % interval, as of independent samples: wider than need be
            where both were judged on the same ones.
        p: Of the difference, adjusted for their number.
        outcome: Of B against A.
        remark: Why it is unknown, or how it is known to be the same.
    """

    label: str
    column: str
    a: Interval
    b: Interval
    difference: Interval
    p: float
    outcome: Outcome
    remark: str = ""

    @property
    def loss_pct(self) -> float:
        """By how much B is worse, in per cent of A."""
        return -100 * self.difference.value / self.a.value if self.a.value > 0 else math.nan


@dataclass(frozen=True, slots=True)
class SizeChange:
    """The size of a variant's files in both sweeps, which is exact."""

    variant: str
    a_mib: float
    b_mib: float

    @property
    def change_pct(self) -> float:
        """By how much B is larger, in per cent of A."""
        return 100 * (self.b_mib / self.a_mib - 1)


def quality(
    a: Sweep, b: Sweep, pairs: Sequence[Matched], level: float
) -> tuple[QualityChange, ...]:
    """Compare the quality of each variant, device, precision and shape.

    Args:
        a: The sweep that is compared with.
        b: The sweep that is judged.
        pairs: Their trials, side by side.
        level: Chance that any difference is called one without being one.
    """
    metrics = {a.plan.quality_metric, b.plan.quality_metric}
    if None in metrics:
        return ()
    column = str(metrics.pop()) if len(metrics) == 1 else "agreement_top1"
    mine, theirs = _evaluated(a), _evaluated(b)
    samples = a.plan.evaluated_on == b.plan.evaluated_on
    configurations = {p.a.trial.configuration: p for p in pairs}
    found = [
        _change(mine[configuration], theirs[pair.b.trial.configuration], column, samples)
        for configuration, pair in configurations.items()
        if configuration in mine and pair.b.trial.configuration in theirs
    ]
    adjusted = statistics.holm([one.p for one in found])
    return tuple(
        replace(one, p=p, outcome=_outcome(one, p, level))
        for one, p in zip(found, adjusted, strict=True)
    )


def sizes(a: Sweep, b: Sweep, pairs: Sequence[Matched]) -> tuple[SizeChange, ...]:
    """Compare the sizes of the variants that are in both sweeps."""

    def found() -> Iterator[SizeChange]:
        for mine, theirs in dict.fromkeys((p.a.trial.variant, p.b.trial.variant) for p in pairs):
            old, new = a.plan.variants.get(mine), b.plan.variants.get(theirs)
            if old is not None and new is not None and old.model_mib > 0:
                yield SizeChange(old.name, old.model_mib, new.model_mib)

    return tuple(found())


def _evaluated(sweep: Sweep) -> dict[tuple[object, ...], Measurement]:
    """Return the measurement that a configuration's quality was taken with."""
    return {m.trial.configuration: m for m in sweep.measurements if "quality_samples" in m.figures}


def _change(a: Measurement, b: Measurement, column: str, same_samples: bool) -> QualityChange:
    mine, theirs = _share(a, column), _share(b, column)
    apart = statistics.difference(theirs, mine)
    trial = a.trial
    label = " ".join((trial.variant_name, trial.precision, a.device))
    change = QualityChange(label, column, mine, theirs, apart, math.nan, "unknown")
    if math.isnan(apart.value):
        return replace(change, remark=f"{BY_NAME[column].title} was not measured in both")
    if not same_samples:
        return replace(change, remark="judged on different samples")
    names = (column, "output_cosine", "quality_samples")
    if trial.variant == b.trial.variant and all(
        a.figures.get(name) == b.figures.get(name) for name in names
    ):
        return replace(change, outcome="same", remark="the same model gave the same outputs")
    return replace(change, p=_p(apart))


def _share(of: Measurement, column: str) -> Interval:
    names = (column, f"{column}_ci_low", f"{column}_ci_high")
    return Interval(*(float(of.figures.get(name, math.nan)) for name in names))


def _p(apart: Interval) -> float:
    """Return the p-value at which the interval, widened in proportion, would reach 0."""
    if not apart.known:
        return math.nan
    half = apart.value - apart.low if apart.value > 0 else apart.high - apart.value
    if half <= 0:
        return 1.0 if apart.value == 0 else 0.0
    return statistics.two_sided_p(apart.value / half * statistics.critical(0.05))


def _outcome(one: QualityChange, p: float, level: float) -> Outcome:
    if math.isnan(p):
        return one.outcome
    if p < level:
        return "worse" if one.difference.value < 0 else "better"
    inside = one.difference.low > -WITHIN and one.difference.high < WITHIN
    return "same" if inside else "unknown"
