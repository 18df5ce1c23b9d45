"""All charts of a sweep."""

import json
import re
from dataclasses import replace

import pytest
import vl_convert

from ovtool.charts import theme
from ovtool.charts.drawing import MAX_COLORS, MAX_CONFIGS, OTHERS
from ovtool.charts.latency_throughput import MAX_LINES
from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.results.table import load_results
from tests.helpers import sweeps


def svg_of(chart):
    spec = chart.standalone_spec | {"config": theme.file_config()}
    return vl_convert.vegalite_to_svg(spec)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("models", "batches", "devices"),
    [
        (sweeps.MODELS[:2], (1,), ("CPU",)),
        (
            [sweeps.Model(f"variant {i}", 3, {"default": 2 + i}, (40, 50)) for i in range(12)],
            (1, 2, 4, 8, 16, 32, 64, 128),
            ("CPU",),
        ),
        (sweeps.MODELS, (1, 8), ("CPU", "GPU.0")),
    ],
)
def test_charts_draw_few_and_many(tmp_path, models, batches, devices):
    table = load_results([sweeps.whole(tmp_path / "s", models, batches, devices)])
    drawn = {chart.name: chart for chart in draw_sweep_charts(table).drawn}
    assert {"latency-throughput", "size", "quality", "speedup-default", "start"} <= set(drawn)
    assert ("batch-scaling" in drawn) == (len(batches) > 1)
    for chart in drawn.values():
        assert vl_convert.vegalite_to_svg(chart.standalone_spec).startswith("<svg")
    svg = svg_of(drawn["latency-throughput"])
    colored = models if len(models) <= MAX_COLORS else models[: MAX_COLORS - 1]
    for model in models:
        assert (model.name in svg) == (model in colored)
    assert (OTHERS in svg) == (len(models) > MAX_COLORS)
    panels = svg_of(drawn["by-variant"]) if "by-variant" in drawn else ""
    lines = 2 * len(devices) * sum(len(model.ms) for model in models)
    assert ("by-variant" in drawn) == (len(models) > MAX_COLORS or lines > MAX_LINES)
    colorful = [p for p in drawn["latency-throughput"].points if p["color"] != OTHERS]
    names = {(p["config"], p["load"]) for p in colorful if "line" not in p}
    colored_lines = sum(2 * len(devices) * len(model.ms) for model in colored)
    assert len(names) == min(MAX_LINES, colored_lines)
    assert not panels or all(model.name in panels for model in models)
    if panels:  # each panel has its own rows, and the same gray points
        rows = len(table.rows)
        context = len(next(iter(drawn["by-variant"].spec["datasets"].values())))
        assert 0 < context <= rows
        points = re.findall('aria-roledescription="point"', panels)
        assert len(points) == rows + len(models) * context


@pytest.mark.slow
def test_charts_without_data_are_omitted(tmp_path):
    trials = [t for t in sweeps.trials(batches=(1,)) if t.variant == sweeps.INT8.id]
    folder = sweeps.make(tmp_path / "s", [sweeps.measure(t) for t in trials])
    result = draw_sweep_charts(load_results([folder]))
    assert [chart.name for chart in result.drawn] == ["latency-throughput", "size", "start"]
    assert [chart.name for chart in result.omitted] == [
        "batch-scaling",
        "ttft-concurrency",
        "tokens-concurrency",
        "speedup-f32",
        "speedup-default",
        "quality-size",
        "quality",
    ]


@pytest.mark.slow
def test_bars_start_at_zero(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s", batches=(1,))])
    for name in ("size", "start"):
        chart = next(chart for chart in draw_sweep_charts(table).drawn if chart.name == name)
        assert '"zero": true' in json.dumps(chart.spec)


@pytest.mark.slow
def test_rows_without_intervals_are_drawn(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s", batches=(1, 2))])
    for name in table.rows.columns:
        if "_ci_" in name:
            table.rows[name] = float("nan")
    for chart in draw_sweep_charts(table).drawn:
        assert "NaN" not in json.dumps(chart.standalone_spec)
        assert vl_convert.vegalite_to_svg(chart.standalone_spec).startswith("<svg")


@pytest.mark.slow
def test_points_of_a_chart_suffice_to_draw_it(tmp_path):
    models = [
        sweeps.Model(f"v{i:02}", 3, {"default": 2 + i * (1 + i % 3)}, (40, 50))
        for i in range(MAX_CONFIGS + 9)
    ]
    table = load_results([sweeps.whole(tmp_path / "s", models, batches=(1, 4))])
    result = draw_sweep_charts(table, best=len(table.rows) - 1)
    for name in ("latency-throughput", "batch-scaling"):
        (chart,) = (c for c in result.drawn if c.name == name)
        assert len(chart.points) < len(result.points)
        all_points = replace(chart, points=result.points)
        assert svg_of(chart) == svg_of(all_points)


@pytest.mark.slow
def test_charts_of_many_configurations_draw_the_fastest_and_count_all(tmp_path):
    models = [
        sweeps.Model(f"v{i:02}", 3, {"default": 2 + i}, (40, 50)) for i in range(MAX_CONFIGS + 6)
    ]
    table = load_results([sweeps.whole(tmp_path / "s", models, batches=(1,))])
    for chart in draw_sweep_charts(table).drawn:
        if chart.name in ("speedup-default", "quality", "size", "start"):
            assert f"{MAX_CONFIGS} fastest of {MAX_CONFIGS + 6}" in chart.caption
            svg = svg_of(chart)
            assert [m.name in svg for m in models] == [True] * MAX_CONFIGS + [False] * 6, chart.name
