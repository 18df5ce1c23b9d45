"""Requests that arrive on their own, through a real sweep and its report."""

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
def test_rates_are_rows_of_their_own_beside_the_busy_one(small, tmp_path):
    spec = SweepSpec(**QUICK, hints=["latency"], rates=[100.0, "busy"])
    api.sweep([small], out=tmp_path / "s", spec=spec)
    rows = load_results([tmp_path / "s"]).rows.set_index("load")
    assert set(rows.index) == {"latency", "latency rate=100/s"}
    arriving, busy = rows.loc["latency rate=100/s"], rows.loc["latency"]
    assert arriving["rate_rps"] == 100
    assert arriving["throughput_fps"] < busy["throughput_fps"]
    assert math.isnan(busy["rate_rps"])
    assert math.isnan(arriving["speedup_default_x"]), "its throughput is not the model's doing"
    assert busy["speedup_default_x"] == 1


@pytest.mark.slow
def test_the_highest_rate_is_found_between_none_and_what_the_device_takes(small, tmp_path):
    limit = FindRate(max_latency_ms=50.0, percentile=90)
    spec = SweepSpec(**QUICK, hints=["latency"], find_rate=limit)
    api.sweep([small], out=tmp_path / "s", spec=spec)
    (row,) = load_results([tmp_path / "s"]).rows.to_dict("records")
    assert row["status"] == "ok", row["reason"]
    assert row["load"] == "latency p90<=50ms"
    assert 0 < row["rate_rps"] == row["rate_rps_ci_low"] < row["rate_rps_ci_high"]
