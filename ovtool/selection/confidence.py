"""Certainty of a choice: the share of resamples of the intervals in which the winner is best."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.statistics import Z975

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovtool.results.rows import Figures

RESAMPLES = 10_000
_FAR = 6.0
"""Distance in standard deviations of both figures beyond which one never exceeds the other."""
_CHUNK = 256
CAVEAT = (
    "assumes independent rows; excludes drift between separate measurements and uncertain limits"
)


@dataclass(frozen=True, slots=True)
class Confidence:
    """Probability that the winner is the best of the rows that fit; None if unknown.

    Args:
        row: Probability that the row itself is best.
        configuration: Probability that a row of its configuration is best.
        text: The probabilities in a sentence.
        resamples: Number of resamples; 0 without a probability.
    """

    row: float | None
    configuration: float | None
    text: str
    resamples: int = RESAMPLES
    caveat: str = CAVEAT

    @property
    def summary(self) -> str:
        """The share of the winner, or of its configuration where that differs, in a few words."""
        if self.row is None or self.configuration is None:
            return self.text
        row, configuration = _percent(self.row), _percent(self.configuration)
        subject = "best" if row == configuration else "best, at some batch and load,"
        return f"{subject} in {configuration} of the resamples"

    @property
    def sentence(self) -> str:
        """The text with the caveat."""
        return f"{self.text} ({self.caveat})" if self.resamples else self.text


def estimate_confidence(figures: Figures, groups: NDArray[np.intp], lower: bool) -> Confidence:
    """Return the probability that the first figure is the best.

    ``groups`` has the configuration of each row; with ``lower``, lower figures are better.
    """
    count = len(groups)
    if count == 1:
        return Confidence(None, None, "no other row fits", 0)
    if figures.exact.all():
        return Confidence(1.0, 1.0, "exact: no other row that fits is better", 0)
    unknown = int((~figures.known).sum())
    if unknown:
        text = f"unknown: {unknown} of {count} rows that fit have no confidence interval"
        return Confidence(None, None, text, 0)
    shares = best_shares(figures, lower)
    same_group = groups == groups[0]
    row, configuration = float(shares[0]), float(shares[same_group].sum())
    text = f"best in {_percent(row)} of {RESAMPLES:,} resamples of the intervals"
    if not same_group.all() and _percent(configuration) != _percent(row):
        text += f"; a row of its configuration in {_percent(configuration)}"
    return Confidence(row, configuration, text)


def best_shares(
    figures: Figures, lower: bool, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return the share of resamples in which each figure is best; ties are divided.

    A parametric bootstrap (Efron and Tibshirani 1993, section 6.5): each figure is drawn
    independently from a normal distribution around its value, of the logarithms if all intervals
    are positive.  Both halves are scaled separately, so 2.5% of the draws fall below the interval
    and 2.5% above it.  The shares add up to 1.
    """
    sign = -1.0 if lower else 1.0
    ends = np.array([figures.value, figures.low, figures.high])
    values, first, last = sign * (np.log(ends) if (ends > 0).all() else ends)
    below = np.maximum(0.0, values - np.minimum(first, last)) / Z975
    above = np.maximum(0.0, np.maximum(first, last) - values) / Z975
    near = np.flatnonzero(values + _FAR * above >= (values - _FAR * below).max())
    chunks = [near[start : start + _CHUNK] for start in range(0, near.size, _CHUNK)]

    @functools.lru_cache(maxsize=1)
    def draws(number: int) -> NDArray[np.float64]:
        """Return the reproducible draws of a chunk: those of all would not fit in memory."""
        chunk = chunks[number]
        z = np.random.default_rng([seed, number]).standard_normal((chunk.size, resamples))
        spread = np.where(z < 0, below[chunk, None], above[chunk, None])
        return np.asarray(values[chunk, None] + z * spread, float)

    best = np.full(resamples, -np.inf)
    for number in range(len(chunks)):
        best = np.maximum(best, draws(number).max(axis=0))
    holders = np.sum([(draws(n) == best).sum(axis=0) for n in range(len(chunks))], axis=0)
    shares = np.zeros(len(values))
    for number, chunk in enumerate(chunks):
        shares[chunk] = ((draws(number) == best) / holders).mean(axis=1)
    return shares


def _percent(share: float) -> str:
    """Return a share of resamples with no more digits than their number supports."""
    if share >= 1 - 0.5 / RESAMPLES:
        return "all"
    if share >= 0.995:
        return f"{100 * share:.2f}%"
    return f"{units.text(100 * share, 2)}%"
