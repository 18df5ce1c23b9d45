"""``ovtool sweep``."""

import pandas as pd
import pytest

from ovtool.core.columns import COLUMNS
from ovtool.core.sweep_folder import RESULTS


@pytest.mark.slow
def test_the_same_command_resumes_a_sweep(ovtool, small, tmp_path):
    arguments = ("--hint", "latency", "--rounds", "3", "--max-seconds", "0.3")
    out = tmp_path / "s"
    ran = ovtool("sweep", small.folder, *arguments, "--device", "CPU,NPU", "--out", out, "--json")
    unavailable = set(ran.document["unavailable"])
    assert unavailable <= {"NPU"}
    assert all(device in ran.err for device in unavailable)
    assert ran.document["folder"] == str(out)
    assert ran.document["measured"] + ran.document["failed"] >= 1
    assert "1/1 small CPU batch 1 latency: p50 " in ran.err
    again = ovtool("sweep", small.folder, *arguments, "--out", out)
    assert "small" in again.out
    assert f"ovtool report {out}" in again.err
    document = ovtool("sweep", small.folder, *arguments, "--out", out, "--json").document
    assert (document["measured"], document["reused"]) == (0, 1)
    (row,) = document["rows"]
    stored = pd.read_parquet(out / RESULTS).iloc[0]
    assert set(row) == {name for column in COLUMNS for name in column.names}
    assert (row["variant"], row["batch"]) == ("small", 1)
    assert row["throughput_fps"] == stored["throughput_fps"]
