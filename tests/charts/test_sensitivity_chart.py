"""The chart of the layers' noise, of whatever names and numbers of layers there are."""

import pytest

from ovtool.charts.render import write_charts
from ovtool.charts.sensitivity_chart import TOP, noise_by_layer


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


@pytest.mark.parametrize("count", [0, 1, 3, TOP + 5])
def test_it_can_be_drawn_and_written(tmp_path, count):
    svg, png = write_charts([noise_by_layer(rows(count), "caption")], tmp_path)
    assert [svg.name, png.name] == ["noise-by-layer.svg", "noise-by-layer.png"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "Quantization noise by layer" in svg.read_text(encoding="utf-8")


def test_layers_without_a_point_are_counted_in_the_caption():
    assert noise_by_layer(rows(TOP), "All.").caption == "All."
    chart = noise_by_layer(rows(TOP + 2) + rows(1, sqnr_db=None), "Most.")
    assert "The 2 least sensitive layers are not shown." in chart.caption
    assert "1 without noise" in chart.caption
    assert f"{TOP}. Conv" in str(chart.spec)
    assert f"{TOP + 1}. Conv" not in str(chart.spec)


def test_what_is_known_of_a_layer_is_in_its_label():
    assert "10.0 dB, 50.0 % of MACs, drop 0.1250" in str(
        noise_by_layer(rows(2, metric_drop=0.125), "").spec
    )
    assert "'10.0 dB'" in str(noise_by_layer(rows(1, macs_share=None), "").spec)
