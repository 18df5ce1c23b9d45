"""One row of the table by column names, and what the parts of the report ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovtool import units
from ovtool.columns import BY_NAME, Column
from ovtool.devicename import is_virtual
from ovtool.results import unmarked
from ovtool.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

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
        if isinstance(row, _View):
            return row.config
        return cls(**{field.name: row[field.name] for field in fields(cls)})


class _Columns(dict[str, list[Any]]):
    """The columns of a table as lists, each made when it is first asked for."""

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__()
        self.table = table
        self.names = dict.fromkeys(map(str, table.columns))

    def __missing__(self, name: str) -> list[Any]:
        import numpy as np
        import pandas as pd

        if name not in self.names:
            raise KeyError(name)
        series = self.table[name]
        if pd.api.types.is_numeric_dtype(series):
            values = series.to_numpy().astype(object)
            values[series.isna().to_numpy()] = None
        else:
            codes, different = pd.factorize(series)  # equal texts become one object
            values = np.array([*different, None], dtype=object)[codes]
        self[name] = values.tolist()
        return self[name]

    @cached_property
    def configs(self) -> list[Config]:
        """The configuration of each row; equal ones are one object."""
        made: dict[tuple[Any, ...], Config] = {}
        keys = zip(*(self[field.name] for field in fields(Config)), strict=True)
        return [made[key] if key in made else made.setdefault(key, Config(*key)) for key in keys]


class _View(Mapping[str, Any]):
    """A row of a table: 100,000 of them share the columns' lists."""

    __slots__ = ("_columns", "_place")

    def __init__(self, columns: _Columns, place: int) -> None:
        self._columns = columns
        self._place = place

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][self._place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.names)

    def __len__(self) -> int:
        return len(self._columns.names)

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self._columns.configs[self._place]


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows with every unknown value as None."""
    columns = _Columns(table)
    return [_View(columns, place) for place in range(len(table))]


def measured(rows: Iterable[Row]) -> list[Row]:
    """Return the rows whose trial did not fail."""
    return [row for row in rows if row["status"] == "ok"]


def estimated(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of devices that are not there: a compiler's estimates, nothing was run."""
    return [row for row in rows if row["status"] == "estimated"]


def real(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of what real devices did.

    What an emulated one did is neither drawn nor chosen, and an estimate only where it is asked
    for and called one.
    """
    return [row for row in rows if not row["emulated"] and row["status"] != "estimated"]


def left_out_text(rows: Sequence[Row]) -> str:
    """Say how many of the rows are of emulated devices, and which; empty where none is."""
    return count_text([row for row in rows if row["emulated"]])


def count_text(rows: Sequence[Row]) -> str:
    """Say how many rows there are, and of which devices; empty where there is none."""
    if not rows:
        return ""
    devices = ", ".join(dict.fromkeys(row["device"] for row in rows))
    return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} of {devices}"


def answering(row: Row, name: str) -> str:
    """Return the column of a row that answers for another: an estimated row's only latency."""
    latency = row["status"] == "estimated" and name.startswith("latency_")
    return "latency_estimate_ms" if latency else name


def figure(row: Row, name: str) -> Interval:
    """Return a figure with its interval, NaN where unknown; an exact figure has no width."""

    def number(column: str) -> float:
        value = row.get(column)
        return math.nan if value is None else float(value)

    if name == "model_mib":
        return Interval(number(name), number(name), number(name))
    return Interval(number(name), number(f"{name}_ci_low"), number(f"{name}_ci_high"))


def by_config(rows: Iterable[Row]) -> dict[Config, list[Row]]:
    """Return the rows of each configuration, both in the order of the table."""
    grouped: dict[Config, list[Row]] = {}
    for row in rows:
        grouped.setdefault(Config.of(row), []).append(row)
    return grouped


def environment_labels(rows: Iterable[Row]) -> dict[str, str]:
    """Return short names of the environments, in the order of the table."""
    ids = dict.fromkeys(row["environment"] for row in rows)
    return {identifier: f"env {number}" for number, identifier in enumerate(ids, 1)}


def config_labels(rows: Sequence[Row]) -> dict[Config, str]:
    """Return the shortest unique name of each configuration.

    The precision is named where a variant was measured in several, the shapes, the device and the
    environment where there are several of them, a device that is virtual, emulated or was only
    estimated for always, and the variant's id where two variants share a name.
    """
    devices = {row["device"] for row in rows}
    environments = environment_labels(rows)
    several_shapes = len({row["shape"] for row in rows}) > 1
    several_data_shapes = len({row["data_shape"] for row in rows}) > 1
    grouped = by_config(rows)
    relatives: dict[tuple[str, str], list[Config]] = {}
    for config, same in grouped.items():
        relatives.setdefault((same[0]["variant"], config.environment), []).append(config)
    labels = {}
    for config, same in grouped.items():
        name = same[0]["variant"]
        related = relatives[name, config.environment]
        parts = [name]
        if len({c.variant_id for c in related}) > 1:
            parts.append(config.variant_id[:6])
        if len({c.precision for c in related}) > 1 or config.precision != "default":
            parts.append(precision_text(same))
        if several_shapes and config.shape:
            parts.append(config.shape)
        if several_data_shapes and config.data_shape:
            parts.append(f"data {config.data_shape}")
        if len(devices) > 1 or _virtual(same[0]) or _is_marked(same[0]):
            parts.append(" or ".join(dict.fromkeys(device_text(row) for row in same)))
        if len(environments) > 1:
            parts.append(environments[config.environment])
        labels[config] = " · ".join(parts)
    return labels


def device_text(row: Row) -> str:
    """Return the device of a row; of a virtual one also what did the work."""
    device: str = row["device"]
    ran_on = row.get("ran_on")
    return f"{device} (ran on {ran_on})" if ran_on and _virtual(row) else device


def _virtual(row: Row) -> bool:
    """Whether the device of a row hands the work to others."""
    return is_virtual(unmarked(row["device"]))


def _is_marked(row: Row) -> bool:
    """Whether the device of a row has a word beside it that must not be lost."""
    return bool(row["device"] != unmarked(row["device"]))


def precision_text(same: Sequence[Row]) -> str:
    """Return the precision asked for, and after ``default`` what it turned out to be."""
    asked: str = same[0]["precision"]
    executed = list(dict.fromkeys(r["executed_precision"] for r in same if r["executed_precision"]))
    if asked != "default" or not executed:
        return asked
    return f"default ({', '.join(executed)})"


def load_text(row: Row) -> str:
    """Return the load of a row in words."""
    hint = " hint" if row["load"] == row["hint"] else ""
    return f"batch {row['batch']}, {row['load']}{hint}"


def row_label(row: Row, labels: dict[Config, str]) -> str:
    """Return the name of one row."""
    return f"{labels[Config.of(row)]}, {load_text(row)}"


def words(name: str) -> str:
    """Return what a column is called inside a sentence."""
    title = BY_NAME[name].title
    short = name.startswith("latency_") and "latency" not in title
    return f"{title} latency" if short else title


def figure_text(row: Row, name: str) -> str:
    """Return a figure with its interval and unit."""
    return interval_text(figure(row, name), BY_NAME[name])


def interval_text(value: Interval, column: Column) -> str:
    """Return a figure of a column with its interval and unit."""
    count = not column.unit and column.better is None
    if count and math.isfinite(value.value):
        shown = f"{value.value:.0f}"
    elif column.interval:
        shown = units.interval_text(value.value, value.low, value.high)
    else:
        shown = units.text(value.value)
    unit = column.unit
    return shown if shown == units.UNKNOWN or not unit else f"{shown} {unit}"


def best_throughput(rows: Sequence[Row]) -> Row | None:
    """Return the row with the most throughput; None when it is unknown everywhere."""
    known = [row for row in rows if row["throughput_fps"] is not None]
    return max(known, key=lambda row: float(row["throughput_fps"]), default=None)


def least_latency(rows: Sequence[Row]) -> Row | None:
    """Return the row of batch 1 under the latency hint, else the one with the least p50."""
    known = [row for row in rows if row["latency_p50_ms"] is not None]
    single = [row for row in known if row["batch"] == 1 and row["load"] == "latency"]
    return min(single or known, key=lambda row: float(row["latency_p50_ms"]), default=None)


def least_estimate(rows: Sequence[Row]) -> Row | None:
    """Return the row of the smallest batch that has an estimate, of these the least."""
    known = [row for row in rows if row["latency_estimate_ms"] is not None]
    return min(known, key=lambda row: (row["batch"], row["latency_estimate_ms"]), default=None)


def ratio_words(ratio: Interval) -> str:
    """Return a ratio of throughputs; ``faster`` or ``slower`` only if its interval excludes 1."""
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    if not ratio.known:
        return f"{shown}x, interval unknown"
    if not ratio.excludes(1.0):
        return f"{shown}x, not told apart"
    return f"{shown}x, {'faster' if ratio.value > 1 else 'slower'}"
