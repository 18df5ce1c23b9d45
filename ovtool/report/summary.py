"""The table of variants: what a terminal shows, and what the page and Markdown open with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import NothingMeasuredError
from ovtool.results.rows import (
    Row,
    Rows,
    best_throughput,
    by_config,
    estimated,
    figure,
    least_estimate,
    least_latency,
    measured,
    records,
)
from ovtool.results.table import background
from ovtool.results.wording import config_labels, count_text, left_out_text

if TYPE_CHECKING:
    import pandas as pd

CAPTION = (
    "Latency: batch 1 under the latency hint where measured, else the least. Throughput: the "
    "most. Speed-up: at the load of that throughput, over the uncompressed model run in f32 and "
    "in the device's default precision. Brackets: 95 % intervals."
)
NO_RESULT = "an emulated device is for tests, and says nothing of a real one"
ESTIMATED = (
    "the latency that the device's compiler expects of one inference by itself; nothing was run"
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One configuration in text; each cell has its figure first and details on further lines."""

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
    """The table of variants: five columns that fit 80 characters with one space between them."""

    headings: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    caption: str = CAPTION


def summary(table: pd.DataFrame) -> Summary:
    """Return one row for each variant, precision and device that was measured or estimated for.

    Raises:
        NothingMeasuredError: There is none.
    """
    everything = records(table)
    guesses = estimated(everything)
    rows = measured(everything) + guesses
    if not rows:
        raise NothingMeasuredError("nothing was measured: there is no table of variants")
    quality = background(table).quality_metric
    labels = config_labels(rows)
    title = BY_NAME[quality].title if quality else "quality"
    emulated = left_out_text(rows)
    said = [CAPTION]
    said += [f"No results: {emulated}; {NO_RESULT}."] if emulated else []
    said += [f"Estimates: {count_text(guesses)}: {ESTIMATED}."] if guesses else []
    return Summary(
        headings=("variant", title, "latency, ms", "samples/s", "speed-up, x"),
        rows=tuple(_row(labels[c], same, quality) for c, same in by_config(rows).items()),
        caption=" ".join(said),
    )


def _row(label: str, same: Rows, quality: str | None) -> SummaryRow:
    fast, quick = best_throughput(same), least_latency(same)
    return SummaryRow(
        name=f"{label}\n{units.text(same[0]['model_mib'])} MiB",
        quality=units.UNKNOWN if quality is None else compact(same[0], quality, "\n"),
        latency=_estimate(same)
        if quick is None
        else f"p50 {compact(quick, 'latency_p50_ms')}\np99 {compact(quick, 'latency_p99_ms')}"
        f"\n{_where(quick)}",
        throughput=units.UNKNOWN
        if fast is None
        else f"{compact(fast, 'throughput_fps')}\n{_where(fast)}",
        speedup=units.UNKNOWN if fast is None else _speedup(fast),
    )


def _estimate(same: Rows) -> str:
    """Return the least estimate of a configuration that was not measured, called one."""
    least = least_estimate(same)
    if least is None:
        return units.UNKNOWN
    return f"estimate {compact(least, 'latency_estimate_ms')}\nbatch {least['batch']}"


def _speedup(row: Row) -> str:
    return "\n".join(
        f"{against} {compact(row, column)}"
        for column, against in (("speedup_f32_x", "f32"), ("speedup_default_x", "default"))
    )


def _where(row: Row) -> str:
    return f"batch {row['batch']} {row['load']}"


def compact(row: Row, column: str, between: str = " ") -> str:
    """Return ``value [low,high]`` without a break inside the brackets."""
    value = figure(row, column)
    shown = units.interval_text(value.value, value.low, value.high).replace(", ", ",")
    return shown.replace(" [", f"{between}[")
