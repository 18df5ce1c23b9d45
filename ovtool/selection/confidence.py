"""How sure a winner is: the share of resamples of the intervals in which it stays the best."""

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
"""Standard deviations from both sides beyond which one never overtakes the other."""
_CHUNK = 256
CAVEAT = (
    "rows are taken as independent; drift between rows measured apart, and whether a limit"
    " is kept, are not in it"
)


@dataclass(frozen=True, slots=True)
class Confidence:
    """The probability that a winner is really the best of those that fit; None: cannot be told.

    Args:
        row: That this very row is the best.
        configuration: That some row of its variant, device and precision is.
        text: The same in words.
        resamples: How many were drawn.
        caveat: What is not in it.
    """

    row: float | None
    configuration: float | None
    text: str
    resamples: int = RESAMPLES
    caveat: str = CAVEAT

    @property
    def sentence(self) -> str:
        """What is known of it, and what is not in it."""
        return f"{self.text} ({self.caveat})" if self.resamples else self.text


def confidence(figures: Figures, groups: NDArray[np.intp], lower: bool) -> Confidence:
    """Return how sure it is that the first figure is the best.

    Args:
        figures: Of the rows that fit, the winner first.
        groups: A number of the configuration of each.
        lower: Whether less is better.
    """
    count = len(groups)
    if count == 1:
        return Confidence(None, None, "nothing else fits: there is nothing to be better than", 0)
    if figures.exact.all():
        return Confidence(1.0, 1.0, "the figures are exact: nothing that fits is better", 0)
    unknown = int((~figures.known).sum())
    if unknown:
        rows = f"{unknown} of {count} rows that fit"
        return Confidence(None, None, f"not known: {rows} have no interval", 0)
    shares = share_best(figures, lower)
    own = groups == groups[0]
    row, same = float(shares[0]), float(shares[own].sum())
    told = f"best in {_percent(row)} of {RESAMPLES:,} resamples of the intervals"
    if own.all() or _percent(same) == _percent(row):
        return Confidence(row, same, told)
    return Confidence(row, same, f"{told}; a row of its configuration in {_percent(same)}")


def share_best(
    figures: Figures, lower: bool, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Return in what share of resamples each figure is the best; equal ones share theirs.

    A parametric bootstrap (Efron and Tibshirani 1993, section 6.5): each figure is drawn on its
    own from a normal distribution about its value whose two halves are scaled apart, so that 2.5 %
    of the draws fall below the interval and 2.5 % above it.

    Args:
        figures: With known intervals.
        lower: Whether less is better.
        resamples: How often all of them are drawn.
        seed: Of the drawing.

    Returns:
        One share for each figure; they add up to 1.
    """
    sign = -1.0 if lower else 1.0
    values, first, last = sign * figures.value, sign * figures.low, sign * figures.high
    below = np.maximum(0.0, values - np.minimum(first, last)) / Z975
    above = np.maximum(0.0, np.maximum(first, last) - values) / Z975
    near = np.flatnonzero(values + _FAR * above >= (values - _FAR * below).max())
    parts = [near[start : start + _CHUNK] for start in range(0, near.size, _CHUNK)]

    @functools.lru_cache(maxsize=1)
    def drawn(number: int) -> NDArray[np.float64]:
        """Return the draws of a part, the same ones every time: all would not fit in memory."""
        some = parts[number]
        z = np.random.default_rng([seed, number]).standard_normal((some.size, resamples))
        spread = np.where(z < 0, below[some, None], above[some, None])
        return np.asarray(values[some, None] + z * spread, float)

    best = np.full(resamples, -np.inf)
    for number in range(len(parts)):
        best = np.maximum(best, drawn(number).max(axis=0))
    holders = np.sum([(drawn(n) == best).sum(axis=0) for n in range(len(parts))], axis=0)
    shares = np.zeros(len(values))
    for number, some in enumerate(parts):
        shares[some] = ((drawn(number) == best) / holders).mean(axis=1)
    return shares


def _percent(share: float) -> str:
    """Return a share of resamples without claiming more than their number shows."""
    if share >= 1 - 0.5 / RESAMPLES:
        return "all"
    if share >= 0.995:
        return f"{100 * share:.2f} %"
    return f"{units.text(100 * share, 2)} %"
