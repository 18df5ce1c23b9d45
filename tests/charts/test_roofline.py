"""The data of the roofline."""

from ovtool.charts.roofline import draw_roofline

ROWS = [
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


def test_caption_counts_the_layers_without_operations():
    chart = draw_roofline(ROWS, PEAKS, BANDWIDTHS, "A run.")
    points = values(chart, 2)
    assert [(p["x"], p["y"], p["bound"]) for p in points] == [
        (50.0, 100.0, "compute"), (0.5, 8.0, "memory"),
    ]  # fmt: skip
    assert chart.caption.startswith("A run. ")
    assert "1 of 3 layers" in chart.caption
    scales = [chart.spec["layer"][2]["encoding"][axis]["scale"] for axis in "xy"]
    assert [scale["type"] for scale in scales] == ["log", "log"]


def test_roofs_are_those_of_the_executed_precisions():
    lines = values(draw_roofline(ROWS, PEAKS, BANDWIDTHS, ""), 0)
    assert {line["roof"] for line in lines} == {"memory", "cache", "f32", "i8"}
    slopes = [line for line in lines if line["roof"] == "memory"]
    assert all(abs(line["y"] / line["x"] - 20.0) < 1e-9 for line in slopes)
    assert max(line["y"] for line in slopes) == 800.0
    level = [line["y"] for line in lines if line["roof"] == "f32"]
    assert level == [200.0, 200.0]


def test_axes_contain_all_corners():
    chart = draw_roofline(ROWS, PEAKS, BANDWIDTHS, "")
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low <= 0.5
    assert high >= 800.0 / 20.0


def test_chart_without_points_has_layers():
    assert draw_roofline([ROWS[2]], {}, {}, "").spec["layer"]
