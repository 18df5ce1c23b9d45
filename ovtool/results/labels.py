"""Texts of rows: names of configurations and rows, figures with their intervals and units."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovtool.core import units
from ovtool.core.columns import BY_NAME, Column
from ovtool.core.device_names import is_virtual, unmark_device
from ovtool.results.rows import (
    Config,
    Row,
    Rows,
    first_of_each_group,
    get_figure,
    group_by_config,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.statistics import Interval

RatioClass = Literal["faster", "slower", "no significant difference", "interval unknown"]


def row_count_text(rows: Rows) -> str:
    """Return the number of rows and their devices; empty without rows."""
    if not rows:
        return ""
    devices = ", ".join(rows.unique("device"))
    return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} of {devices}"


def environment_labels(rows: Rows) -> dict[str, str]:
    """Return short names of the environments by id, in the order of the rows.

    The name is that of the host, with a number where a host has several environments.
    """
    first = first_of_each_group(rows.group_codes(("environment",)), np.arange(len(rows)))
    hosts = {row["environment"]: row["host"] for row in rows.take(first)}
    repeated = Counter(hosts.values())
    return {
        id_: host if host and repeated[host] == 1 else f"{host or ''} env {number}".strip()
        for number, (id_, host) in enumerate(hosts.items(), 1)
    }


def config_labels(rows: Rows) -> dict[Config, str]:
    """Return the shortest unique name of each configuration.

    A name begins with the variant.  The id of the variant is added where two variants share a name,
    the precision where a variant was measured in several, and shapes, device and environment where
    the rows have several.  Virtual and marked devices are always added.
    """
    environments = environment_labels(rows)
    several_devices, several_shapes, several_data_shapes, several_caches = (
        len(rows.unique(name)) > 1
        for name in ("device", "shape", "data_shape", "kv_cache_precision")
    )
    groups = group_by_config(rows)
    related: dict[tuple[str, str], list[Config]] = {}
    for config, group in groups.items():
        related.setdefault((group[0]["variant"], config.environment), []).append(config)
    labels = {}
    for config, group in groups.items():
        variant, device = group[0]["variant"], group[0]["device"]
        configs = related[variant, config.environment]
        parts = [variant]
        if len({c.variant_id for c in configs}) > 1:
            parts.append(config.variant_id[:6])
        if len({c.precision for c in configs}) > 1 or config.precision != "default":
            parts.append(precision_text(group))
        if several_shapes and config.shape:
            parts.append(config.shape)
        if several_data_shapes and config.data_shape:
            parts.append(f"data {config.data_shape}")
        if several_caches and config.kv_cache_precision:
            parts.append(f"KV {config.kv_cache_precision}")
        if several_devices or is_virtual(unmark_device(device)) or device != unmark_device(device):
            devices = (device_text(rows[0]) for rows in group.groups(("device", "ran_on")))
            parts.append(" or ".join(dict.fromkeys(devices)))
        if len(environments) > 1:
            parts.append(environments[config.environment])
        labels[config] = " · ".join(parts)
    return labels


def device_text(row: Row) -> str:
    """Return the device of a row; for a virtual device also the device that did the work."""
    device: str = row["device"]
    ran_on = row.get("ran_on")
    virtual = is_virtual(unmark_device(device))
    return f"{device} (ran on {ran_on})" if ran_on and virtual else device


def precision_text(rows: Rows) -> str:
    """Return the requested precision; for ``default`` also the executed precisions."""
    requested: str = rows[0]["precision"]
    executed = [precision for precision in rows.unique("executed_precision") if precision]
    if requested != "default" or not executed:
        return requested
    return f"default ({', '.join(executed)})"


def lengths_text(row: Row) -> str:
    """Return the lengths of the requests of a text generator; empty for other models."""
    if row["prompt_length"] is None:
        return ""
    return f"prompt {row['prompt_length']:.0f}, output {row['output_length']:.0f}"


def load_text(row: Row) -> str:
    """Return batch and load of a row; of a text generator, the lengths and the load."""
    if row["prompt_length"] is not None:
        return f"{lengths_text(row)}, {row['load']}"
    hint = " hint" if row["load"] == row["hint"] else ""
    return f"batch {row['batch']}, {row['load']}{hint}"


def row_label(row: Row, labels: Mapping[Config, str]) -> str:
    """Return the name of a row: its configuration, batch and load."""
    return f"{labels[Config.from_row(row)]}, {load_text(row)}"


def column_label(name: str) -> str:
    """Return the name of a column in a sentence."""
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
    is_count = not column.unit and column.better is None
    if is_count and math.isfinite(value.value):
        shown = f"{value.value:.0f}"
    elif column.interval:
        shown = units.interval_text(value.value, value.low, value.high)
    else:
        shown = units.text(value.value)
    return shown if shown == units.UNKNOWN else units.with_unit(shown, column.unit)


def classify_ratio(ratio: Interval) -> RatioClass:
    """Return how a ratio of throughputs compares with 1."""
    if not ratio.known:
        return "interval unknown"
    if not ratio.excludes(1.0):
        return "no significant difference"
    return "faster" if ratio.value > 1 else "slower"


def ratio_text(ratio: Interval) -> str:
    """Return a ratio of throughputs with its interval and class."""
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    return f"{shown}x, {classify_ratio(ratio)}"


def quality_size_text(row: Row) -> str:
    """Return what a quality is from: samples, or tokens of a text; empty if unknown."""
    for name, noun in (("quality_tokens", "token"), ("quality_samples", "sample")):
        if row[name] is not None:
            return f" on {units.count_text(int(row[name]), noun)}"
    return ""
