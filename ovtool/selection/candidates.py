"""The rows that may be chosen: their figures of the objective, and how they stand to limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from ovtool.results.labels import row_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Config, Row, Rows
    from ovtool.selection.limits import Asked, Check
    from ovtool.selection.quantities import Quantity


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row with its figure of the objective, and how it stands to the limits."""

    row: Row
    label: str
    figure: Interval
    checks: tuple[Check, ...]

    @property
    def fits(self) -> bool:
        """Whether its values keep every limit."""
        return all(check.kept for check in self.checks)


class Candidates(Sequence[Candidate]):
    """The rows of which the figure of the objective is known.

    What decides is worked out for all of them at once, the rest for a row that is asked for.

    Args:
        rows: That may be chosen.
        best_at: What is chosen by.
        wanted: The limits that are set.
        labels: Names of the configurations.
    """

    def __init__(
        self,
        rows: Rows,
        best_at: Quantity,
        wanted: Sequence[Asked],
        labels: Mapping[Config, str],
    ) -> None:
        found = best_at.of(rows)
        known = ~np.isnan(found.value)
        self.rows, self.figures = rows.take(known), found.take(known)
        self.best_at, self.wanted = best_at, wanted
        self._labels = labels
        self._held = [one.quantity.of(self.rows) for one in wanted]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | Sequence[Candidate]:
        """Return one of them, or some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        row = self.rows[index]
        held = zip(self.wanted, self._held, strict=True)
        checks = tuple(one.check(row, figures[index]) for one, figures in held)
        return Candidate(row, self.label(index), self.figures[index], checks)

    def label(self, index: int) -> str:
        """Return the name of a row."""
        return row_label(self.rows[index], self._labels)

    def labels(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Return the names of some rows."""
        return tuple(self.label(int(index)) for index in indices)

    @cached_property
    def fits(self) -> NDArray[np.bool_]:
        """Which keep every limit."""
        found = np.ones(len(self), bool)
        for one, figures in zip(self.wanted, self._held, strict=True):
            found &= one.kept(figures)
        return found

    @cached_property
    def excess(self) -> NDArray[np.float64]:
        """Sum of what each misses, as shares of the limits; NaN where a figure is unknown."""
        found = np.zeros(len(self))
        for one, figures in zip(self.wanted, self._held, strict=True):
            found += one.excess(figures)
        return found

    def unknown(self) -> list[tuple[Quantity, int]]:
        """Return the limited quantities that are not known of every row, and of how many."""
        counts = [int(np.isnan(figures.value).sum()) for figures in self._held]
        return [
            (one.quantity, count) for one, count in zip(self.wanted, counts, strict=True) if count
        ]

    @cached_property
    def nearest_first(self) -> NDArray[np.intp]:
        """All of them: those that fit, the best first, then by how much they miss the limits.

        Equal ones are settled by throughput, then by the smaller batch.
        """
        throughput = np.nan_to_num(self.rows.numbers("throughput_fps"))
        sign = 1.0 if self.best_at.lower else -1.0
        missed = np.where(self.fits, 0.0, np.nan_to_num(self.excess, nan=np.inf))
        keys = (~self.fits, missed, sign * self.figures.value, -throughput)
        return np.lexsort((self.rows.numbers("batch"), *keys[::-1]))
