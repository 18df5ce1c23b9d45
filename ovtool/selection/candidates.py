"""The rows to choose from: their figures of the objective, and how they compare with the limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ovtool.results.labels import row_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Config, Row, Rows
    from ovtool.selection.limits import Check, Limit
    from ovtool.selection.quantities import Quantity


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row with its figure of the objective and its checks against the limits."""

    row: Row
    label: str
    figure: Interval
    checks: tuple[Check, ...]

    @property
    def fits(self) -> bool:
        """Whether the row meets every limit."""
        return all(check.satisfied for check in self.checks)


class Candidates:
    """The rows with a known figure of ``goal``, the quantity to optimize.

    The figures that decide are computed for all rows together; a candidate is built on access.
    """

    def __init__(
        self, rows: Rows, goal: Quantity, limits: Sequence[Limit], labels: Mapping[Config, str]
    ) -> None:
        figures = goal.of(rows)
        known = ~np.isnan(figures.value)
        self.rows, self.figures = rows.take(known), figures.take(known)
        self.goal, self.limits = goal, limits
        self._labels = labels
        self._limited = [limit.quantity.of(self.rows) for limit in limits]

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Candidate:
        """Return a candidate."""
        row = self.rows[index]
        checks = tuple(
            limit.check(row, figures[index])
            for limit, figures in zip(self.limits, self._limited, strict=True)
        )
        return Candidate(row, row_label(row, self._labels), self.figures[index], checks)

    def labels(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Return the names of several rows."""
        return tuple(row_label(self.rows[int(index)], self._labels) for index in indices)

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """Mask of the rows that meet every limit."""
        fits = np.ones(len(self), bool)
        for limit, figures in zip(self.limits, self._limited, strict=True):
            fits &= limit.satisfied(figures.value)
        return fits

    @cached_property
    def excess(self) -> NDArray[np.float64]:
        """Sum of the excesses over the limits, as fractions of them; NaN if a figure is unknown."""
        excess = np.zeros(len(self))
        for limit, figures in zip(self.limits, self._limited, strict=True):
            excess += limit.excess(figures.value)
        return excess

    def unknown(self) -> list[tuple[Quantity, int]]:
        """Return the limited quantities with unknown figures, and the number of these rows."""
        counts = [int(np.isnan(figures.value).sum()) for figures in self._limited]
        limits = zip(self.limits, counts, strict=True)
        return [(limit.quantity, count) for limit, count in limits if count]

    @cached_property
    def nearest_first(self) -> NDArray[np.intp]:
        """Indices in order: rows that fit, the best first; then all other rows by their excess.

        Ties go to the higher throughput, then to the smaller batch.
        """
        throughput = np.nan_to_num(self.rows.numbers("throughput_fps"))
        sign = 1.0 if self.goal.lower else -1.0
        excess = np.where(self.fits, 0.0, np.nan_to_num(self.excess, nan=np.inf))
        keys = (~self.fits, excess, sign * self.figures.value, -throughput)
        return np.lexsort((self.rows.numbers("batch"), *keys[::-1]))
