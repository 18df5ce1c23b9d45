"""Rows of a data frame: a single row by column name, many rows as one array per column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ovtool.core.statistics import Interval, ratios_unpaired

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Row = Mapping[str, Any]
"""Values by column name; unknown values are None."""


@dataclass(frozen=True, slots=True)
class Config:
    """The unit that quality is evaluated for; a line of a chart or of the summary."""

    environment: str
    variant_id: str
    device: str
    precision: str
    shape: str | None
    data_shape: str | None
    kv_cache_precision: str | None = None

    @classmethod
    def from_row(cls, row: Row) -> Config:
        """Return the configuration of a row."""
        return cls(**{name: row[name] for name in CONFIG})


CONFIG = tuple(field.name for field in fields(Config))
"""Columns that are equal in all rows of a configuration."""


class _Columns:
    """The columns of a data frame as arrays, computed on first access."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.names = dict.fromkeys(map(str, frame.columns))
        self._numeric = {name for name, dtype in frame.dtypes.items() if dtype.kind in "iuf"}
        self._numbers: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._codes: dict[str, tuple[NDArray[np.intp], list[Any]]] = {}
        self._group_codes: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers.

        Raises:
            KeyError: The column does not exist.
        """
        if name not in self.names:
            raise KeyError(name)
        return name in self._numeric

    def numbers(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the values of a numeric column, and a mask of the known values."""
        if name not in self._numbers:
            values = self.frame[name].to_numpy()
            self._numbers[name] = values, values == values  # noqa: PLR0124 - NaN is not itself
        return self._numbers[name]

    def codes(self, name: str) -> tuple[NDArray[np.intp], list[Any]]:
        """Return the code of each row and the unique values; the code of unknown is -1."""
        import pandas as pd

        if name not in self.names:
            raise KeyError(name)
        if name not in self._codes:
            codes, unique = pd.factorize(self.frame[name])
            self._codes[name] = codes, unique.tolist()
        return self._codes[name]

    def group_codes(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Return a code for each row; rows that are equal in the columns have the same code."""
        import pandas as pd

        if names not in self._group_codes:
            combined = np.zeros(len(self.frame), np.intp)
            for name in names:
                codes, unique = self.codes(name)
                combined = pd.factorize(combined * (len(unique) + 1) + codes)[0]
            self._group_codes[names] = combined
        return self._group_codes[names]

    def value(self, name: str, position: int) -> Any:
        """Return a single value; None where it is unknown."""
        if self.is_number(name):
            values, known = self.numbers(name)
            return values[position].item() if known[position] else None
        codes, unique = self.codes(name)
        code = codes[position]
        return None if code < 0 else unique[code]


class _RowView(Mapping[str, Any]):
    """A row that reads its values from the columns."""

    __slots__ = ("columns", "position")

    def __init__(self, columns: _Columns, position: int) -> None:
        self.columns = columns
        self.position = position

    def __getitem__(self, name: str) -> Any:
        return self.columns.value(name, self.position)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.names)

    def __len__(self) -> int:
        return len(self.columns.names)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _RowView) and self.columns is other.columns:
            return self.position == other.position
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as any mapping


class Rows(Sequence[Row]):
    """Rows of a data frame in any order.

    100,000 rows share the columns of their data frame: a column is one array, and the mapping of a
    single row is created on access.
    """

    def __init__(self, columns: _Columns, positions: NDArray[np.intp]) -> None:
        self._columns = columns
        self._positions = positions

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Rows:
        """Return all rows of a data frame."""
        return cls(_Columns(frame), np.arange(len(frame)))

    @classmethod
    def from_row(cls, row: Row) -> Rows:
        """Return a single row of other rows.

        Raises:
            TypeError: The row does not come from rows of a data frame.
        """
        if not isinstance(row, _RowView):
            raise TypeError(f"not a row of a data frame: {row!r}")
        return cls(row.columns, np.array([row.position], np.intp))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        """Return a row, or the rows of a slice."""
        if isinstance(index, slice):
            return Rows(self._columns, self._positions[index])
        return _RowView(self._columns, int(self._positions[index]))

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in order."""
        return (_RowView(self._columns, position) for position in self._positions.tolist())

    def __add__(self, other: Rows) -> Rows:
        """Return these rows followed by other rows of the same data frame."""
        return Rows(self._columns, np.concatenate([self._positions, other._positions]))

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a data frame."""
        return self._columns.frame.iloc[self._positions]

    def take(self, selection: NDArray[Any] | Sequence[int]) -> Rows:
        """Return the rows of a mask, or the rows of indices in their order."""
        kept = self._positions[np.asarray(selection)] if len(selection) else self._positions[:0]
        return Rows(self._columns, kept)

    def values(self, name: str) -> list[Any]:
        """Return a column of any type, None where unknown."""
        if self._columns.is_number(name):
            numbers = self._columns.numbers(name)[0][self._positions].tolist()
            known = self.known(name).tolist()
            return [n if is_known else None for n, is_known in zip(numbers, known, strict=True)]
        codes, unique = self._columns.codes(name)
        values = [*unique, None]
        return [values[code] for code in codes[self._positions].tolist()]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a numeric column, NaN where unknown or where the column does not exist."""
        if name not in self._columns.names:
            return np.full(len(self), np.nan)
        return np.asarray(self._columns.numbers(name)[0][self._positions], float)

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return a mask of the rows in which a column is known."""
        if self._columns.is_number(name):
            return self._columns.numbers(name)[1][self._positions]
        return np.asarray(self._columns.codes(name)[0][self._positions] >= 0)

    def equal(self, name: str, value: object) -> NDArray[np.bool_]:
        """Return a mask of the rows that have a value in a column; None is unknown."""
        codes, unique = self._columns.codes(name)
        absent = -1 if value is None else -2
        code = unique.index(value) if value in unique else absent
        return np.asarray(codes[self._positions] == code)

    def unique(self, name: str) -> list[Any]:
        """Return each value of a column once, in the order of the rows; None where unknown."""
        import pandas as pd

        codes, unique = self._columns.codes(name)
        return [None if c < 0 else unique[c] for c in pd.unique(codes[self._positions])]

    def group_codes(self, names: tuple[str, ...] = CONFIG) -> NDArray[np.intp]:
        """Return a code for each row; rows that are equal in the columns have the same code."""
        return self._columns.group_codes(names)[self._positions]

    def groups(self, names: tuple[str, ...] = CONFIG) -> Iterator[Rows]:
        """Yield groups of rows that are equal in the columns, in the order of their first rows."""
        codes = self.group_codes(names)
        order = np.argsort(codes, kind="stable")
        ends = np.flatnonzero(np.diff(codes[order])) + 1
        groups = [group for group in np.split(order, ends) if group.size]
        return (self.take(group) for group in sorted(groups, key=lambda group: int(group[0])))


def first_of_each_group(codes: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the index of the first row of each group in an order of the rows."""
    _, first = np.unique(codes[order], return_index=True)
    return order[np.sort(first)]


def measured_rows(rows: Rows) -> Rows:
    """Return the rows of successful trials."""
    return rows.take(rows.equal("status", "ok"))


def estimated_rows(rows: Rows) -> Rows:
    """Return the compiler's estimates for devices that are not available."""
    return rows.take(rows.equal("status", "estimated"))


def is_real(rows: Rows) -> NDArray[np.bool_]:
    """Return a mask of the rows of real devices: neither of emulated devices nor estimates."""
    return ~rows.known("emulated") & ~rows.equal("status", "estimated")


def real_rows(rows: Rows) -> Rows:
    """Return the rows of real devices, which charts show and choices consider by default."""
    return rows.take(is_real(rows))


def excluded_rows(rows: Rows) -> Rows:
    """Return the rows of emulated devices, which are neither drawn nor chosen."""
    return rows.take(rows.known("emulated"))


def group_by_config(rows: Rows) -> dict[Config, Rows]:
    """Return the rows of each configuration, in the order of the rows."""
    return {Config.from_row(group[0]): group for group in rows.groups()}


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of many rows with their confidence intervals; NaN where unknown."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __iter__(self) -> Iterator[Interval]:
        """Yield the figure of each row."""
        return map(Interval, self.value.tolist(), self.low.tolist(), self.high.tolist())

    def __getitem__(self, index: int) -> Interval:
        """Return the figure of a row."""
        return Interval(*(float(end[index]) for end in (self.value, self.low, self.high)))

    def take(self, selection: NDArray[Any]) -> Figures:
        """Return the figures of a mask or of indices."""
        return Figures(self.value[selection], self.low[selection], self.high[selection])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Mask of the figures with an interval."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Mask of the figures without error, such as sizes."""
        return np.asarray((self.low == self.value) & (self.value == self.high))

    def excludes(self, value: float) -> NDArray[np.bool_]:
        """Return a mask of the intervals that do not contain a value."""
        return self.known & ~((self.low <= value) & (value <= self.high))

    def over(self, other: Interval | Figures) -> Figures:
        """Return the ratios to a figure, or figure by figure.

        See :func:`.statistics.ratio_unpaired`.
        """
        of_other = np.array([np.atleast_1d(end) for end in (other.value, other.low, other.high)])
        return Figures(*ratios_unpaired(np.array([self.value, self.low, self.high]), of_other))


_ESTIMATE = "latency_estimate_ms"


def resolve_column(row: Row, name: str) -> str:
    """Return the column that holds a figure of a row; estimated rows have a single latency."""
    return _ESTIMATE if row["status"] == "estimated" and name.startswith("latency_") else name


def get_figure(row: Row, name: str) -> Interval:
    """Return a figure with its interval; NaN where unknown, no width where exact."""

    def number(column: str) -> float:
        value = row.get(column)
        return math.nan if value is None else float(value)

    return Interval(*(number(column) for column in _ends(name)))


def get_figures(rows: Rows, name: str) -> Figures:
    """Return the figures of rows; see :func:`get_figure`."""
    return Figures(*(rows.numbers(column) for column in _ends(name)))


def resolve_figures(rows: Rows, name: str) -> Figures:
    """Return the figures of rows by the columns of :func:`resolve_column`."""
    measured, estimated = get_figures(rows, name), rows.equal("status", "estimated")
    if not (name.startswith("latency_") and estimated.any()):
        return measured
    estimates = get_figures(rows, _ESTIMATE)
    return Figures(
        np.where(estimated, estimates.value, measured.value),
        np.where(estimated, estimates.low, measured.low),
        np.where(estimated, estimates.high, measured.high),
    )


def _ends(name: str) -> tuple[str, str, str]:
    """Return the columns of a figure and of both ends of its interval."""
    return (name,) * 3 if name == "model_mib" else (name, f"{name}_ci_low", f"{name}_ci_high")


TEXT_LENGTHS = ("prompt_length", "output_length")
"""Columns that are equal in all requests of a text generator that are comparable."""


def text_rows(rows: Rows) -> NDArray[np.bool_]:
    """Return a mask of the rows of text generators."""
    return rows.known("tokens_s")


def throughput_column(rows: Rows) -> str:
    """Return the column of throughput: tokens/s where every throughput is of a text generator."""
    texts = text_rows(rows)
    others = rows.known("throughput_fps") & ~texts
    return "tokens_s" if texts.any() and not others.any() else "throughput_fps"


def find_highest_throughput(rows: Rows) -> Row | None:
    """Return the row with the highest throughput; None where no throughput is known."""
    return _find_lowest(rows, -rows.numbers(throughput_column(rows)))


def find_lowest_latency(rows: Rows) -> Row | None:
    """Return the row with the lowest p50; batch 1 under the latency hint comes first."""
    known = rows.take(rows.known("latency_p50_ms"))
    single = known.take((known.numbers("batch") == 1) & known.equal("load", "latency"))
    kept = single or known
    return _find_lowest(kept, kept.numbers("latency_p50_ms"))


def find_lowest_estimate(rows: Rows) -> Row | None:
    """Return the row with the lowest estimated latency at the smallest batch."""
    known = rows.take(rows.known(_ESTIMATE))
    batches = known.numbers("batch")
    smallest = known.take(batches == batches.min()) if len(known) else known
    return _find_lowest(smallest, smallest.numbers(_ESTIMATE))


def _find_lowest(rows: Rows, values: NDArray[np.float64]) -> Row | None:
    """Return the first row with the lowest value; None where no value is known."""
    return rows[int(np.nanargmin(values))] if (~np.isnan(values)).any() else None
