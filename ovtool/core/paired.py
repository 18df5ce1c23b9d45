"""A metric in two conditions on the same samples, compared sample by sample.

A pair of scores tells more than two means: samples with the same score in both conditions add no
variance to the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.statistics import CONFIDENCE, Z975, Interval, mean_interval, student_t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class SampleScores:
    """What each sample adds to a metric that is ``sum(values) / sum(weights)``, higher is better.

    ``weights`` are None where each sample weighs 1. Values of a share of samples are bools.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    @property
    def proportion(self) -> bool:
        """Whether the metric is a share of samples."""
        return all(isinstance(value, bool) for value in self.values)


@dataclass(frozen=True, slots=True)
class PairedDrop:
    """The drop of a metric, with its interval.

    Of a share of samples, ``lost`` samples count in the first condition only, ``won`` in the second
    only; None for other metrics.
    """

    lost: int | None
    won: int | None
    drop: Interval


def compare_scores(before: SampleScores, after: SampleScores) -> PairedDrop:
    """Return the drop from the scores of the same samples, in the same order.

    The interval of a share of samples is that of :func:`paired_difference`, of a mean Student's, of
    a ratio that of the bootstrap over samples.

    Raises:
        ValueError: The numbers of samples or the weights differ, or there are no samples.
    """
    if before.weights != after.weights:
        raise ValueError("the weights of the samples differ")
    if before.proportion and after.proportion:
        return compare_outcomes([v > 0 for v in before.values], [v > 0 for v in after.values])
    pairs = zip(before.values, after.values, strict=True)
    losses = np.array([first - second for first, second in pairs], float)
    if not losses.size:
        raise ValueError("there are no samples to compare")
    if not np.isfinite(losses).all():
        return PairedDrop(None, None, Interval(math.nan, math.nan, math.nan))
    if before.weights is None:
        return PairedDrop(None, None, mean_interval(losses.tolist()))
    return PairedDrop(None, None, _bootstrap_ratio(losses, np.array(before.weights, float)))


def _bootstrap_ratio(losses: NDArray[np.float64], weights: NDArray[np.float64]) -> Interval:
    """Return ``sum(losses) / sum(weights)`` with a percentile interval over samples.

    It is widened to Student's t, since few samples understate the spread (Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap", section 3.2). If no sample has a loss, no resample
    has one: the limits then are those of the share of samples with a loss.
    """
    count = losses.size
    value = float(losses.sum() / weights.sum())
    if not losses.any():
        return paired_difference(0, 0, count)
    if count == 1:
        return Interval(value, math.nan, math.nan)
    drawn = np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))
    ratios = losses[drawn].sum(1) / weights[drawn].sum(1)
    ends = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    widen = math.sqrt(count / (count - 1)) * student_t(count - 1) / Z975
    low, high = min(value, float(ends[0])), max(value, float(ends[1]))
    return Interval(value, value - widen * (value - low), value + widen * (high - value))


def compare_outcomes(before: Sequence[bool], after: Sequence[bool]) -> PairedDrop:
    """Return the drop from the outcomes of the same samples, in the same order.

    Raises:
        ValueError: The numbers of samples differ, or there are none.
    """
    pairs = list(zip(before, after, strict=True))
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    return PairedDrop(lost, won, paired_difference(lost, won, len(pairs)))


def paired_difference(lost: int, won: int, count: int) -> Interval:
    """Return the drop of a proportion between two conditions on the same samples, in [-1, 1].

    The interval inverts the score test for paired proportions (Tango 1998, "Equivalence test and
    confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17); at a drop of 0 it is McNemar's test.

    Args:
        lost: Samples that count only in the first condition.
        won: Samples that count only in the second one.
        count: All samples.

    Raises:
        ValueError: ``count`` is below 1 or below ``lost + won``, or a number is negative.
    """
    if count < 1 or min(lost, won) < 0 or lost + won > count:
        raise ValueError(f"{lost} lost and {won} won of {count} samples are not counts")
    value = (lost - won) / count

    def score(drop: float) -> float:
        """Return Tango's statistic: decreasing, 0 at the observed drop."""
        b = -lost - won + (2 * count - lost + won) * drop
        c = -won * drop * (1 - drop)
        share = (math.sqrt(max(0.0, b * b - 8 * count * c)) - b) / (4 * count)
        variance = count * (2 * share + drop * (1 - drop))
        distance = lost - won - count * drop
        if variance <= 0:
            return 0.0 if distance == 0 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)

    def solve(inside: float, outside: float, limit: float) -> float:
        if abs(score(outside)) <= limit:
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(score(middle)) <= limit else (inside, middle)
        return inside

    return Interval(value, solve(value, -1.0, Z975), solve(value, 1.0, Z975))
