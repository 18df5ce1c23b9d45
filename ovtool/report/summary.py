"""The table of variants, for the terminal, the page and Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import NothingMeasuredError
from ovtool.results.labels import config_labels, row_count_text
from ovtool.results.rows import (
    Row,
    Rows,
    estimated_rows,
    excluded_rows,
    find_highest_throughput,
    find_lowest_estimate,
    find_lowest_latency,
    get_figure,
    group_by_config,
    measured_rows,
)
from ovtool.results.table import load_results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovtool.results.table import ResultsTable

CAPTION = (
    "Latency: batch 1 under the latency hint if measured, else the lowest. Throughput: the highest."
    " Speed-up: at the load of this throughput, over the uncompressed model in f32 and in the"
    " device's default precision. Brackets: 95 % confidence intervals."
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The cells of one configuration: the figure on the first line, details on further lines."""

    name: str
    quality: str
    latency: str
    throughput: str
    speedup: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order of :attr:`Summary.headings`."""
        return self.name, self.quality, self.latency, self.throughput, self.speedup


@dataclass(frozen=True, slots=True)
class Summary:
    """The table of variants: five columns that fit a terminal of 80 characters."""

    headings: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    caption: str = CAPTION


def summarize(sweeps: Sequence[str | Path]) -> Summary:
    """Return size, quality, latency, throughput and speed-up of each variant and precision.

    Raises:
        InputError: A folder is not a sweep.
        NothingMeasuredError: No trial was measured or estimated.
    """
    return summarize_table(load_results(sweeps))


def summarize_table(table: ResultsTable) -> Summary:
    """Return a row for each measured or estimated combination of variant, precision and device.

    Raises:
        NothingMeasuredError: No trial was measured or estimated.
    """
    all_rows = table.records
    estimates = estimated_rows(all_rows)
    rows = measured_rows(all_rows) + estimates
    if not rows:
        raise NothingMeasuredError("nothing was measured")
    quality = table.quality_metric
    labels = config_labels(rows)
    caption = [CAPTION]
    if quality and table.quality_reason:
        caption.append(f"Quality is the {BY_NAME[quality].title}: {table.quality_reason}.")
    if excluded := row_count_text(excluded_rows(rows)):
        caption.append(f"Not results: {excluded}; emulated devices are for tests only.")
    if estimates:
        caption.append(
            f"Estimates: {row_count_text(estimates)}, by the device's compiler for a single"
            " inference; nothing was run."
        )
    quality_title = BY_NAME[quality].title if quality else "quality"
    return Summary(
        headings=("variant", quality_title, "latency, ms", "samples/s", "speed-up, x"),
        rows=tuple(_row(labels[c], group, quality) for c, group in group_by_config(rows).items()),
        caption=" ".join(caption),
    )


def _row(label: str, group: Rows, quality: str | None) -> SummaryRow:
    fastest, quickest = find_highest_throughput(group), find_lowest_latency(group)
    throughput = speedup = units.UNKNOWN
    if fastest is not None:
        throughput = f"{compact(fastest, 'throughput_fps')}\n{_load(fastest)}"
        f32, default = (compact(fastest, f"speedup_{name}_x") for name in ("f32", "default"))
        speedup = f"f32 {f32}\ndefault {default}"
    latency = _estimate(group)
    if quickest is not None:
        p50, p99 = (compact(quickest, f"latency_{name}_ms") for name in ("p50", "p99"))
        latency = f"p50 {p50}\np99 {p99}\n{_load(quickest)}"
    return SummaryRow(
        name=f"{label}\n{units.text(group[0]['model_mib'])} MiB",
        quality=units.UNKNOWN if quality is None else compact(group[0], quality, "\n"),
        latency=latency,
        throughput=throughput,
        speedup=speedup,
    )


def _estimate(group: Rows) -> str:
    """Return the lowest estimate of a configuration that was not measured."""
    row = find_lowest_estimate(group)
    if row is None:
        return units.UNKNOWN
    return f"estimate {compact(row, 'latency_estimate_ms')}\nbatch {row['batch']}"


def _load(row: Row) -> str:
    return f"batch {row['batch']} {row['load']}"


def compact(row: Row, column: str, separator: str = " ") -> str:
    """Return ``value [low,high]`` without a space inside the brackets."""
    value = get_figure(row, column)
    text = units.interval_text(value.value, value.low, value.high).replace(", ", ",")
    return text.replace(" [", f"{separator}[")
