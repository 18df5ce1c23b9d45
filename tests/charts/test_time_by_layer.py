"""The chart of a profile with any names and any number of layers."""

import re

import pytest
import vl_convert

from ovtool.charts import theme
from ovtool.charts.drawing import MAX_LAYERS
from ovtool.charts.render import write_charts
from ovtool.charts.time_by_layer import draw_time_by_layer


def rows(count, precisions=("i8", "f32")):
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
    mixed = color_of(draw_time_by_layer(rows(4), ""))
    other = color_of(draw_time_by_layer(rows(4, ["bf16"]), ""))
    assert mixed["scale"]["domain"] == other["scale"]["domain"] == ["i8", "bf16", "f16", "f32"]
    assert mixed["legend"]["values"] == ["i8", "f32"]
    assert other["legend"]["values"] == ["bf16"]
    unknown = color_of(draw_time_by_layer(rows(2, [None, "i4"]), ""))
    assert unknown["scale"]["domain"][4:] == ["i4", "unknown"]


def test_caption_counts_the_layers_without_a_bar():
    assert draw_time_by_layer(rows(MAX_LAYERS), "All.").caption == "All."
    chart = draw_time_by_layer(rows(MAX_LAYERS + 2), "Most.")
    assert chart.caption.startswith("Most. ")
    assert "2 layers" in chart.caption
    assert "3.00 ms" in chart.caption
    assert f"{MAX_LAYERS}. Conv" in str(chart.spec)
    assert f"{MAX_LAYERS + 1}. Conv" not in str(chart.spec)


@pytest.mark.parametrize("count", [0, 1, 3, MAX_LAYERS + 5])
def test_chart_is_drawn_with_any_number_of_layers(tmp_path, count):
    svg, png = write_charts([draw_time_by_layer(rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["time-by-layer.svg", "time-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ">caption" in svg.read_text(encoding="utf-8")


def test_long_names_are_shortened_in_the_middle():
    chart = draw_time_by_layer(rows(3), "")
    svg = vl_convert.vegalite_to_svg(chart.spec | {"config": theme.file_config()})
    labels = re.findall(r">([^<]*Convolution block[^<]*)</text>", svg)
    assert len(labels) == 3
    assert all(label.count("…") == 1 for label in labels)
    assert all(label[-1].isdigit() for label in labels), "the end of the name is there"
