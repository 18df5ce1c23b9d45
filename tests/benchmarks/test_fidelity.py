"""Throughput compared to ``benchmark_app`` with the same settings; ``make bench`` runs it.

Both measure the same IR in alternation, so drift affects both, and the figures are ratios.  Short
pairs have the least drift.  Pairs with several requests in flight are longer, since
``benchmark_app`` includes the time in which the last requests end and processors are idle.
"""

import statistics

import pytest

from ovtool.core.statistics import ratio_by_round
from tests.benchmarks.conftest import benchmark_app, job_of, measure, spread

PAIRS = 15
SECONDS = {"latency": 1, "throughput": 3}


def pairs(variant, folder, **load):
    ratios, seconds = [], SECONDS[load["hint"]]
    for index in range(PAIRS):
        both = {}
        for who in ("ours", "theirs") if index % 2 else ("theirs", "ours"):
            if who == "ours":
                (row,) = measure([job_of(variant, **load)], target_pct=0.01, max_seconds=seconds)
                both[who] = row.figures["throughput_fps"]
            else:
                both[who] = benchmark_app(variant, folder, seconds=seconds, **load)
        ratios.append(both["ours"] / both["theirs"])
    return ratios


def report_ratios(name, ratios):
    median, mean = statistics.median(ratios), ratio_by_round(ratios, [1.0] * len(ratios))
    listed = " ".join(f"{r:.3f}" for r in ratios)
    print(
        f"fidelity {name}: median {median:.3f}, mean {mean.value:.3f} [{mean.low:.3f},"
        f" {mean.high:.3f}], sd/mean {spread(ratios):.1%} ({listed})"
    )
    return median


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("hint", ["latency", "throughput"])
@pytest.mark.parametrize(("name", "precision"), [("fp32", "f32"), ("int8", "f32")])
def test_throughput_is_that_of_benchmark_app(variants, name, precision, hint, batch, tmp_path):
    load = {"batch": batch, "hint": hint, "precision": precision}
    median = report_ratios(f"{name} {hint} batch {batch}", pairs(variants[name], tmp_path, **load))
    assert 0.9 < median < 1.1


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_measuring_does_not_slow_down_a_tiny_network(variants, hint, tmp_path):
    load = {"hint": hint, "precision": "f32"}
    assert report_ratios(f"tiny {hint}", pairs(variants["tiny"], tmp_path, **load)) >= 0.95
