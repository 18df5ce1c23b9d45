"""Statistics of measurements: every figure with its 95% confidence interval.

scipy provides the distributions and the Theil-Sen slope.  The interval of a rate or quantile is a
block bootstrap: scipy's resamples single values, and the inferences of one window are correlated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
Scale = Literal["log", "linear"]
Z975 = 1.959963984540054
"""97.5% quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95% confidence interval; ``low`` and ``high`` are NaN when unknown."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval is known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def exact(self) -> bool:
        """Whether the figure has no error, such as a file size."""
        return self.low == self.value == self.high

    @property
    def half_width_pct(self) -> float:
        """Half of the interval's width in percent of the value; NaN when unknown."""
        if not self.known or self.value == 0:
            return math.nan
        return 50.0 * (self.high - self.low) / abs(self.value)

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside the interval."""
        return self.known and not self.low <= value <= self.high


def student_t(degrees: int) -> float:
    """Return the 97.5% quantile of Student's t distribution; NaN below one degree of freedom."""
    from scipy import special

    return float(special.stdtrit(degrees, 0.975)) if degrees >= 1 else math.nan


def two_sided_p(z: float, degrees: int | None = None) -> float:
    """Return the two-sided p-value of ``z``, the estimate divided by its standard error.

    The distribution is Student's t with the degrees of freedom of the standard error; normal for
    None, a standard error that is known.

    Raises:
        ValueError: ``degrees`` is below 1.
    """
    from scipy import special

    if degrees is None:
        return float(2 * special.ndtr(-abs(z)))
    if degrees < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {degrees}")
    return float(2 * special.stdtr(degrees, -abs(z)))


def critical(p: float, degrees: int | None = None) -> float:
    """Return the critical value of a two-sided test: the inverse of :func:`two_sided_p`."""
    from scipy import special

    tail = special.ndtri(p / 2) if degrees is None else special.stdtrit(degrees, p / 2)
    return -float(tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple comparisons (Holm 1979, step-down).

    Rejecting below a level keeps the family-wise error rate at that level, for any dependence
    between the tests.  NaN stays NaN and does not count as a test.
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, running_max = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(order):
        running_max = max(running_max, min(1.0, p * (len(order) - rank)))
        adjusted[index] = running_max
    return adjusted


def difference(minuend: Interval, subtrahend: Interval) -> Interval:
    """Return the difference of two independent figures from their intervals.

    The distances from value to limit are added in quadrature on each side (Newcombe 1998,
    method 10, for proportions with :func:`wilson`; Zou and Donner 2008 in general).
    """
    value = minuend.value - subtrahend.value
    return Interval(
        value,
        value - math.hypot(minuend.value - minuend.low, subtrahend.high - subtrahend.value),
        value + math.hypot(minuend.high - minuend.value, subtrahend.value - subtrahend.low),
    )


def standard_error(interval: Interval) -> float:
    """Return the standard error of a positive figure's logarithm, from its 95% interval.

    NaN when the interval is unknown or includes 0.
    """
    if not interval.known or interval.low <= 0:
        return math.nan
    return math.log(interval.high / interval.low) / (2 * Z975)


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion with its score interval (Wilson 1927), in [0, 1].

    Raises:
        ValueError: ``trials`` is below 1, or ``successes`` is not within 0 and ``trials``.
    """
    from scipy.stats import binomtest

    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a proportion")
    ends = binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(successes / trials, float(ends.low), float(ends.high))


def samples_to_distinguish(share: float, other: float) -> int | None:
    """Return the number of samples from which Wilson's interval of ``share`` excludes ``other``.

    Wilson's interval inverts the score test, so it excludes ``other`` above
    ``z^2 other (1 - other) / (share - other)^2`` samples, if the observed share stays the same.
    None if the two are equal.
    """
    if share == other:
        return None
    return max(1, math.floor(Z975**2 * other * (1 - other) / (share - other) ** 2) + 1)


def samples_for_half_width(share: float, half: float) -> int:
    """Return the number of samples at which Wilson's interval has the half-width ``half``.

    Solves ``half^2 (n + z^2)^2 = z^2 (n share (1 - share) + z^2 / 4)`` for n.

    Raises:
        ValueError: ``half`` is not between 0 and 0.5.
    """
    if not 0 < half < 0.5:
        raise ValueError(f"half-width of a proportion must be between 0 and 0.5, got {half}")
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
    """Return the ratio of two positive figures measured in the same rounds, paired by round.

    Slow drift (clock, heat, other processes) affects both figures of a round and cancels.  The
    estimate is the geometric mean of the rounds' ratios, with Student's t interval on their
    logarithms.

    Raises:
        ValueError: The lengths differ, or a figure is not positive.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} rounds against {len(denominators)}")
    if any(not v > 0 for v in (*numerators, *denominators)):
        raise ValueError("figures must be positive")
    logs = [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]
    mean = mean_interval(logs)
    return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high))


def ratio_unpaired(numerator: Interval, denominator: Interval) -> Interval:
    """Return the ratio of two independent positive figures.

    The distances from value to limit are added in quadrature on the logarithm, on each side (Zou
    and Donner 2008), so both limits are positive.  Unknown if a figure or a limit is not positive.
    The interval excludes drift between the two measurements: it is too narrow on a busy machine.
    """
    a, b = (np.array([[f.value], [f.low], [f.high]]) for f in (numerator, denominator))
    return Interval(*ratios_unpaired(a, b)[:, 0].tolist())


def ratios_unpaired(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratios of many figures; see :func:`ratio_unpaired`.

    Args:
        numerator: Values, lower and upper limits as [3, figures].
        denominator: The same, as [3, figures] or [3, 1].

    Returns:
        Values and limits as [3, figures], NaN where unknown.
    """
    with np.errstate(all="ignore"):  # a figure that is not positive has no logarithm
        ratio = numerator[0] / np.where(denominator[0] != 0, denominator[0], np.nan)
        (a, a_low, a_high), (b, b_low, b_high) = np.log(numerator), np.log(denominator)
        low = ratio * np.exp(-np.hypot(a - a_low, b_high - b))
        high = ratio * np.exp(np.hypot(a_high - a, b - b_low))
    known = np.isfinite(low) & np.isfinite(high)
    return np.array([ratio, np.where(known, low, np.nan), np.where(known, high, np.nan)])


def with_systematic_error(ratio: Interval, systematic: float) -> Interval:
    """Return a positive ratio with a systematic error added to its interval in quadrature.

    ``systematic`` is the half-width of the 95% interval of the systematic error, as a fraction.
    """

    def widened(end: float) -> float:
        return math.hypot(math.log(end / ratio.value), math.log1p(systematic))

    return Interval(
        ratio.value,
        ratio.value * math.exp(-widened(ratio.low)),
        ratio.value * math.exp(widened(ratio.high)),
    )


def bootstrap_rate(
    amounts: Sequence[float],
    durations: Sequence[float],
    blocks: Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    scale: Scale = "log",
) -> Interval:
    """Return ``sum(amounts) / sum(durations)`` with a bootstrap interval over blocks of windows.

    Whole blocks are drawn with replacement, never single inferences, since consecutive inferences
    are correlated.  The percentile interval of few blocks is too narrow and is widened to
    Student's t (see :func:`_percentile_interval`).  ``blocks`` has the block of each window, such
    as its round; by default every window is a block.  The interval is unknown if the rate is 0.

    ``scale`` is the scale on which the interval is widened: ``linear`` for the error rate of a
    share near 1, whose complement is the figure.

    Raises:
        ValueError: The arguments differ in length.
    """
    a, d = np.asarray(amounts, float), np.asarray(durations, float)
    if a.shape != d.shape:
        raise ValueError(f"{a.size} amounts against {d.size} durations")
    if not d.sum() > 0:
        return Interval(math.nan, math.nan, math.nan)
    value = float(a.sum() / d.sum())
    block, count = _numbered(blocks, a.size)
    if count == 1:
        return Interval(value, math.nan, math.nan)
    a, d = np.bincount(block, a, count), np.bincount(block, d, count)
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    with np.errstate(all="ignore"):  # a block without CPU time: its resolution is limited
        rates = a[drawn].sum(1) / d[drawn].sum(1)
    return _percentile_interval(value, rates, a / np.where(d > 0, d, math.nan), scale)


def _numbered(blocks: Sequence[int] | None, windows: int) -> tuple[NDArray[np.intp], int]:
    """Return each window's block as 0, 1, 2 ..., and the number of blocks."""
    if blocks is None:
        return np.arange(windows), windows
    if len(blocks) != windows:
        raise ValueError(f"{len(blocks)} blocks against {windows} windows")
    unique, numbers = np.unique(np.asarray(blocks), return_inverse=True)
    return numbers, unique.size


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
    """Return a quantile of positive samples with a bootstrap interval over blocks of windows.

    Each resample weights the sorted samples by the number of times their block was drawn, so the
    cost is one sort overall and one cumulative sum per resample.  ``blocks`` is as for
    :func:`bootstrap_rate`.
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
    """Return the change of a series from its first to its last value, in percent of its median.

    The slope is the Theil-Sen estimate (Theil 1950, Sen 1968), which outliers do not move.  The
    interval excludes 0 only if the series keeps rising or falling.  The values are at equal steps
    in time; the drift of fewer than four is NaN.
    """
    from scipy.stats import theilslopes

    n = len(values)
    if n < 4:
        return Interval(math.nan, math.nan, math.nan)
    slope = theilslopes(values)
    scale = 100.0 * (n - 1) / float(np.median(values))
    return Interval(
        float(slope.slope) * scale, float(slope.low_slope) * scale, float(slope.high_slope) * scale
    )


def _percentile_interval(
    value: float,
    estimates: NDArray[np.float64],
    by_block: NDArray[np.float64],
    scale: Scale = "log",
) -> Interval:
    """Return the bootstrap percentile interval of a positive figure, corrected for few blocks.

    With n blocks the bootstrap understates the spread by ``sqrt(n / (n - 1))`` and uses normal
    limits in place of Student's t (Efron and Tibshirani 1993, chapters 12 and 13; Hesterberg 2015,
    section 3.2).  It also assumes independent blocks; correlation between consecutive blocks
    widens the interval further.  On the logarithm no lower limit is negative; the percentiles are
    the same on both scales.  ``estimates`` has one per resample; ``by_block`` is in time order.
    """
    if not (value > 0 and np.isfinite(estimates).all()):
        return Interval(value, math.nan, math.nan)
    n = by_block.size
    ends = np.quantile(estimates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = min(value, float(ends[0])), max(value, float(ends[1]))
    widen = math.sqrt(n / (n - 1)) * student_t(n - 1) / Z975 * _correlation_factor(by_block)
    if scale == "linear":
        return Interval(value, value - widen * (value - low), value + widen * (high - value))
    below = math.log(value / low) if low > 0 else math.inf  # a resample without an amount
    above = min(700.0, widen * math.log(high / value))  # exp(710) overflows
    return Interval(value, value * math.exp(-widen * below), value * math.exp(above))


_MAX_CORRELATION = 0.75
"""Upper bound: a short measurement cannot separate stronger correlation from drift."""


def _correlation_factor(series: NDArray[np.float64]) -> float:
    """Return the factor by which autocorrelation widens the interval of a mean, at least 1.

    For a first-order autoregressive series with lag-1 correlation r the factor is
    ``sqrt((1 + r) / (1 - r))`` (Geyer 1992 gives the general form).  The estimate of r from a
    short series is biased low by about ``1 / n``, which is added back; negative r counts as 0.
    """
    known = series[np.isfinite(series)]
    centered = known - known.mean() if known.size else known
    spread = float(centered @ centered)
    if known.size < 4 or spread <= 0:
        return 1.0
    r = float(centered[1:] @ centered[:-1]) / spread + 1 / known.size
    r = min(max(r, 0.0), _MAX_CORRELATION)
    return math.sqrt((1 + r) / (1 - r))
