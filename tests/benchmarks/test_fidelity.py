"""Throughput beside OpenVINO's own ``benchmark_app``, in the same minutes, set alike.

``make bench`` runs it.  Both measure the same IR in turn, so what drifts falls on both; the figures
are ratios.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovtool import api
from ovtool.devices import rules
from ovtool.measure import jobs
from ovtool.measure.engine import Settings, measure_group
from ovtool.measure.process import ProcessRunner
from ovtool.trial import Trial

if TYPE_CHECKING:
    from ovtool.variant import Variant

PAIRS = 5
SECONDS = 3


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Variant:
    return api.convert("sample:efficientnet-lite0", out=tmp_path_factory.mktemp("v") / "fp32")


def _benchmark_app(network: Variant, trial: Trial, folder: Path) -> float:
    command = [
        Path(sys.executable).with_name("benchmark_app"),
        *("-m", network.xml, "-d", trial.device, "-hint", trial.hint, "-t", SECONDS),
        *("-b", trial.batch, "-infer_precision", trial.precision, "-ip", "f32", "-op", "f32"),
        *("-json_stats", "-report_type", "no_counters", "-report_folder", folder),
    ]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    found = json.loads((folder / "benchmark_report.json").read_text())
    return float(found["execution_results"]["throughput"])


def _ours(network: Variant, trial: Trial) -> float:
    job = jobs.job(trial, network, rules.properties(trial))
    settings = Settings(target_pct=0.01, max_s=SECONDS)
    (measured,) = measure_group([job], ProcessRunner(), settings, "bench")
    assert measured.status == "ok", measured.reason
    return measured.figures["throughput_fps"]


@pytest.mark.benchmark
@pytest.mark.parametrize("hint", ["latency", "throughput"])
@pytest.mark.parametrize("batch", [1, 8])
def test_throughput_is_that_of_benchmark_app(network, hint, batch, tmp_path):
    trial = Trial(network.id, network.name, "CPU", batch, hint=hint, precision="f32")
    ratios = []
    for _ in range(PAIRS):
        theirs = _benchmark_app(network, trial, tmp_path)
        ours = _ours(network, trial)
        ratios.append(ours / theirs)
        print(f"{trial.label}: ours {ours:.1f}, benchmark_app {theirs:.1f}, {ours / theirs:.3f}")
    median, spread = statistics.median(ratios), statistics.stdev(ratios) / statistics.mean(ratios)
    print(f"{trial.label}: median ratio {median:.3f}, spread {spread:.1%} over {PAIRS} pairs")
    assert 0.9 < median < 1.1
