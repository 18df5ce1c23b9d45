"""Rows in words: names of configurations and rows, figures with their intervals and units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.columns import BY_NAME, Column
from ovtool.core.device_names import is_virtual, unmark_device
from ovtool.results.rows import Config, Row, Rows, get_figure, group_by_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.statistics import Interval


def row_count_text(rows: Rows) -> str:
    """Say how many rows there are, and of which devices; empty where there is none."""
    if not rows:
        return ""
    devices = ", ".join(rows.unique("device"))
    return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} of {devices}"


def environment_labels(rows: Rows) -> dict[str, str]:
    """Return short names of the environments, in the order of the table."""
    return {one: f"env {number}" for number, one in enumerate(rows.unique("environment"), 1)}


def config_labels(rows: Rows) -> dict[Config, str]:
    """Return the shortest unique name of each configuration.

    The precision is named where a variant was measured in several, the shapes, the device and the
    environment where there are several of them, a device that is virtual, emulated or was only
    estimated for always, and the variant's id where two variants share a name.
    """
    environments = environment_labels(rows)
    several_devices, several_shapes, several_data_shapes = (
        len(rows.unique(name)) > 1 for name in ("device", "shape", "data_shape")
    )
    grouped = group_by_config(rows)
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
        if several_devices or _virtual(same[0]) or _is_marked(same[0]):
            told = (device_text(some[0]) for some in same.groups(("device", "ran_on")))
            parts.append(" or ".join(dict.fromkeys(told)))
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
    return is_virtual(unmark_device(row["device"]))


def _is_marked(row: Row) -> bool:
    """Whether the device of a row has a word beside it that must not be lost."""
    return bool(row["device"] != unmark_device(row["device"]))


def precision_text(same: Rows) -> str:
    """Return the precision asked for, and after ``default`` what it turned out to be."""
    asked: str = same[0]["precision"]
    executed = [one for one in same.unique("executed_precision") if one]
    if asked != "default" or not executed:
        return asked
    return f"default ({', '.join(executed)})"


def load_text(row: Row) -> str:
    """Return the load of a row in words."""
    hint = " hint" if row["load"] == row["hint"] else ""
    return f"batch {row['batch']}, {row['load']}{hint}"


def row_label(row: Row, labels: Mapping[Config, str]) -> str:
    """Return the name of one row."""
    return f"{labels[Config.from_row(row)]}, {load_text(row)}"


def column_label(name: str) -> str:
    """Return what a column is called inside a sentence."""
    title = BY_NAME[name].title
    short = name.startswith("latency_") and "latency" not in title
    return f"{title} latency" if short else title


def column_heading(name: str) -> str:
    """Return the heading of a column of figures, with its unit."""
    unit = BY_NAME[name].unit
    return f"{column_label(name)}, {unit}" if unit else column_label(name)


def figure_text(row: Row, name: str) -> str:
    """Return a figure with its interval and unit."""
    return interval_text(get_figure(row, name), BY_NAME[name])


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


def ratio_text(ratio: Interval) -> str:
    """Return a ratio of throughputs; ``faster`` or ``slower`` only if its interval excludes 1."""
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    if not ratio.known:
        return f"{shown}x, interval unknown"
    if not ratio.excludes(1.0):
        return f"{shown}x, not told apart"
    return f"{shown}x, {'faster' if ratio.value > 1 else 'slower'}"
