"""``compare`` detects a removed thread, and no difference between reruns; ``make bench`` runs it.

On a busy machine a removed thread may be unknown, never no change.  The sweeps of both kinds
alternate, since the speed of the machine drifts.
"""

import contextlib
import math
import os
import statistics

import psutil
import pytest

from ovtool import api
from ovtool.comparison.compare import compare
from ovtool.comparison.noise import FACTORS
from ovtool.core.sweep_spec import SweepSpec
from tests.benchmarks import networks
from tests.benchmarks.conftest import busy_processes

TRIES = 20
SPEC = SweepSpec(batches=[1, 4], starts=False, rounds=6, round_s=0.15, max_seconds=2)


@contextlib.contextmanager
def one_processor():
    """Limit the process, and so OpenVINO's threads, to one processor."""
    usable = psutil.Process().cpu_affinity()
    psutil.Process().cpu_affinity(usable[:1])
    try:
        yield
    finally:
        psutil.Process().cpu_affinity(usable)


def swept(variant, out):
    return api.sweep([variant], out=out, spec=SPEC).folder


def collect_changes(comparison, logs):
    for change in comparison.changes:
        if change.ratio.known:
            logs.setdefault(change.column, []).append(math.log(change.ratio.value))


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
@pytest.mark.skipif(
    not hasattr(psutil.Process, "cpu_affinity"), reason="this system has no affinity"
)
@pytest.mark.parametrize("state", ["quiet", "busy"])
def test_removed_thread_is_detected_and_reruns_are_not(state, tmp_path):
    variant = networks.short(tmp_path)
    false, missed, least, between = [], [], [], {}
    with busy_processes() if state == "busy" else contextlib.nullcontext():
        before = swept(variant, tmp_path / "run0")
        for index in range(1, TRIES + 1):
            again = swept(variant, tmp_path / f"run{index}")
            comparison = compare(before, again)
            collect_changes(comparison, between)
            false += [f"try {index}: {r}" for r in comparison.regressions(0)]
            with one_processor():
                slower = swept(variant, tmp_path / f"slow{index}")
            lost = compare(again, slower)
            rates = [c for c in lost.changes if c.column.startswith("throughput")]
            least.append(
                max(c.loss_pct for c in rates if c.outcome == "worse")
                if any(c.outcome == "worse" for c in rates)
                else math.nan
            )
            undecided = state == "busy" and lost.undecided(5)
            if not (lost.regressions(5) or undecided) or any(c.outcome == "same" for c in rates):
                missed.append(index)
            before = again
    seen = [loss for loss in least if not math.isnan(loss)]
    losses = f" (greatest loss seen {min(seen):.0f} to {max(seen):.0f}%)" if seen else ""
    print(
        f"compare, {state}: {TRIES} reruns, {len(false)} false regressions {false};"
        f" a removed thread detected in {len(seen)} of {TRIES}{losses}, missed in {len(missed)}"
    )
    for column, logs in between.items():
        # A difference of two runs varies by sqrt(2) times what one run does.
        sd = 100 * math.sqrt(statistics.fmean(x * x for x in logs) / 2)
        worst = 100 * math.expm1(max(map(abs, logs)))
        print(
            f"  {column}: between runs {sd:.2f}% (allowed: {comparison.noise.allowance_pct:g}%"
            f" x {FACTORS[column]:g}), greatest change {worst:.1f}%, {len(logs)} changes"
        )
    assert not false
    assert not missed
