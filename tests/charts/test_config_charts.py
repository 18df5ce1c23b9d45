"""Charts with a line or point for each configuration, of invented points."""

import re
from dataclasses import replace
from typing import get_args

import pytest
import vl_convert

from ovtool.charts import config_charts
from ovtool.charts.drawing import OmittedChart
from ovtool.core.columns import QualityMetric

SPEEDUP = "speedup_f32_x"


def point(row, config="a", batch=1, load="latency", **figures):
    rank = "ab".index(config)
    return {
        "row": row,
        "config": config,
        "order": rank,
        "speed_rank": rank,
        "files": config,
        "color": config,
        "device": "CPU",
        "batch": batch,
        "load": load,
        **figures,
    }


def texts(chart, points):
    """The texts of a drawn chart."""
    spec = replace(chart, points=points).standalone_spec
    return re.findall(r"<text[^>]*>([^<]+)</text>", vl_convert.vegalite_to_svg(spec))


def axis_numbers(chart, points):
    """The numbers at the ticks of the axes of a drawn chart."""
    plain = [text.replace("\u2212", "-").replace(",", "") for text in texts(chart, points)]
    return [float(text) for text in plain if re.fullmatch(r"-?[0-9.]+", text)]


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda data: config_charts.draw_quality(data, None), "quality"),
        (lambda data: config_charts.draw_quality(data, "accuracy_top1"), "quality"),
        (lambda data: config_charts.draw_quality_vs_size(data, None), "quality-size"),
        (lambda data: config_charts.draw_quality_vs_size(data, "accuracy_top1"), "quality-size"),
        (config_charts.draw_size, "size"),
        (config_charts.draw_startup, "start"),
        (lambda data: config_charts.draw_speedup(data, SPEEDUP, "f32"), "speedup-f32"),
    ],
)
def test_chart_without_its_figures_is_omitted(draw, name):
    omitted = draw([point(0, throughput_fps=100.0)])
    assert isinstance(omitted, OmittedChart)
    assert omitted.name == name
    assert omitted.reason


@pytest.mark.parametrize(
    ("figures", "floor"),
    [
        ({"quality": 0.93}, 0.9),
        ({"quality": 0.93, "quality_low": 0.88, "quality_high": 0.96}, 0.85),
        ({"quality": 1.0}, 0.95),
        ({"quality": 0.01}, 0.0),
    ],
)
def test_quality_axis_starts_below_the_lowest_bound(figures, floor):
    scale = config_charts._quality_scale(
        [point(0, quality=0.99), point(1, **figures)], "agreement_top1"
    )
    assert scale.domain == pytest.approx([floor, 1])


def test_an_error_has_no_scale_of_shares():
    scale = config_charts._quality_scale([point(0, quality=12.5)], "mean_absolute_error")
    assert "domain" not in scale.to_dict()


@pytest.mark.slow
def test_quality_is_drawn_once_per_configuration():
    points = [
        point(0, quality=0.912),
        point(1, batch=8, quality=0.912),
        point(2, "b", quality=0.87),
    ]
    shown = texts(config_charts.draw_quality(points, "agreement_top1"), points)
    assert [shown.count(label) for label in ("0.912", "0.870")] == [1, 1]


@pytest.mark.slow
def test_startup_is_the_median_of_each_phase_that_was_measured():
    points = [
        point(i, batch=i + 1, compile_cold_ms=value)
        for i, value in enumerate((111.0, 999.0, 222.0))
    ]
    points.append(point(3, "b", compile_cold_ms=55.5))
    shown = texts(config_charts.draw_startup(points), points)
    assert {"222", "55.5"} <= set(shown)
    assert not {"111", "999"} & set(shown)
    assert not {"compile, cached", "first inference"} & set(shown)


@pytest.mark.slow
def test_speedup_is_of_the_lowest_latency_and_of_the_highest_throughput():
    points = [
        point(0, latency_p50_ms=9.0, throughput_fps=111.0, **{SPEEDUP: 1.11}),
        point(1, batch=4, latency_p50_ms=5.0, throughput_fps=222.0, **{SPEEDUP: 2.22}),
        point(2, batch=8, load="throughput", latency_p50_ms=50.0, throughput_fps=999.0,
              **{SPEEDUP: 3.33}),
    ]  # fmt: skip
    shown = texts(config_charts.draw_speedup(points, SPEEDUP, "f32"), points)
    assert {"1.11x", "3.33x"} <= set(shown), "batch 1 precedes a lower latency of a larger batch"
    assert "2.22x" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("ratios", [(0.4, 2.5), (0.02, 40.0), (1.4, 1.5), (3.0, 3.2)])
def test_speedup_axis_has_no_negative_ratio(ratios):
    points = [
        point(
            row,
            config,
            latency_p50_ms=5.0,
            throughput_fps=100.0,
            **{SPEEDUP: ratio, f"{SPEEDUP}_low": 0.6 * ratio, f"{SPEEDUP}_high": ratio / 0.6},
        )
        for row, (config, ratio) in enumerate(zip("ab", ratios, strict=True))
    ]
    numbers = axis_numbers(config_charts.draw_speedup(points, SPEEDUP, "f32"), points)
    assert len(numbers) > 1
    assert min(numbers) > 0


@pytest.mark.parametrize("column", get_args(QualityMetric))
def test_every_metric_of_quality_is_drawn(column):
    data = [
        point(0, "a", quality=31.4, quality_low=30.0, quality_high=33.0, model_mib=10.0),
        point(1, "b", quality=40.2, quality_low=39.0, quality_high=41.0, model_mib=5.0),
    ]
    chart = config_charts.draw_quality_vs_size(data, column)
    assert not isinstance(chart, OmittedChart)
    if column == "perplexity":
        assert "Down and left" in chart.caption
