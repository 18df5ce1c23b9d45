"""The table of variants, for the terminal, the page and Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.files import path_list
from ovtool.core.tabular import Tabular
from ovtool.results.labels import config_labels, row_count_text
from ovtool.results.rows import (
    TEXT_LENGTHS,
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
    text_rows,
    throughput_column,
)
from ovtool.results.table import load_results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ovtool.results.table import ResultsTable

TEXT_CAPTION = (
    "Latency: medians of the time to the first token and of the time per output token, at the"
    " lowest concurrency, or the lowest rate of arrivals without one. Throughput: tokens of all"
    " requests together, highest. Speed-up: at the load of this throughput, over the uncompressed"
    " model in f32 and in the device's default precision. Brackets: 95% confidence intervals."
)
CAPTION = (
    "Latency: batch 1 under the latency hint if measured, else the lowest. Throughput: the highest."
    " Speed-up: at the load of this throughput, over the uncompressed model in f32 and in the"
    " device's default precision. Verdict: of the rows of latency and throughput. Brackets: 95%"
    " confidence intervals."
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The cells of one configuration: the figure on the first line, details on further lines."""

    name: str
    quality: str
    latency: str
    throughput: str
    speedup: str
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order of :attr:`Summary.headings`."""
        return self.name, self.quality, self.latency, self.throughput, self.speedup, self.verdict


@dataclass(frozen=True, slots=True, repr=False)
class Summary(Tabular):
    """The table of variants: columns that fit a terminal of 80 characters."""

    headings: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    caption: str = CAPTION

    def _title(self) -> str:
        return self.caption

    def _rows(self) -> list[dict[str, Any]]:
        return [dict(zip(self.headings, row.cells, strict=True)) for row in self.rows]


def summarize(sweeps: str | PathLike[str] | Sequence[str | PathLike[str]]) -> Summary:
    """Return size, quality, latency, throughput and speed-up of each variant and precision.

    Raises:
        InputError: A folder is not a sweep.
        NothingMeasuredError: No trial was measured or estimated.
    """
    return summarize_table(load_results(path_list(sweeps)))


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
    texts = throughput_column(rows) == "tokens_s"
    caption = [TEXT_CAPTION if texts else CAPTION]
    if text_rows(rows).any() and not texts:
        caption.append(f"Text generators: {TEXT_CAPTION}")
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
        headings=(
            "variant",
            quality_title,
            "latency, ms",
            "tokens/s" if texts else "samples/s",
            "speed-up, x",
            "verdict",
        ),
        rows=tuple(
            _row(labels[config], part, quality)
            for config, group in group_by_config(rows).items()
            for part in group.groups(TEXT_LENGTHS)
        ),
        caption=" ".join(caption),
    )


def _row(label: str, group: Rows, quality: str | None) -> SummaryRow:
    fastest, quickest = find_highest_throughput(group), find_lowest_latency(group)
    throughput = speedup = units.UNKNOWN
    size = f"{units.text(group[0]['model_mib'])} MiB"
    if text_rows(group).any():
        quickest = min(group, key=_load_order)
        peak = max(group.numbers("peak_rss_mib"))
        lengths = "+".join(f"{quickest[name]:.0f}" for name in TEXT_LENGTHS)
        size = f"{lengths} tokens\n{size}, memory {units.text(peak)}"
    if fastest is not None:
        throughput = f"{compact(fastest, throughput_column(group))}\n{_load(fastest)}"
        f32, default = (compact(fastest, f"speedup_{name}_x") for name in ("f32", "default"))
        speedup = f"f32 {f32}\ndefault {default}"
    latency = _estimate(group)
    if quickest is not None and text_rows(group).any():
        names = {"TTFT": "ttft_ms", "TPOT": "tpot_ms"}
        known = [f"{title} {compact(quickest, n)}" for title, n in names.items() if quickest[n]]
        latency = "\n".join([*known, _load(quickest)])
    elif quickest is not None:
        p50, p99 = (compact(quickest, f"latency_{name}_ms") for name in ("p50", "p99"))
        latency = f"p50 {p50}\np99 {p99}\n{_load(quickest)}"
    return SummaryRow(
        name=f"{label}\n{size}",
        quality=units.UNKNOWN if quality is None else compact(group[0], quality, "\n"),
        latency=latency,
        throughput=throughput,
        speedup=speedup,
        verdict=_verdict(quickest, fastest),
    )


def _load_order(row: Row) -> tuple[bool, float]:
    """Return the key of the load of a text generator: closed loops first, the lightest first."""
    return row["concurrency"] is None, row["concurrency"] or row["rate_rps"] or 0.0


def _verdict(quickest: Row | None, fastest: Row | None) -> str:
    """Return the verdict of both rows, or that of each if they differ."""
    if quickest is None and fastest is None:
        return "estimate"
    rows = {"latency": quickest, "throughput": fastest}
    verdicts = {name: row["verdict"] for name, row in rows.items() if row is not None}
    if len(set(verdicts.values())) == 1:
        return next(iter(verdicts.values())) or units.UNKNOWN
    return "\n".join(f"{name} {verdict or units.UNKNOWN}" for name, verdict in verdicts.items())


def _estimate(group: Rows) -> str:
    """Return the lowest estimate of a configuration that was not measured."""
    row = find_lowest_estimate(group)
    if row is None:
        return units.UNKNOWN
    return f"estimate {compact(row, 'latency_estimate_ms')}\nbatch {row['batch']}"


def _load(row: Row) -> str:
    if row["prompt_length"] is not None:
        return str(row["load"])
    return f"batch {row['batch']} {row['load']}"


def compact(row: Row, column: str, separator: str = " ") -> str:
    """Return ``value [low,high]`` without a space inside the brackets."""
    value = get_figure(row, column)
    text = units.interval_text(value.value, value.low, value.high).replace(", ", ",")
    return text.replace(" [", f"{separator}[")
