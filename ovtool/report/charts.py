"""The charts of a report, as Vega-Lite specifications built with altair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.report.dots import quality_dots, size_bars, speedup
from ovtool.report.drawing import Chart
from ovtool.report.estimates import latency_estimates
from ovtool.report.rows import (
    config_labels,
    count_text,
    estimated,
    left_out_text,
    measured,
    real,
    records,
)
from ovtool.report.table import background
from ovtool.report.tradeoff import latency_throughput

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Charts:
    """What could be drawn, and why the rest could not."""

    drawn: tuple[Chart, ...]
    left_out: tuple[str, ...]


def charts(table: pd.DataFrame) -> Charts:
    """Draw what the table has figures for."""
    everything = records(table)
    rows = real(everything)
    emulated = left_out_text(measured(everything))
    guesses = count_text(estimated(everything))
    labels = config_labels(rows)
    quality = background(table).quality_metric
    made = [
        latency_throughput(rows, labels),
        speedup(rows, labels, "speedup_f32_x", "f32"),
        speedup(rows, labels, "speedup_default_x", "its default precision"),
        quality_dots(rows, labels, quality),
        size_bars(rows),
    ]
    made += [latency_estimates(everything)] if guesses else []
    return Charts(
        tuple(one for one in made if isinstance(one, Chart)),
        (
            *(one for one in made if isinstance(one, str)),
            *([f"{emulated}: figures of an emulated device are for tests"] if emulated else []),
            *([f"{guesses}, but in the chart of estimates: nothing was run"] if guesses else []),
        ),
    )
