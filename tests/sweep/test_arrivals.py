"""Open-loop sweeps and their results."""

import math

import pytest

from ovtool import api
from ovtool.core.sweep_spec import FindRate, SweepSpec
from ovtool.results.table import load_results
from tests.helpers.graphs import convolutional, save

QUICK = {"rounds": 3, "round_s": 0.05, "max_seconds": 1.0, "starts": False}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return save(tmp_path_factory.mktemp("small") / "small", convolutional())


@pytest.mark.slow
def test_rates_and_the_closed_loop_are_separate_rows(small, tmp_path):
    spec = SweepSpec(**QUICK, hints=["latency"], rates=[100.0, "busy"])
    api.sweep([small], out=tmp_path / "s", spec=spec)
    rows = load_results([tmp_path / "s"]).rows.set_index("load")
    assert set(rows.index) == {"latency", "latency rate=100/s"}
    arriving, busy = rows.loc["latency rate=100/s"], rows.loc["latency"]
    assert arriving["rate_rps"] == 100
    assert arriving["throughput_fps"] < busy["throughput_fps"]
    assert math.isnan(busy["rate_rps"])
    assert math.isnan(arriving["speedup_default_x"])  # the rate limits the throughput
    assert busy["speedup_default_x"] == 1


@pytest.mark.slow
def test_the_search_brackets_the_highest_rate(small, tmp_path):
    limit = FindRate(max_latency_ms=50.0, percentile=90)
    spec = SweepSpec(**QUICK, hints=["latency"], find_rate=limit)
    api.sweep([small], out=tmp_path / "s", spec=spec)
    (row,) = load_results([tmp_path / "s"]).rows.to_dict("records")
    assert row["status"] == "ok", row["reason"]
    assert row["load"] == "latency p90<=50ms"
    assert 0 < row["rate_rps"] == row["rate_rps_ci_low"] < row["rate_rps_ci_high"]
