"""The chart of quantization noise with any names and any number of layers."""

import re

import pytest

from ovtool.charts.drawing import MAX_LAYERS
from ovtool.charts.noise_by_layer import draw_noise_by_layer
from ovtool.charts.render import write_charts


def rows(count, **fields):
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


@pytest.mark.parametrize("count", [0, 1, 3, MAX_LAYERS + 5])
def test_chart_is_drawn_with_any_number_of_layers(tmp_path, count):
    svg, png = write_charts([draw_noise_by_layer(rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["noise-by-layer.svg", "noise-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ">caption" in svg.read_text(encoding="utf-8")


def test_caption_counts_the_layers_without_a_point():
    assert draw_noise_by_layer(rows(MAX_LAYERS), "All.").caption == "All."
    chart = draw_noise_by_layer(rows(MAX_LAYERS + 2) + rows(1, sqnr_db=None), "Most.")
    assert chart.caption.startswith("Most. ")
    assert re.findall(r"\d+", chart.caption) == ["2", "1"]
    assert f"{MAX_LAYERS}. Conv" in str(chart.spec)
    assert f"{MAX_LAYERS + 1}. Conv" not in str(chart.spec)


def test_label_has_the_known_figures_of_a_layer():
    assert "10.0 dB, 50.0 % of MACs, drop 0.1250" in str(
        draw_noise_by_layer(rows(2, metric_drop=0.125), "").spec
    )
    assert "'10.0 dB'" in str(draw_noise_by_layer(rows(1, macs_share=None), "").spec)
