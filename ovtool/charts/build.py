"""The charts of a report, as Vega-Lite specifications built with altair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.charts.dots import quality_dots, quality_size, size_bars, speedup, start_bars
from ovtool.charts.drawing import Chart, points
from ovtool.charts.estimates_chart import latency_estimates
from ovtool.charts.tradeoff import batch_scaling, latency_throughput, with_labels
from ovtool.results.rows import estimated, measured, real, records
from ovtool.results.table import background
from ovtool.results.wording import config_labels, count_text, left_out_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.charts.drawing import Point


@dataclass(frozen=True, slots=True)
class Charts:
    """What could be drawn, and why the rest could not.

    Args:
        drawn: The charts.
        left_out: Why others are not there.
        points: What most of them draw; ``row`` is the place in the table that was given.
    """

    drawn: tuple[Chart, ...]
    left_out: tuple[str, ...]
    points: Sequence[Point] = ()


def charts(table: pd.DataFrame, best: int | None = None) -> Charts:
    """Draw what the table has figures for.

    Args:
        table: Of :func:`ovtool.results.table.load`, or some of its rows.
        best: Which of the rows is the recommended one.
    """
    everything = records(table)
    labels = config_labels(measured(real(everything)))
    emulated = left_out_text(measured(everything))
    guesses = count_text(estimated(everything))
    quality = background(table).quality_metric
    data = with_labels(points(everything, labels, quality, best))
    made = [
        latency_throughput(data),
        batch_scaling(data),
        speedup(data, "speedup_f32_x", "f32"),
        speedup(data, "speedup_default_x", "its default precision"),
        quality_size(data, quality),
        quality_dots(data, quality),
        size_bars(data),
        start_bars(data),
    ]
    made += [latency_estimates(everything)] if guesses else []
    return Charts(
        tuple(
            one if one.points else replace(one, points=data)
            for one in made
            if isinstance(one, Chart)
        ),
        (
            *(one for one in made if isinstance(one, str)),
            *([f"{emulated}: figures of an emulated device are for tests"] if emulated else []),
            *([f"{guesses}, but in the chart of estimates: nothing was run"] if guesses else []),
        ),
        data,
    )
