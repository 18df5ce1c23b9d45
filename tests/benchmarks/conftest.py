"""Shared by the benchmarks: networks, ``benchmark_app``, and busy processes."""

import contextlib
import json
import multiprocessing
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovtool import api
from ovtool.benchmark import jobs
from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.core.trial import Trial
from ovtool.devices import rules
from tests.benchmarks import networks


@pytest.fixture(scope="session")
def variants(tmp_path_factory):
    """EfficientNet-Lite0 and the small networks, uncompressed and in INT8, by name."""
    folder = tmp_path_factory.mktemp("variants")
    variants_by_name = {"fp32": api.convert("sample:efficientnet-lite0", out=folder / "fp32")}
    variants_by_name["int8"] = api.compress(
        variants_by_name["fp32"], "int8", data="sample:photographs", out=folder / "i"
    )
    for make in (networks.tiny, networks.short, networks.memory_bound):
        network = make(folder)
        variants_by_name[network.name] = network
        variants_by_name[f"{network.name}-int8"] = api.compress(
            network, "int8", data="noise:32", out=folder / f"{network.name}-int8"
        )
    return variants_by_name


def job_of(variant, batch=1, **fields):
    trial = Trial(variant.id, variant.name, "CPU", batch, **fields)
    return jobs.build_job(trial, variant, rules.trial_properties(trial))


def measure(group, **settings):
    """Measure jobs as one group, without cached starts."""
    rows = measure_group(
        group, ProcessRunner(), MeasurementSettings(starts=False, **settings), "bench"
    )
    for row in rows:
        assert row.status == "ok", row.reason
    return rows


def benchmark_app(variant, folder, batch=1, hint="latency", precision=None, seconds=3):
    """Return the throughput that ``benchmark_app`` reports, in samples a second."""
    command = [
        Path(sys.executable).with_name("benchmark_app"),
        *("-m", variant.xml, "-d", "CPU", "-hint", hint, "-t", seconds, "-b", batch),
        *("-json_stats", "-report_type", "no_counters", "-report_folder", folder),
        *("-ip", "f32", "-op", "f32"),
        *(("-infer_precision", precision) if precision else ()),
    ]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    report = json.loads((Path(folder) / "benchmark_report.json").read_text())
    return float(report["execution_results"]["throughput"])


def spread(values):
    """Standard deviation divided by the mean."""
    return statistics.stdev(values) / statistics.mean(values)


def _burn(seed, busy_s, idle_s):
    rng = random.Random(seed)
    while True:
        until = time.perf_counter() + (rng.expovariate(1 / busy_s) if busy_s else 3600)
        while time.perf_counter() < until:
            pass
        time.sleep(rng.expovariate(1 / idle_s))


@contextlib.contextmanager
def busy_processes(busy_s=0.15, idle_s=0.1, count=None):
    """Keep every core busy in random bursts; ``busy_s=0`` without pauses."""
    context = multiprocessing.get_context("spawn")
    burning = [
        context.Process(target=_burn, args=(seed, busy_s, idle_s), daemon=True)
        for seed in range(count or multiprocessing.cpu_count())
    ]
    for process in burning:
        process.start()
    time.sleep(1)
    try:
        yield [process.pid for process in burning]
    finally:
        for process in burning:
            process.kill()
            process.join()
