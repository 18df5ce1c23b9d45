"""One row of the table as a plain dict, and what the parts of the report ask of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ovtool import units
from ovtool.columns import BY_NAME, Column
from ovtool.devicename import is_virtual
from ovtool.results import unmarked
from ovtool.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

Row = dict[str, Any]


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
        return cls(**{field.name: row[field.name] for field in fields(cls)})


def records(table: pd.DataFrame) -> list[Row]:
    """Return the rows with every unknown value as None."""
    objects = table.astype(object)
    known = objects.where(objects.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]


def measured(rows: Iterable[Row]) -> list[Row]:
    """Return the rows whose trial did not fail."""
    return [row for row in rows if row["status"] == "ok"]


def real(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of real devices: what an emulated one did is neither drawn nor chosen."""
    return [row for row in rows if not row["emulated"]]


def left_out_text(rows: Sequence[Row]) -> str:
    """Say how many of the rows are of emulated devices, and which; empty where none is."""
    devices = [row["device"] for row in rows if row["emulated"]]
    if not devices:
        return ""
    count = f"{len(devices)} {'row' if len(devices) == 1 else 'rows'}"
    return f"{count} of {', '.join(dict.fromkeys(devices))}"


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
    environment where there are several of them, a virtual or emulated device always, and the
    variant's id where two variants share a name.
    """
    devices = {row["device"] for row in rows}
    environments = environment_labels(rows)
    several_shapes = len({row["shape"] for row in rows}) > 1
    several_data_shapes = len({row["data_shape"] for row in rows}) > 1
    labels = {}
    for config, same in by_config(rows).items():
        name = same[0]["variant"]
        relatives = [
            r for r in rows if r["variant"] == name and r["environment"] == config.environment
        ]
        parts = [name]
        if len({r["variant_id"] for r in relatives}) > 1:
            parts.append(config.variant_id[:6])
        if len({r["precision"] for r in relatives}) > 1 or config.precision != "default":
            parts.append(precision_text(same))
        if several_shapes and config.shape:
            parts.append(config.shape)
        if several_data_shapes and config.data_shape:
            parts.append(f"data {config.data_shape}")
        if len(devices) > 1 or _virtual(same[0]) or same[0]["emulated"]:
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
    return f"{title} latency" if name.startswith("latency_") else title


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


def ratio_words(ratio: Interval) -> str:
    """Return a ratio of throughputs; ``faster`` or ``slower`` only if its interval excludes 1."""
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    if not ratio.known:
        return f"{shown}x, interval unknown"
    if not ratio.excludes(1.0):
        return f"{shown}x, not told apart"
    return f"{shown}x, {'faster' if ratio.value > 1 else 'slower'}"
