"""Repeatability of the INT8 speed-up on a quiet and a busy machine, compared to ``benchmark_app``.

``make bench`` runs it.  Quiet and busy sweeps alternate, since the speed of the machine drifts.
"""

import contextlib
import statistics

import pytest

from ovtool.results.speedup import compute_speedup
from tests.benchmarks.conftest import benchmark_app, busy_processes, job_of, measure, spread

SWEEPS = 8
MAX_SPREAD, MAX_SHIFT = 0.05, 0.1
"""Budgets of the busy speed-ups: standard deviation / mean, and shift of the mean from the quiet
ones.  On a quiet host, the targets are 0.015; shared machines need the margin."""
CASES = {
    "EfficientNet-Lite0, batch 1, throughput": ("fp32", "int8", 1, "throughput"),
    "EfficientNet-Lite0, batch 1, latency": ("fp32", "int8", 1, "latency"),
    "EfficientNet-Lite0, batch 8, throughput": ("fp32", "int8", 8, "throughput"),
    "about 100 us, throughput": ("short", "short-int8", 1, "throughput"),
    "memory bound, throughput": ("memory", "memory-int8", 1, "throughput"),
}


def ours(fp, int8, load):
    base, row = measure([job_of(fp, **load), job_of(int8, **load)])
    speed_up = compute_speedup(row, base)
    seconds = sum(r.seconds for m in (base, row) for r in m.rounds)
    return speed_up, seconds / 2


def theirs(fp, int8, load, folder, seconds):
    rates = [benchmark_app(v, folder, seconds=max(1, round(seconds)), **load) for v in (fp, int8)]
    return rates[1] / rates[0]


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_speed_up_on_a_busy_machine_agrees_with_a_quiet_one(variants, case, tmp_path):
    fp, int8, batch, hint = CASES[case]
    fp, int8, load = variants[fp], variants[int8], {"batch": batch, "hint": hint}
    ratios = {(who, state): [] for who in ("ours", "theirs") for state in ("quiet", "busy")}
    inside, methods = 0, set()
    for _ in range(SWEEPS):
        for state in ("quiet", "busy"):
            with busy_processes() if state == "busy" else contextlib.nullcontext():
                speed_up, seconds = ours(fp, int8, load)
                ratios["ours", state].append(speed_up.ratio.value)
                ratios["theirs", state].append(theirs(fp, int8, load, tmp_path, seconds))
            if state == "busy":
                methods.add(speed_up.method)
                inside += (
                    speed_up.ratio.low
                    <= statistics.mean(ratios["ours", "quiet"])
                    <= speed_up.ratio.high
                )
    for who in ("ours", "theirs"):
        quiet, busy = ratios[who, "quiet"], ratios[who, "busy"]
        shift = statistics.mean(busy) / statistics.mean(quiet) - 1
        print(
            f"repeatability {case}, {who}: quiet {statistics.mean(quiet):.3f} (sd/mean"
            f" {spread(quiet):.1%}), busy {statistics.mean(busy):.3f} ({spread(busy):.1%}),"
            f" busy/quiet {shift:+.1%}"
        )
    print(f"  by {', '.join(sorted(methods))}; {inside} of {SWEEPS} busy intervals hold the quiet")
    ours_quiet, ours_busy = ratios["ours", "quiet"], ratios["ours", "busy"]
    assert spread(ours_busy) < max(MAX_SPREAD, spread(ratios["theirs", "busy"]))
    assert abs(statistics.mean(ours_busy) / statistics.mean(ours_quiet) - 1) < MAX_SHIFT
