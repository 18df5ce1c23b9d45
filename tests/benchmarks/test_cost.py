"""Time of a sweep compared to ``benchmark_app`` at its default of 60 s; ``make bench`` runs it."""

import contextlib
import time
from collections import Counter

import pytest

from ovtool import api
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from tests.benchmarks.conftest import busy_processes

APP_S = 60
MAX_SHARE = 0.1
"""Budget: a tenth of the time of ``benchmark_app`` for the same trials."""


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("state", ["quiet", "busy"])
def test_sweep_of_24_trials_takes_a_tenth_of_benchmark_app(variants, state, tmp_path):
    spec = SweepSpec(batches=[1, 2, 4, 8], precisions_of={"fp32": ["f32", "default"]})
    chosen = [variants["fp32"], variants["int8"]]
    with busy_processes() if state == "busy" else contextlib.nullcontext():
        started = time.perf_counter()
        done = api.sweep(chosen, out=tmp_path / "sweep", spec=spec)
        elapsed_s = time.perf_counter() - started
    rows = list(SweepFolder(tmp_path / "sweep").measurements())
    widths = sorted(
        50
        * (m.figures["throughput_fps_ci_high"] - m.figures["throughput_fps_ci_low"])
        / m.figures["throughput_fps"]
        for m in rows
    )
    verdicts = ", ".join(f"{n} {v}" for v, n in Counter(m.verdict for m in rows).most_common())
    share = elapsed_s / (done.measured * APP_S)
    print(
        f"cost, {state}: {done.measured} trials in {elapsed_s:.0f} s, {share:.3f} of the time of"
        f" benchmark_app; verdicts: {verdicts};"
        f" half widths {widths[0]:.1f} to {widths[-1]:.1f}%, median {widths[len(widths) // 2]:.1f}"
    )
    assert done.measured == 24
    assert share <= MAX_SHARE
