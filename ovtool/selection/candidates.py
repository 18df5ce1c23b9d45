"""The rows to choose from: their figures of the objective, and how they compare with the limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    NothingMeasuredError,
    UndecidedError,
)
from ovtool.results.labels import lengths_text, row_count_text, row_label
from ovtool.results.rows import (
    TEXT_LENGTHS,
    estimated_rows,
    excluded_rows,
    measured_rows,
    real_rows,
)
from ovtool.selection.quantities import column_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Config, Figures, Row, Rows
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.selection.limits import Check, Limit
    from ovtool.selection.quantities import Quantity


TIE_PCT = 10.0
"""Maximum difference between ties, in percent: wide intervals alone do not make rows equal."""


def eligible_rows(rows: Rows, *, allow_estimates: bool) -> Rows:
    """Return the rows that can be chosen; raise NothingMeasuredError if there are none."""
    eligible = measured_rows(real_rows(rows))
    if allow_estimates:
        eligible += estimated_rows(rows)
    if eligible:
        return eligible
    if estimates := row_count_text(estimated_rows(rows)):
        raise NothingMeasuredError(
            f"nothing measured, only estimated: {estimates}",
            "choose from a compiler's estimates: --allow-estimates",
        )
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        raise NothingMeasuredError(
            f"nothing measured on a real device; left out: {excluded}", "sweep an available device"
        )
    failed = f": all {len(rows)} trials failed" if rows else ""
    raise NothingMeasuredError(f"nothing measured{failed}")


class DifferentRequestsError(LimitNotMetError):
    """The rows of text generators have prompts or outputs of different lengths."""

    exit_code = UndecidedError.exit_code


def select_requests(rows: Rows, spec: ChoiceSpec) -> Rows:
    """Return the rows with the prompts and outputs of a choice.

    Raises:
        InputError: There are none.
    """
    lengths = {name: getattr(spec, name) for name in TEXT_LENGTHS}
    kept = np.ones(len(rows), bool)
    for name, length in lengths.items():
        if length is not None:
            kept &= rows.numbers(name) == length
    if rows and not kept.any():
        texts = rows.take(rows.known(TEXT_LENGTHS[0]))
        present = _listing(_requests_of(texts)) or "no text generator"
        options = " ".join(_option(n, length) for n, length in lengths.items() if length)
        raise InputError(f"no row has {options}: measured {present}", "sweep these lengths")
    return rows.take(kept)


def check_requests(rows: Rows) -> None:
    """Check that the rows of text generators answer equal requests.

    Raises:
        DifferentRequestsError: Their prompts or outputs differ, so that their times do not compare.
    """
    texts = rows.take(rows.known(TEXT_LENGTHS[0]))
    if len(requests := _requests_of(texts)) < 2:
        return
    differing = [name for name in TEXT_LENGTHS if len(set(texts.values(name))) > 1]
    example = " ".join(_option(name, requests[0][name]) for name in differing)
    raise DifferentRequestsError(
        f"text generators have different requests: {_listing(requests)}",
        f"choose for one of them, such as {example}",
    )


def _requests_of(texts: Rows) -> list[Row]:
    """Return a row of each pair of lengths, the shortest first."""
    firsts = [part[0] for part in texts.groups(TEXT_LENGTHS)]
    return sorted(firsts, key=lambda row: [row[name] for name in TEXT_LENGTHS])


def _listing(requests: Sequence[Row]) -> str:
    return units.listing([lengths_text(row) for row in requests], 3, "; ")


def _option(name: str, length: float) -> str:
    return f"--{name.replace('_', '-')} {length:.0f}"


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
            fits &= limit.satisfied(figures)
        return fits

    @cached_property
    def excess(self) -> NDArray[np.float64]:
        """Sum of the excesses over the limits, as fractions of them; NaN if a figure is unknown."""
        excess = np.zeros(len(self))
        for limit, figures in zip(self.limits, self._limited, strict=True):
            excess += limit.excess(figures)
        return excess

    def unknown(self) -> list[tuple[Quantity, int]]:
        """Return the limited quantities with unknown figures, and the number of these rows."""
        counts = [int(np.isnan(figures.value).sum()) for figures in self._limited]
        limits = zip(self.limits, counts, strict=True)
        return [(limit.quantity, count) for limit, count in limits if count and not limit.default]

    @cached_property
    def nearest_first(self) -> NDArray[np.intp]:
        """Indices in order: rows that fit, the best first; then all other rows by their excess.

        Equal rows go to the higher throughput, then to the smaller batch.
        """
        throughput = np.nan_to_num(self.rows.numbers("throughput_fps"))
        sign = 1.0 if self.goal.lower else -1.0
        excess = np.where(self.fits, 0.0, np.nan_to_num(self.excess, nan=np.inf))
        keys = (~self.fits, excess, sign * self.figures.value, -throughput)
        return np.lexsort((self.rows.numbers("batch"), *keys[::-1]))


@dataclass(frozen=True, slots=True)
class Winner:
    """The row that wins.

    Args:
        index: Index of the candidate.
        settled_by: Column in which the winner is better than the row with the best value, which it
            is tied with; empty if the value decides.
    """

    index: int
    settled_by: str = ""


def find_winner(candidates: Candidates, fitting: NDArray[np.intp], percentile: int) -> Winner:
    """Return the best of the rows that fit, the best value first in ``fitting``.

    Rows without a significant difference to the best value, and within :data:`TIE_PCT` of it, are
    tied.  Ties go to the lower latency, the higher throughput, the smaller memory, then the smaller
    files; in each, a difference within noise does not count.  The value decides between the rest.
    """
    best, figures = int(fitting[0]), candidates.figures.take(fitting)
    if not figures[0].known or figures[0].exact:
        return Winner(best)
    tied, settled_by = fitting[figures.known & _near(figures, 0)], ""
    columns = (f"latency_p{percentile}_ms", "throughput_fps", "peak_rss_mib", "model_mib")
    for quantity in map(column_quantity, columns):
        figures = quantity.of(candidates.rows.take(tied))
        if quantity.column.name == candidates.goal.column.name or np.isnan(figures.value).any():
            continue
        losses = figures.value if quantity.lower else -figures.value
        near = _near(figures, int(losses.argmin()))
        if tied[0] == best and not near[0]:
            settled_by = quantity.column.name
            near &= losses < losses[0]
        tied = tied[near]
    return Winner(int(tied[0]), settled_by)


def _near(figures: Figures, reference: int) -> NDArray[np.bool_]:
    """Return a mask of the figures that are close to one of them, without significant difference.

    Figures without an interval, such as memory, only have to be close.
    """
    ratio = figures.over(figures[reference])
    close = np.abs(np.log(ratio.value)) <= np.log1p(TIE_PCT / 100)
    return np.asarray(close & ~ratio.excludes(1.0))
