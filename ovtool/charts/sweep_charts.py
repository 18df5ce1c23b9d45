"""All charts of a sweep, and the points that they draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ovtool.charts.concurrency import draw_concurrency
from ovtool.charts.config_charts import (
    draw_quality,
    draw_quality_vs_size,
    draw_size,
    draw_speedup,
    draw_startup,
)
from ovtool.charts.drawing import Chart, OmittedChart, color_groups
from ovtool.charts.latency_estimates import draw_latency_estimates
from ovtool.charts.latency_throughput import (
    LatencyView,
    draw_batch_scaling,
    draw_latency_throughput,
    with_few_lines,
    with_label_offsets,
)
from ovtool.charts.small_multiples import draw_small_multiples
from ovtool.core.columns import BY_NAME
from ovtool.results.labels import config_labels, lengths_text, row_count_text
from ovtool.results.rows import (
    Config,
    estimated_rows,
    excluded_rows,
    get_figures,
    group_by_config,
    is_real,
    measured_rows,
    real_rows,
    text_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovtool.charts.drawing import Point
    from ovtool.results.rows import Rows
    from ovtool.results.table import ResultsTable

_FIGURES = (
    "latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "throughput_fps", "speedup_f32_x",
    "speedup_default_x", "model_mib",
    "compile_cold_ms", "compile_cached_ms", "first_inference_ms",
)  # fmt: skip
_OF_INFERENCE = _FIGURES[:4]
"""Figures of inferences, which are not comparable with those of the requests of texts."""
_OF_TEXTS = ("ttft_ms", "tokens_s", "concurrency")


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of a table, and the points that they share."""

    drawn: tuple[Chart, ...]
    omitted: tuple[OmittedChart, ...] = ()
    excluded_rows: tuple[str, ...] = ()
    """Which rows no chart shows, and why; each a sentence without its period."""
    points: Sequence[Point] = ()
    """``row`` of a point is its index in the table."""


def draw_sweep_charts(
    table: ResultsTable,
    best: int | None = None,
    percentile: int = 50,
    max_latency_ms: float | None = None,
) -> Charts:
    """Draw all charts that the table has figures for; ``best`` is the recommended row's index.

    ``percentile`` is that of the latency in the first chart, ``max_latency_ms`` its limit.
    """
    rows = table.records
    labels = config_labels(measured_rows(real_rows(rows)))
    excluded_devices = row_count_text(excluded_rows(measured_rows(rows)))
    estimates = row_count_text(estimated_rows(rows))
    quality = table.quality_metric
    points = build_points(rows, labels, quality, best)
    view = LatencyView(f"latency_p{percentile}_ms", max_latency_ms, best)
    points = with_label_offsets(with_few_lines(points, view), view)
    charts: list[Chart | OmittedChart | None] = [
        draw_latency_throughput(points, view),
        draw_small_multiples(points, view),
        draw_batch_scaling(points),
        draw_concurrency(points, "ttft_ms"),
        draw_concurrency(points, "tokens_s"),
        draw_speedup(points, "speedup_f32_x", "f32"),
        draw_speedup(points, "speedup_default_x", "the default precision"),
        draw_quality_vs_size(points, quality),
        draw_quality(points, quality),
        draw_size(points),
        draw_startup(points),
    ]
    if estimates:
        charts.append(draw_latency_estimates(rows))
    excluded = []
    if excluded_devices:
        excluded.append(f"{excluded_devices}: emulated devices are for tests only")
    if estimates:
        excluded.append(f"{estimates}: estimates, shown only in the chart of estimates")
    drawn = (chart for chart in charts if isinstance(chart, Chart))
    omitted = tuple(chart for chart in charts if isinstance(chart, OmittedChart))
    with_points = (chart if chart.points else replace(chart, points=points) for chart in drawn)
    return Charts(tuple(with_points), omitted, tuple(excluded), points)


def build_points(
    rows: Rows, labels: dict[Config, str], quality: str | None, best: int | None = None
) -> list[Point]:
    """Return a point for each row: its index in the table, its names and its figures.

    Failed rows and rows of emulated devices have no point.  Unknown figures are absent.  An
    interval has both bounds or none.
    """
    shown = rows.equal("status", "ok") & is_real(rows)
    indices, kept = np.flatnonzero(shown).tolist(), rows.take(shown)
    configs = [Config.from_row(row) for row in kept]
    order = {label: place for place, label in enumerate(labels.values())}
    ranks, files = _speed_ranks(kept), _file_labels(kept)
    by_variant: dict[str, int] = {}
    for config, rank in ranks.items():  # the fastest first
        by_variant.setdefault(files[config.variant_id], rank)
    chosen = None if best is None else files.get(rows[best]["variant_id"])
    in_order = {files[config.variant_id]: 0 for config in configs}
    colors = color_groups({name: by_variant[name] for name in in_order}, chosen)
    points: list[Point] = [
        {
            "row": index,
            "config": labels[config],
            "order": order[labels[config]],
            "speed_rank": ranks[config],
            "files": files[config.variant_id],
            "color": colors[files[config.variant_id]],
            "device": config.device,
            "batch": batch,
            "load": load,
        }
        for index, config, batch, load in zip(
            indices, configs, kept.values("batch"), kept.values("load"), strict=True
        )
    ]
    texts = text_rows(kept)
    for point, row, is_text in zip(points, kept, texts.tolist(), strict=True):
        if is_text:
            point["lengths"] = lengths_text(row)
    for name in _FIGURES:
        _add_figure(points, kept, name, name, ~texts if name in _OF_INFERENCE else None)
    for name in _OF_TEXTS:
        _add_figure(points, kept, name, name)
    if quality is not None:
        _add_figure(points, kept, quality, "quality")
    if best in indices:
        points[indices.index(best)]["best"] = 1
    return points


def _speed_ranks(rows: Rows) -> dict[Config, int]:
    """Return the rank of each configuration by its highest throughput, from 0."""
    groups = group_by_config(rows).items()
    best = {c: np.nan_to_num(group.numbers("throughput_fps")).max() for c, group in groups}
    ranked = sorted(best, key=lambda config: -best[config])
    return {config: rank for rank, config in enumerate(ranked)}


def _add_figure(
    points: Sequence[Point],
    rows: Rows,
    column: str,
    name: str,
    shown: NDArray[np.bool_] | None = None,
) -> None:
    """Add a figure and its interval to the points of the rows that have it, and are ``shown``."""
    has_interval = BY_NAME[column].interval
    kept = np.ones(len(points), bool) if shown is None else shown
    for point, value, is_shown in zip(
        points, get_figures(rows, column), kept.tolist(), strict=True
    ):
        if is_shown and math.isfinite(value.value):
            point[name] = value.value
            if has_interval and value.known:
                point[f"{name}_low"], point[f"{name}_high"] = value.low, value.high


def _file_labels(rows: Rows) -> dict[str, str]:
    """Return the name of each variant, with its id if two variants share a name."""
    names = dict(zip(rows.values("variant_id"), rows.values("variant"), strict=True))
    shared = len(set(names.values())) < len(names)
    return {key: f"{name} · {key[:6]}" if shared else name for key, name in names.items()}
