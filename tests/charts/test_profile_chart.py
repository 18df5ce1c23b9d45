"""The chart of a profile: what it shows of whatever names and numbers of layers there are."""

import re

import pytest
import vl_convert

from ovtool.charts import theme
from ovtool.charts.profile_chart import TOP, time_by_layer
from ovtool.charts.render import write_charts


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


def colours(chart):
    return chart.spec["layer"][0]["encoding"]["color"]


def test_a_precision_has_one_colour_in_every_profile():
    few, other = colours(time_by_layer(rows(4), "")), colours(time_by_layer(rows(4, ["bf16"]), ""))
    assert few["scale"]["domain"] == other["scale"]["domain"] == ["i8", "bf16", "f16", "f32"]
    assert few["legend"]["values"] == ["i8", "f32"]
    assert other["legend"]["values"] == ["bf16"]
    strange = colours(time_by_layer(rows(2, [None, "i4"]), ""))
    assert strange["scale"]["domain"][4:] == ["i4", "unknown"]


def test_layers_without_a_bar_are_counted_in_the_caption():
    assert time_by_layer(rows(TOP), "All.").caption == "All."
    chart = time_by_layer(rows(TOP + 2), "Most.")
    assert chart.caption.startswith("Most. The 2 layers that are not shown take 3.00 ms together")
    assert f"{TOP}. Conv" in str(chart.spec)
    assert f"{TOP + 1}. Conv" not in str(chart.spec)


@pytest.mark.parametrize("count", [0, 1, 3, TOP + 5])
def test_it_can_be_drawn_and_written(tmp_path, count):
    svg, png = write_charts([time_by_layer(rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["time-by-layer.svg", "time-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "Time by layer" in svg.read_text(encoding="utf-8")


def test_names_are_cut_by_us_and_not_by_the_axis():
    chart = time_by_layer(rows(3), "")
    svg = vl_convert.vegalite_to_svg(chart.spec | {"config": theme.static()})
    labels = re.findall(r">([^<]*Convolution block[^<]*)</text>", svg)
    assert len(labels) == 3
    assert all(label.count("…") == 1 for label in labels)
    assert all(label[-1].isdigit() for label in labels), "the end of the name is there"
