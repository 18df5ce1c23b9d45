"""Latency and throughput: the placement of labels, and the axes of wide intervals."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.charts.latency_throughput import place_labels
from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.results.sweep_data import read_sweep
from ovtool.results.table import load_results
from tests.charts.test_config_charts import axis_numbers
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import under_load


@given(st.lists(st.tuples(st.floats(0, 700), st.floats(0, 400)), max_size=40))
def test_labels_cover_no_point_and_no_label(points):
    offsets = place_labels([p[0] for p in points], [p[1] for p in points])
    placed = [(x + o.dx, y + o.dy) for (x, y), o in zip(points, offsets, strict=True) if o]
    for i, (x, y) in enumerate(placed):
        rest = placed[:i] + placed[i + 1 :]
        assert not any(abs(x - a) < 12 and abs(y - b) < 10 for a, b in rest)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.0, 0.9])
@pytest.mark.parametrize("count", [1, 4])
def test_axes_of_a_contended_series_are_not_negative(tmp_path, load, count):
    quiet = read_sweep(sweeps.whole(tmp_path / "quiet", sweeps.MODELS[:2], (1, 8)))
    few = replace(quiet, measurements=quiet.measurements[:count])
    busy = under_load(few, random.Random(2), load)
    if load:
        assert {m.verdict for m in busy.measurements} == {"contended"}
    table = load_results([sweeps.make(tmp_path / "busy", list(busy.measurements))])
    for chart in draw_sweep_charts(table).drawn:
        if chart.name in ("latency-throughput", "batch-scaling"):
            assert min(axis_numbers(chart, chart.points)) >= 0
            bounds = [
                v for p in chart.points for k, v in p.items() if k.endswith(("_low", "_high"))
            ]
            assert min(bounds) > 0
