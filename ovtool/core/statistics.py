"""Small pure functions that carry their uncertainty.

Every interval is a 95 % one.  Nothing here knows of models or devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
Z975 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
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
    def exact(self) -> bool:
        """Whether the figure has no error, as a size."""
        return self.low == self.value == self.high

    @property
    def half_width_pct(self) -> float:
        """Half of the interval's width in per cent of the value; NaN when unknown."""
        if not self.known or self.value == 0:
            return math.nan
        return 50.0 * (self.high - self.low) / abs(self.value)

    def excludes(self, value: float) -> bool:
        """Whether a value is outside the interval: the difference is supported by the data."""
        return self.known and not self.low <= value <= self.high


def student_t(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    if degrees < 1:
        return math.nan
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    z = Z975
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def two_sided_p(z: float, degrees: int | None = None) -> float:
    """Return how likely a value at least so far from 0 is, on either side, by chance alone.

    Args:
        z: An estimate by its standard error.
        degrees: Degrees of freedom of that error, for Student's t (the finite series of
            Abramowitz and Stegun 26.7.3 and 26.7.4); None where it is known: the normal
            distribution.

    Raises:
        ValueError: ``degrees`` is below 1.
    """
    if degrees is None or math.isnan(z):
        return math.erfc(abs(z) / math.sqrt(2))
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom tell nothing")
    theta = math.atan(abs(z) / math.sqrt(degrees))
    odd = degrees % 2
    term = total = 0.0 if degrees == 1 else (math.cos(theta) if odd else 1.0)
    for i in range(2 + odd, degrees - 1, 2):
        term *= (i - 1) / i * math.cos(theta) ** 2
        total += term
    inside = math.sin(theta) * total
    return max(0.0, 1 - (2 / math.pi * (theta + inside) if odd else inside))


def critical(p: float, degrees: int | None = None) -> float:
    """Return the distance from 0, in standard errors, whose :func:`two_sided_p` is ``p``."""
    if degrees is None:
        return -NormalDist().inv_cdf(p / 2)
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > p and high < 1e9:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees) > p else (low, middle)
    return (low + high) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979, step-down).

    Calling different what stays below a level errs anywhere among them with at most that
    probability, however they depend on one another: what is measured in turn drifts alike.  NaN
    stays NaN and does not count.
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, least = [math.nan] * len(p_values), 0.0
    for place, (p, index) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - place)))
        adjusted[index] = least
    return adjusted


def difference(minuend: Interval, subtrahend: Interval) -> Interval:
    """Return the difference of two independent figures from their intervals.

    The distances from value to limit are added in quadrature, side by side (Newcombe 1998,
    method 10, for shares with :func:`wilson`; Zou and Donner 2008 in general).
    """
    value = minuend.value - subtrahend.value
    return Interval(
        value,
        value - math.hypot(minuend.value - minuend.low, subtrahend.high - subtrahend.value),
        value + math.hypot(minuend.high - minuend.value, subtrahend.value - subtrahend.low),
    )


def standard_error(interval: Interval) -> float:
    """Return the standard error that a 95 % interval of a positive figure's logarithm stands for.

    NaN where the interval is not known or reaches 0.
    """
    if not interval.known or interval.low <= 0:
        return math.nan
    return math.log(interval.high / interval.low) / (2 * Z975)


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion with its score interval (Wilson 1927), in [0, 1].

    Raises:
        ValueError: ``trials`` is below 1, or ``successes`` is not within 0 and ``trials``.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a proportion")
    p = successes / trials
    scale = 1 + Z975**2 / trials
    centre = (p + Z975**2 / (2 * trials)) / scale
    half = Z975 * math.sqrt(p * (1 - p) / trials + Z975**2 / (4 * trials**2)) / scale
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def samples_to_tell(share: float, other: float) -> int | None:
    """Return how many samples make the interval of a proportion exclude another one.

    Wilson's interval is the score test turned round, so it excludes ``other`` exactly from
    ``z^2 other (1 - other) / (share - other)^2`` on, if the share that is found stays the same.

    Returns:
        None where the two are equal, which no number of samples tells apart.
    """
    if share == other:
        return None
    return max(1, math.floor(Z975**2 * other * (1 - other) / (share - other) ** 2) + 1)


def samples_for_half_width(share: float, half: float) -> int:
    """Return how many samples bring half of Wilson's interval of a proportion to ``half``.

    Solved for n: ``half^2 (n + z^2)^2 = z^2 (n share (1 - share) + z^2 / 4)``.

    Raises:
        ValueError: ``half`` is not above 0, or not below a half.
    """
    if not 0 < half < 0.5:
        raise ValueError(f"half a width of {half} is none of a proportion's")
    z2, spread = Z975**2, share * (1 - share)
    b = 2 * half**2 - spread
    root = math.sqrt(max(0.0, b**2 - 4 * half**2 * (half**2 - 0.25)))
    return max(1, math.ceil(z2 * (root - b) / (2 * half**2)))


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


def with_doubt(ratio: Interval, doubt: float) -> Interval:
    """Return a ratio whose interval also holds an error of the method, added in quadrature.

    Args:
        ratio: Positive, with what its samples tell of it.
        doubt: Half-width of the 95 % interval of the error that no sample shows, as a share.
    """

    def away(end: float) -> float:
        return math.hypot(math.log(end / ratio.value), math.log1p(doubt))

    return Interval(
        ratio.value,
        ratio.value * math.exp(-away(ratio.low)),
        ratio.value * math.exp(away(ratio.high)),
    )


def bootstrap_rate(
    amounts: Sequence[float],
    durations: Sequence[float],
    blocks: Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return ``sum(amounts) / sum(durations)`` with a bootstrap interval over blocks of windows.

    Whole blocks are drawn with replacement, never single inferences: neighbours in time are
    correlated.  The percentile interval of few blocks is too narrow, so it is widened to that of
    Student's t (see :func:`_percentile_interval`).

    Args:
        amounts: Of each window, such as samples.
        durations: Of each window, in s.
        blocks: The block of each window, such as the round that it was measured in; by default
            every window is a block.
        resamples: How often blocks are drawn.
        seed: Of the drawing.

    Raises:
        ValueError: The arguments differ in length.
    """
    a, d = np.asarray(amounts, float), np.asarray(durations, float)
    if a.shape != d.shape:
        raise ValueError(f"{a.size} amounts against {d.size} durations")
    if a.size == 0 or d.sum() <= 0:
        return Interval(math.nan, math.nan, math.nan)
    value = float(a.sum() / d.sum())
    block, count = _numbered(blocks, a.size)
    if count == 1:
        return Interval(value, math.nan, math.nan)
    a, d = np.bincount(block, a, count), np.bincount(block, d, count)
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    rates = a[drawn].sum(1) / d[drawn].sum(1)
    return _percentile_interval(value, rates, a / np.where(d > 0, d, math.nan))


def _numbered(blocks: Sequence[int] | None, windows: int) -> tuple[NDArray[np.intp], int]:
    """Return each window's block as 0, 1, 2 ..., and how many blocks there are."""
    if blocks is None:
        return np.arange(windows), windows
    if len(blocks) != windows:
        raise ValueError(f"{len(blocks)} blocks against {windows} windows")
    found, numbers = np.unique(np.asarray(blocks), return_inverse=True)
    return numbers, found.size


def quantile(samples: NDArray[np.float64] | Sequence[float], q: float) -> float:
    """Return a quantile by linear interpolation (type 7 of Hyndman and Fan 1996)."""
    return float(np.quantile(np.asarray(samples, float), q)) if len(samples) else math.nan


def bootstrap_quantile(
    windows: Sequence[Sequence[float]],
    q: float,
    blocks: Sequence[int] | None = None,
    resamples: int = 400,
    seed: int = 0,
) -> Interval:
    """Return a quantile of all samples with a bootstrap interval over blocks of windows.

    Each resample weights the sorted samples with how often their block was drawn, so the cost is
    one sort and a cumulative sum a resample, whatever the number of samples.

    Args:
        windows: The samples of each window.
        q: The quantile, within [0, 1].
        blocks: The block of each window, as for :func:`bootstrap_rate`.
        resamples: How often blocks are drawn.
        seed: Of the drawing.
    """
    block, _ = _numbered(blocks, len(windows))
    filled = [i for i, w in enumerate(windows) if len(w)]
    if not filled:
        return Interval(math.nan, math.nan, math.nan)
    samples = np.concatenate([np.asarray(windows[i], float) for i in filled])
    value = quantile(samples, q)
    kept, count = _numbered([int(block[i]) for i in filled], len(filled))
    if count == 1:
        return Interval(value, math.nan, math.nan)
    owner = np.repeat(kept, [len(windows[i]) for i in filled])
    order = np.argsort(samples, kind="stable")
    samples, owner = samples[order], owner[order]
    rng = np.random.default_rng(seed)
    estimates = np.empty(resamples)
    for i in range(resamples):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)
        weights = np.cumsum(drawn[owner])
        estimates[i] = samples[np.searchsorted(weights, q * weights[-1], side="left")]
    by_block = np.array([quantile(samples[owner == b], q) for b in range(count)])
    return _percentile_interval(value, estimates, by_block)


def drift(values: Sequence[float]) -> Interval:
    """Return how far a series moved from its first to its last value, in per cent of its median.

    The slope is the median of all pairs' slopes (Theil 1950, Sen 1968) and its interval comes from
    the distribution of Kendall's S, so single values far off move neither.  The interval excludes
    0 only if the series keeps rising or falling.

    Args:
        values: At equal steps in time; fewer than four have no drift.
    """
    n = len(values)
    if n < 4:
        return Interval(math.nan, math.nan, math.nan)
    series = np.asarray(values, float)
    later, earlier = np.tril_indices(n, -1)
    slopes = np.sort((series[later] - series[earlier]) / (later - earlier))
    spread = Z975 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((slopes.size - spread) / 2) - 1)
    high = min(slopes.size - 1, math.ceil((slopes.size + spread) / 2))
    scale = 100.0 * (n - 1) / float(np.median(series))
    return Interval(
        float(np.median(slopes)) * scale, float(slopes[low]) * scale, float(slopes[high]) * scale
    )


def _percentile_interval(
    value: float, estimates: NDArray[np.float64], by_block: NDArray[np.float64]
) -> Interval:
    """Return the percentile interval of an estimate over blocks, widened for what it leaves out.

    A bootstrap takes the blocks as if they were all there is: with few of them that understates
    the spread by ``sqrt(n / (n - 1))``, and takes the normal distribution's limits where Student's
    t would stand (Efron and Tibshirani 1993, chapters 12 and 13; Hesterberg 2015, section 3.2).
    It also takes them as independent; what one tells of the next adds to the spread too.

    Args:
        value: The estimate.
        estimates: Those of the resamples.
        by_block: The figure of each block alone, in the order of time.
    """
    n = by_block.size
    low, high = np.quantile(estimates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    widen = math.sqrt(n / (n - 1)) * student_t(n - 1) / Z975 * _correlation_factor(by_block)
    return Interval(
        value,
        value - widen * max(0.0, value - float(low)),
        value + widen * max(0.0, float(high) - value),
    )


_MOST_CORRELATED = 0.75
"""Beyond this a short measurement cannot tell correlation from drift."""


def _correlation_factor(series: NDArray[np.float64]) -> float:
    """Return by how much correlation of neighbours widens the interval of a mean, at least 1.

    For a first-order autoregressive series of lag-1 correlation r that is
    ``sqrt((1 + r) / (1 - r))`` (Geyer 1992 gives the general form).  The estimate of r in a short
    series lies about ``1 / n`` too low, which is put back; a negative one is taken as none.
    """
    known = series[np.isfinite(series)]
    centred = known - known.mean() if known.size else known
    spread = float(centred @ centred)
    if known.size < 4 or spread <= 0:
        return 1.0
    r = float(centred[1:] @ centred[:-1]) / spread + 1 / known.size
    r = min(max(r, 0.0), _MOST_CORRELATED)
    return math.sqrt((1 + r) / (1 - r))
