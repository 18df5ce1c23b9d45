"""Small pure functions that carry their uncertainty.

Every interval is a 95 % one.  Nothing here knows of models or devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
_Z = 1.959963984540054
# Student's t at 97.5 % by degrees of freedom (any table of the distribution); beyond 30 the
# expansion of Abramowitz and Stegun 26.7.5 is used.
_T975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; ``low`` and ``high`` are NaN when it cannot be told."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def half_width_pct(self) -> float:
        """Half of the interval's width in per cent of the value; NaN when unknown."""
        if not self.known or self.value == 0:
            return math.nan
        return 50.0 * (self.high - self.low) / abs(self.value)

    def excludes(self, value: float) -> bool:
        """Whether a value is outside the interval: the difference is supported by the data."""
        return self.known and not self.low <= value <= self.high

    def overlaps(self, other: Interval) -> bool:
        """Whether two figures may be the same; an unknown interval overlaps everything."""
        if not (self.known and other.known):
            return True
        return self.low <= other.high and other.low <= self.high


def student_t(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    if degrees < 1:
        return math.nan
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    return _Z + (_Z**3 + _Z) / (4 * degrees) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * degrees**2)


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion with its score interval (Wilson 1927), in [0, 1].

    Raises:
        ValueError: ``trials`` is below 1, or ``successes`` is not within 0 and ``trials``.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a proportion")
    p = successes / trials
    scale = 1 + _Z**2 / trials
    centre = (p + _Z**2 / (2 * trials)) / scale
    half = _Z * math.sqrt(p * (1 - p) / trials + _Z**2 / (4 * trials**2)) / scale
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of independent values with Student's t interval."""
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, math.nan, math.nan)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = student_t(n - 1) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def ratio_by_round(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return the ratio of two things measured in the same rounds, taken round by round.

    What drifts slowly (clock, heat, neighbours) is in both figures of a round and cancels.  The
    estimate is the geometric mean of the rounds' ratios, with Student's t interval on their
    logarithms.

    Args:
        numerators: One positive figure a round.
        denominators: The other's figure in the same rounds.

    Raises:
        ValueError: The two differ in length, or a figure is not positive.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} rounds against {len(denominators)}")
    if any(not v > 0 for v in (*numerators, *denominators)):
        raise ValueError("a ratio by round needs positive figures")
    logs = [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]
    mean = mean_interval(logs)
    return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high))


def ratio_unpaired(numerator: Interval, denominator: Interval) -> Interval:
    """Return the ratio of two figures measured apart, their relative errors added in quadrature.

    Drift between the two is not in the interval, so it is too narrow on a busy machine.
    """
    value = numerator.value / denominator.value if denominator.value else math.nan
    half = math.hypot(numerator.half_width_pct, denominator.half_width_pct) / 100
    return Interval(value, value / (1 + half), value * (1 + half))


def bootstrap_rate(
    amounts: Sequence[float], durations: Sequence[float], resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return ``sum(amounts) / sum(durations)`` with a bootstrap interval over the windows.

    Whole windows are drawn with replacement (never single inferences, which are correlated), and
    the percentile interval is widened by ``sqrt(n / (n - 1))`` since few windows understate their
    own spread (Efron and Tibshirani 1993, chapter 13).
    """
    a, d = np.asarray(amounts, float), np.asarray(durations, float)
    if a.shape != d.shape:
        raise ValueError(f"{a.size} amounts against {d.size} durations")
    if a.size == 0 or d.sum() <= 0:
        return Interval(math.nan, math.nan, math.nan)
    value = float(a.sum() / d.sum())
    if a.size == 1:
        return Interval(value, math.nan, math.nan)
    drawn = np.random.default_rng(seed).integers(0, a.size, (resamples, a.size))
    rates = a[drawn].sum(1) / d[drawn].sum(1)
    return _percentile_interval(value, rates, a.size)


def quantile(samples: NDArray[np.float64] | Sequence[float], q: float) -> float:
    """Return a quantile by linear interpolation (type 7 of Hyndman and Fan 1996)."""
    return float(np.quantile(np.asarray(samples, float), q)) if len(samples) else math.nan


def bootstrap_quantile(
    windows: Sequence[Sequence[float]], q: float, resamples: int = 400, seed: int = 0
) -> Interval:
    """Return a quantile of all samples with a bootstrap interval over their windows.

    Each resample weights the sorted samples with how often their window was drawn, so the cost is
    one sort and a cumulative sum a resample, whatever the number of samples.

    Args:
        windows: The samples of each window.
        q: The quantile, within [0, 1].
        resamples: How often windows are drawn.
        seed: Of the drawing.
    """
    kept = [np.asarray(w, float) for w in windows if len(w)]
    if not kept:
        return Interval(math.nan, math.nan, math.nan)
    samples = np.concatenate(kept)
    value = quantile(samples, q)
    if len(kept) == 1:
        return Interval(value, math.nan, math.nan)
    owner = np.repeat(np.arange(len(kept)), [w.size for w in kept])
    order = np.argsort(samples, kind="stable")
    samples, owner = samples[order], owner[order]
    rng = np.random.default_rng(seed)
    estimates = np.empty(resamples)
    for i in range(resamples):
        counts = np.bincount(rng.integers(0, len(kept), len(kept)), minlength=len(kept))
        weights = np.cumsum(counts[owner])
        estimates[i] = samples[np.searchsorted(weights, q * weights[-1], side="left")]
    return _percentile_interval(value, estimates, len(kept))


def _percentile_interval(value: float, estimates: NDArray[np.float64], n: int) -> Interval:
    low, high = np.quantile(estimates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    widen = math.sqrt(n / (n - 1))
    return Interval(
        value,
        value - widen * max(0.0, value - float(low)),
        value + widen * max(0.0, float(high) - value),
    )
