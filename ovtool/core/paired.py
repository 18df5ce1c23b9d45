"""Proportions of two conditions on the same samples, compared sample by sample.

A pair of outcomes tells more than two proportions: samples with the same outcome in both conditions
add no variance to the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.statistics import Z975, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PairedDrop:
    """The drop of a proportion, with its interval.

    ``lost`` samples count in the first condition only, ``won`` in the second only.
    """

    lost: int
    won: int
    drop: Interval


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
