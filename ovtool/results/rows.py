"""The rows of the table: one by column names, or many of them as one array a column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Row = Mapping[str, Any]
"""Values by column; what is unknown is None."""


@dataclass(frozen=True, slots=True)
class Config:
    """What quality belongs to, and what a line of a chart or of the summary stands for."""

    environment: str
    variant_id: str
    device: str
    precision: str
    shape: str | None
    data_shape: str | None

    @classmethod
    def of(cls, row: Row) -> Config:
        """Return the configuration of a row."""
        return cls(**{name: row[name] for name in CONFIG})


CONFIG = tuple(field.name for field in fields(Config))
"""Columns in which the rows of a configuration are the same."""


class _Columns:
    """The columns of a table as arrays, each made when it is first asked for."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.names = dict.fromkeys(map(str, table.columns))
        self._numeric = {name for name, kind in table.dtypes.items() if kind.kind in "iuf"}
        self._numbers: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._codes: dict[str, tuple[NDArray[np.intp], list[Any]]] = {}
        self._kinds: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers.

        Raises:
            KeyError: There is no such column.
        """
        if name not in self.names:
            raise KeyError(name)
        return name in self._numeric

    def numbers(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return a column of numbers, and where it is known."""
        if name not in self._numbers:
            values = self.table[name].to_numpy()
            self._numbers[name] = values, values == values  # noqa: PLR0124 - NaN is not itself
        return self._numbers[name]

    def codes(self, name: str) -> tuple[NDArray[np.intp], list[Any]]:
        """Return which of the column's different values each row has, and the values.

        The code of what is unknown is -1.
        """
        import pandas as pd

        if name not in self.names:
            raise KeyError(name)
        if name not in self._codes:
            codes, different = pd.factorize(self.table[name])
            self._codes[name] = codes, different.tolist()
        return self._codes[name]

    def kinds(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Return a number for each row: equal for those that are the same in some columns."""
        import pandas as pd

        if names not in self._kinds:
            found = np.zeros(len(self.table), np.intp)
            for name in names:
                codes, different = self.codes(name)
                found = pd.factorize(found * (len(different) + 1) + codes)[0]
            self._kinds[names] = found
        return self._kinds[names]

    def value(self, name: str, place: int) -> Any:
        """Return one value; None where it is unknown."""
        if self.is_number(name):
            values, known = self.numbers(name)
            return values[place].item() if known[place] else None
        codes, different = self.codes(name)
        code = codes[place]
        return None if code < 0 else different[code]


class _View(Mapping[str, Any]):
    """A row of a table, which stays in its columns."""

    __slots__ = ("columns", "place")

    def __init__(self, columns: _Columns, place: int) -> None:
        self.columns = columns
        self.place = place

    def __getitem__(self, name: str) -> Any:
        return self.columns.value(name, self.place)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.names)

    def __len__(self) -> int:
        return len(self.columns.names)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _View) and self.columns is other.columns:
            return self.place == other.place
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as any mapping


class Rows(Sequence[Row]):
    """Some rows of a table, in an order of their own.

    100,000 rows share the columns of their table: a column of them all is one array, and a single
    row is made when it is asked for.
    """

    def __init__(self, columns: _Columns, places: NDArray[np.intp]) -> None:
        self._columns = columns
        self._places = places

    @classmethod
    def alone(cls, row: Row) -> Rows:
        """Return a row of some rows by itself.

        Raises:
            TypeError: It was not taken out of rows.
        """
        if not isinstance(row, _View):
            raise TypeError(f"no row of a table: {row!r}")
        return cls(row.columns, np.array([row.place], np.intp))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        """Return one row, or some."""
        if isinstance(index, slice):
            return Rows(self._columns, self._places[index])
        return _View(self._columns, int(self._places[index]))

    def __iter__(self) -> Iterator[Row]:
        """Yield one row after another."""
        return (_View(self._columns, place) for place in self._places.tolist())

    def __add__(self, others: Rows) -> Rows:
        """Return these rows and then others of the same table."""
        return Rows(self._columns, np.concatenate([self._places, others._places]))

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return self._columns.table.iloc[self._places]

    @property
    def places(self) -> NDArray[np.intp]:
        """Where they stand in their table."""
        return self._places

    def take(self, which: NDArray[Any] | Sequence[int]) -> Rows:
        """Return the rows that a mask holds, or those of some indices in their order."""
        return Rows(self._columns, self._places[np.asarray(which)] if len(which) else _NONE)

    def values(self, name: str) -> list[Any]:
        """Return a column of any kind, None where unknown."""
        if self._columns.is_number(name):
            found = self._columns.numbers(name)[0][self._places].tolist()
            known = self.known(name).tolist()
            return [one if here else None for one, here in zip(found, known, strict=True)]
        codes, different = self._columns.codes(name)
        values = [*different, None]
        return [values[code] for code in codes[self._places].tolist()]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where unknown; all of it where there is no such column.

        Args:
            name: Of the column.
        """
        if name not in self._columns.names:
            return np.full(len(self), np.nan)
        return np.asarray(self._columns.numbers(name)[0][self._places], float)

    def known(self, name: str) -> NDArray[np.bool_]:
        """Return in which rows a column is known, as an array of its own."""
        if self._columns.is_number(name):
            return self._columns.numbers(name)[1][self._places]
        return np.asarray(self._columns.codes(name)[0][self._places] >= 0)

    def equal(self, name: str, value: object) -> NDArray[np.bool_]:
        """Return which rows have a value in a column."""
        codes, different = self._columns.codes(name)
        unknown = -1 if value is None else -2
        code = different.index(value) if value in different else unknown
        return np.asarray(codes[self._places] == code)

    def different(self, name: str) -> list[Any]:
        """Return each value of a column once, in the order of the rows; None where unknown."""
        import pandas as pd

        codes, different = self._columns.codes(name)
        return [None if c < 0 else different[c] for c in pd.unique(codes[self._places])]

    def kinds(self, names: tuple[str, ...] = CONFIG) -> NDArray[np.intp]:
        """Return a number for each row: equal for those that are the same in some columns.

        By default one for each configuration.
        """
        return self._columns.kinds(names)[self._places]

    def of_kind(self, names: tuple[str, ...] = CONFIG) -> Iterator[Rows]:
        """Yield the rows that are the same in some columns, in the order of the first of each."""
        kinds = self.kinds(names)
        order = np.argsort(kinds, kind="stable")
        ends = np.flatnonzero(np.diff(kinds[order])) + 1
        groups = [group for group in np.split(order, ends) if group.size]
        return (self.take(group) for group in sorted(groups, key=lambda group: int(group[0])))


_NONE = np.zeros(0, np.intp)


def first_of_each(kinds: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first row of each kind in an order of the rows, in that order.

    Args:
        kinds: Of each row.
        order: Indices of rows.
    """
    _, first = np.unique(kinds[order], return_index=True)
    return order[np.sort(first)]


def records(table: pd.DataFrame) -> Rows:
    """Return the rows of a table."""
    return Rows(_Columns(table), np.arange(len(table)))


def measured(rows: Rows) -> Rows:
    """Return the rows whose trial did not fail."""
    return rows.take(rows.equal("status", "ok"))


def estimated(rows: Rows) -> Rows:
    """Return the rows of devices that are not there: a compiler's estimates, nothing was run."""
    return rows.take(rows.equal("status", "estimated"))


def real(rows: Rows) -> Rows:
    """Return the rows of what real devices did.

    What an emulated one did is neither drawn nor chosen, and an estimate only where it is asked
    for and called one.
    """
    return rows.take(~rows.known("emulated") & ~rows.equal("status", "estimated"))


def by_config(rows: Rows) -> dict[Config, Rows]:
    """Return the rows of each configuration, both in the order of the table."""
    return {Config.of(same[0]): same for same in rows.of_kind()}


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of many rows with their intervals: three arrays, NaN where unknown."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __iter__(self) -> Iterator[Interval]:
        """Yield the figure of one row after another."""
        ends = (end.tolist() for end in (self.value, self.low, self.high))
        return map(Interval, *ends)

    def __getitem__(self, index: int) -> Interval:
        """Return the figure of one row."""
        return Interval(*(float(end[index]) for end in (self.value, self.low, self.high)))

    def take(self, which: NDArray[Any]) -> Figures:
        """Return those that a mask holds, or of some indices."""
        return Figures(self.value[which], self.low[which], self.high[which])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which have an interval at all."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Which have no error, as a size."""
        return np.asarray((self.low == self.value) & (self.value == self.high))

    def excludes(self, value: float) -> NDArray[np.bool_]:
        """Return which intervals a value is outside of."""
        return self.known & ~((self.low <= value) & (value <= self.high))

    def over(self, other: Interval) -> Figures:
        """Return the ratio of each to a figure, as :func:`.statistics.ratio_unpaired`."""
        value = np.where(self.known & (self.value != 0), self.value, np.nan)
        half = np.hypot((self.high - self.low) / (2 * np.abs(value)), other.half_width_pct / 100)
        ratio = self.value / (other.value or math.nan)
        return Figures(ratio, ratio / (1 + half), ratio * (1 + half))


def answering(row: Row, name: str) -> str:
    """Return the column of a row that answers for another: an estimated row's only latency."""
    return _ESTIMATE if row["status"] == "estimated" and name.startswith("latency_") else name


_ESTIMATE = "latency_estimate_ms"


def figure(row: Row, name: str) -> Interval:
    """Return a figure with its interval, NaN where unknown; an exact figure has no width."""

    def number(column: str) -> float:
        value = row.get(column)
        return math.nan if value is None else float(value)

    return Interval(*(number(column) for column in _ends(name)))


def figures(rows: Rows, name: str) -> Figures:
    """Return the figures of some rows, as :func:`figure` does."""
    return Figures(*(rows.numbers(column) for column in _ends(name)))


def answers(rows: Rows, name: str) -> Figures:
    """Return the figures that answer for a column, as :func:`answering` says."""
    found, guesses = figures(rows, name), rows.equal("status", "estimated")
    if not (name.startswith("latency_") and guesses.any()):
        return found
    other = figures(rows, _ESTIMATE)
    return Figures(
        np.where(guesses, other.value, found.value),
        np.where(guesses, other.low, found.low),
        np.where(guesses, other.high, found.high),
    )


def _ends(name: str) -> tuple[str, str, str]:
    """Return the columns of a figure and of both ends of its interval; an exact one is its own."""
    return (name,) * 3 if name == "model_mib" else (name, f"{name}_ci_low", f"{name}_ci_high")


def best_throughput(rows: Rows) -> Row | None:
    """Return the row with the most throughput; None when it is unknown everywhere."""
    return _first(rows, -rows.numbers("throughput_fps"))


def least_latency(rows: Rows) -> Row | None:
    """Return the row of batch 1 under the latency hint, else the one with the least p50."""
    known = rows.take(rows.known("latency_p50_ms"))
    single = known.take((known.numbers("batch") == 1) & known.equal("load", "latency"))
    kept = single or known
    return _first(kept, kept.numbers("latency_p50_ms"))


def least_estimate(rows: Rows) -> Row | None:
    """Return the row of the smallest batch that has an estimate, of these the least."""
    known = rows.take(rows.known(_ESTIMATE))
    batches = known.numbers("batch")
    smallest = known.take(batches == batches.min()) if len(known) else known
    return _first(smallest, smallest.numbers(_ESTIMATE))


def _first(rows: Rows, values: NDArray[np.float64]) -> Row | None:
    """Return the row of the least value, the first of equal ones; None where none is known."""
    known = ~np.isnan(values)
    return rows[int(np.nanargmin(values))] if known.any() else None
