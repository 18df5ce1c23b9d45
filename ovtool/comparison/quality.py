"""Quality and size of the models in both sweeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.comparison.figures import LEVEL, Outcome, interval_of
from ovtool.core import statistics, units
from ovtool.core.columns import BY_NAME, common_metric, quality_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.comparison.matching import MatchedTrial
    from ovtool.core.measurement import Measurement
    from ovtool.core.statistics import Interval
    from ovtool.results.sweep_data import SweepData

WITHIN = 0.01
"""A smaller difference of quality counts as no change: one percentage point, or 1% of an error."""
DIFFERENT_SAMPLES = "evaluated on different samples"
SAME_OUTPUTS = "the same model with the same outputs"


@dataclass(frozen=True, slots=True)
class QualityChange:
    """The quality of a variant on a device in both sweeps.

    Args:
        label: Variant, precision and device.
        difference: B - A with its 95% interval, as of independent samples: too wide if both were
            evaluated on the same samples.
        p: p-value of the difference, adjusted for the number of variants.
        remark: Why the outcome is unknown, or why it is the same.
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
        """Loss of B in percent of A."""
        loss = quality_loss(self.column, self.a.value, self.b.value)
        return 100 * loss / self.a.value if self.a.value > 0 else math.nan

    @property
    def max_loss_pct(self) -> float:
        """Largest loss within the interval; infinite if unknown."""
        known = self.difference.known and self.a.value > 0
        return -100 * self.difference.low / self.a.value if known else math.inf

    @property
    def reason(self) -> str:
        """Why the outcome is unknown: the remark, or the width of the interval."""
        d = self.difference
        return self.remark or f"B - A {units.interval_text(d.value, d.low, d.high)}"


@dataclass(frozen=True, slots=True)
class SizeChange:
    """The size of a variant's files in both sweeps, which is exact."""

    variant: str
    a_mib: float
    b_mib: float

    @property
    def change_pct(self) -> float:
        """Increase of the size in percent of A."""
        return 100 * (self.b_mib / self.a_mib - 1)


def compare_quality(
    a: SweepData, b: SweepData, pairs: Sequence[MatchedTrial]
) -> tuple[QualityChange, ...]:
    """Compare the quality of each variant, device, precision and shape of matched trials."""
    metrics = {a.plan.quality_metric, b.plan.quality_metric}
    if None in metrics:
        return ()
    column = common_metric({m for m in metrics if m}) if len(metrics) > 1 else str(metrics.pop())
    in_a, in_b = _evaluated(a), _evaluated(b)
    same_samples = a.plan.evaluated_on == b.plan.evaluated_on
    configurations = {p.a.trial.configuration: p.b.trial.configuration for p in pairs}
    changes = [
        _change(in_a[old], in_b[new], column, same_samples)
        for old, new in configurations.items()
        if old in in_a and new in in_b
    ]
    adjusted = statistics.holm([change.p for change in changes])
    return tuple(
        replace(change, p=p, outcome=_outcome(change, p))
        for change, p in zip(changes, adjusted, strict=True)
    )


def compare_sizes(
    a: SweepData, b: SweepData, pairs: Sequence[MatchedTrial]
) -> tuple[SizeChange, ...]:
    """Compare the sizes of the variants that both sweeps have."""
    changes = []
    for id_a, id_b in dict.fromkeys((p.a.trial.variant, p.b.trial.variant) for p in pairs):
        old, new = a.plan.variants.get(id_a), b.plan.variants.get(id_b)
        if old is not None and new is not None and old.model_mib > 0:
            changes.append(SizeChange(old.name, old.model_mib, new.model_mib))
    return tuple(changes)


def _evaluated(sweep: SweepData) -> dict[tuple[object, ...], Measurement]:
    """Return the measurement with the quality of each configuration."""
    return {m.trial.configuration: m for m in sweep.measurements if "quality_samples" in m.figures}


def _change(a: Measurement, b: Measurement, column: str, same_samples: bool) -> QualityChange:
    quality_a, quality_b = interval_of(a, column), interval_of(b, column)
    difference = statistics.difference(quality_b, quality_a)
    label = f"{a.trial.variant_name} {a.trial.precision} {a.device}"
    change = QualityChange(label, column, quality_a, quality_b, difference, math.nan, "unknown")
    if math.isnan(difference.value):
        return replace(change, remark=f"no {BY_NAME[column].title} in A or in B")
    if not same_samples:
        return replace(change, remark=DIFFERENT_SAMPLES)
    names = (column, "output_cosine", "output_relative_error", "quality_samples")
    if a.trial.variant == b.trial.variant and all(
        a.figures.get(name) == b.figures.get(name) for name in names
    ):
        return replace(change, outcome="same", remark=SAME_OUTPUTS)
    return replace(change, p=_p(difference))


def _p(difference: Interval) -> float:
    """Return the p-value at which the interval, widened in proportion, would reach 0."""
    if not difference.known:
        return math.nan
    toward_zero = difference.low if difference.value > 0 else difference.high
    half = abs(difference.value - toward_zero)
    if half <= 0:
        return 1.0 if difference.value == 0 else 0.0
    return statistics.two_sided_p(difference.value / half * statistics.critical(0.05))


def _outcome(change: QualityChange, p: float) -> Outcome:
    if math.isnan(p):
        return change.outcome
    if p < LEVEL:
        return (
            "worse" if quality_loss(change.column, change.a.value, change.b.value) > 0 else "better"
        )
    within = WITHIN if BY_NAME[change.column].better == "higher" else WITHIN * change.a.value
    within = change.difference.low > -within and change.difference.high < within
    return "same" if within else "unknown"
