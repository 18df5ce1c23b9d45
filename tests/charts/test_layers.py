"""Charts of layers, with any names and any number of layers."""

import re

import pytest
import vl_convert

from ovtool.charts import theme
from ovtool.charts.drawing import MAX_LAYERS
from ovtool.charts.layers import draw_noise_by_layer, draw_roofline, draw_time_by_layer
from ovtool.charts.render import write_charts

pytestmark = pytest.mark.usefixtures("local_renderer")

ROOFLINE_ROWS = [
    {"name": "conv", "type": "Convolution", "precision": "f32", "time_ms": 1.0,
     "gflops_per_s": 100.0, "intensity": 50.0, "bound": "compute"},
    {"name": "fc", "type": "FullyConnected", "precision": "i8", "time_ms": 0.1,
     "gflops_per_s": 8.0, "intensity": 0.5, "bound": "memory"},
    {"name": "pool", "type": "Pooling", "precision": "f32", "time_ms": 0.2,
     "gflops_per_s": None, "intensity": None, "bound": "memory"},
]  # fmt: skip
PEAKS = {"f32": 200.0, "bf16": 400.0, "i8": 800.0}
BANDWIDTHS = {"memory": 20.0, "cache": 80.0}


def values(chart, layer):
    return chart.spec["datasets"][chart.spec["layer"][layer]["data"]["name"]]


def test_roofline_caption_counts_the_layers_without_operations():
    chart = draw_roofline(ROOFLINE_ROWS, PEAKS, BANDWIDTHS, "A run.")
    points = values(chart, 2)
    assert [(p["x"], p["y"], p["bound"]) for p in points] == [
        (50.0, 100.0, "compute"), (0.5, 8.0, "memory"),
    ]  # fmt: skip
    assert chart.caption.startswith("A run. ")
    assert "1 of 3 layers" in chart.caption
    scales = [chart.spec["layer"][2]["encoding"][axis]["scale"] for axis in "xy"]
    assert [scale["type"] for scale in scales] == ["log", "log"]


def test_roofs_are_those_of_the_executed_precisions():
    lines = values(draw_roofline(ROOFLINE_ROWS, PEAKS, BANDWIDTHS, ""), 0)
    assert {line["roof"] for line in lines} == {"memory", "cache", "f32", "i8"}
    slopes = [line for line in lines if line["roof"] == "memory"]
    assert all(abs(line["y"] / line["x"] - 20.0) < 1e-9 for line in slopes)
    assert max(line["y"] for line in slopes) == 800.0
    level = [line["y"] for line in lines if line["roof"] == "f32"]
    assert level == [200.0, 200.0]


def test_roofline_axes_contain_all_corners():
    chart = draw_roofline(ROOFLINE_ROWS, PEAKS, BANDWIDTHS, "")
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low <= 0.5
    assert high >= 800.0 / 20.0


def test_roofline_without_points_has_layers():
    assert draw_roofline([ROOFLINE_ROWS[2]], {}, {}, "").spec["layer"]


def time_rows(count, precisions=("i8", "f32")):
    return [
        {
            "name": f"Multiply_{i}",
            "label": f"{'block/' * 20}{i}",
            "type": "Convolution",
            "precision": precisions[i % len(precisions)],
            "time_ms": float(count - i),
            "share_pct": 100 / count,
        }
        for i in range(count)
    ]


def color_of(chart):
    return chart.spec["layer"][0]["encoding"]["color"]


def test_precision_has_the_same_color_in_every_profile():
    mixed = color_of(draw_time_by_layer(time_rows(4), ""))
    other = color_of(draw_time_by_layer(time_rows(4, ["bf16"]), ""))
    assert mixed["scale"]["domain"] == other["scale"]["domain"] == ["i8", "bf16", "f16", "f32"]
    assert mixed["legend"]["values"] == ["i8", "f32"]
    assert other["legend"]["values"] == ["bf16"]
    unknown = color_of(draw_time_by_layer(time_rows(2, [None, "i4"]), ""))
    assert unknown["scale"]["domain"][4:] == ["i4", "unknown"]


def test_time_caption_counts_the_layers_without_a_bar():
    assert draw_time_by_layer(time_rows(MAX_LAYERS), "All.").caption == "All."
    chart = draw_time_by_layer(time_rows(MAX_LAYERS + 2), "Most.")
    assert chart.caption.startswith("Most. ")
    assert "2 layers" in chart.caption
    assert "3.00 ms" in chart.caption
    assert f"{MAX_LAYERS}. Conv" in str(chart.spec)
    assert f"{MAX_LAYERS + 1}. Conv" not in str(chart.spec)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 3, MAX_LAYERS + 5])
def test_time_is_drawn_with_any_number_of_layers(tmp_path, count):
    svg, png = write_charts([draw_time_by_layer(time_rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["time-by-layer.svg", "time-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ">caption" in svg.read_text(encoding="utf-8")


def test_long_names_are_shortened_in_the_middle():
    chart = draw_time_by_layer(time_rows(3), "")
    svg = vl_convert.vegalite_to_svg(chart.spec | {"config": theme.file_config()})
    labels = re.findall(r">([^<]*Convolution block[^<]*)</text>", svg)
    assert len(labels) == 3
    assert all(label.count("…") == 1 for label in labels)
    assert all(label[-1].isdigit() for label in labels), "the end of the name is there"


def noise_rows(count, **fields):
    return [
        {
            "name": f"{'block/' * 20}{i}",
            "type": "Convolution",
            "sqnr_db": 10.0 + i,
            "macs_share": 1 / count,
            "metric_drop": None,
            **fields,
        }
        for i in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 3, MAX_LAYERS + 5])
def test_noise_is_drawn_with_any_number_of_layers(tmp_path, count):
    svg, png = write_charts([draw_noise_by_layer(noise_rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["noise-by-layer.svg", "noise-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ">caption" in svg.read_text(encoding="utf-8")


def test_noise_caption_counts_the_layers_without_a_point():
    assert draw_noise_by_layer(noise_rows(MAX_LAYERS), "All.").caption == "All."
    chart = draw_noise_by_layer(noise_rows(MAX_LAYERS + 2) + noise_rows(1, sqnr_db=None), "Most.")
    assert chart.caption.startswith("Most. ")
    assert re.findall(r"\d+", chart.caption) == ["2", "1"]
    assert f"{MAX_LAYERS}. Conv" in str(chart.spec)
    assert f"{MAX_LAYERS + 1}. Conv" not in str(chart.spec)


def test_label_has_the_known_figures_of_a_layer():
    assert "10.0 dB, 50.0% of MACs, drop 0.1250" in str(
        draw_noise_by_layer(noise_rows(2, metric_drop=0.125), "").spec
    )
    assert "'10.0 dB'" in str(draw_noise_by_layer(noise_rows(1, macs_share=None), "").spec)


def test_a_name_with_a_separator_of_lines_is_drawn(tmp_path):
    """U+2028 ends a line of JavaScript, also inside the quotes of an expression of Vega."""
    rows = [row | {"name": "y\u2028z", "label": "y\u2028z"} for row in time_rows(1)]
    svg, _ = write_charts([draw_time_by_layer(rows, "caption")], tmp_path)
    assert r"y\u2028z" in svg.read_text()
