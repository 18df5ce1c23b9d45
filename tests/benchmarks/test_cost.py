"""What a sweep costs beside ``benchmark_app`` at its default of 60 s; ``make bench`` runs it."""

import contextlib
import time
from collections import Counter

import pytest

from ovtool import api
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from tests.benchmarks.conftest import neighbours

APP_S = 60


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("state", ["quiet", "busy"])
def test_24_trials(variants, state, tmp_path):
    spec = SweepSpec(batches=[1, 2, 4, 8], precisions_of={"fp32": ["f32", "default"]})
    chosen = [variants["fp32"], variants["int8"]]
    with neighbours() if state == "busy" else contextlib.nullcontext():
        started = time.perf_counter()
        done = api.sweep(chosen, out=tmp_path / "sweep", spec=spec)
        taken_s = time.perf_counter() - started
    rows = list(SweepFolder(tmp_path / "sweep").measurements())
    widths = sorted(
        50
        * (m.figures["throughput_fps_ci_high"] - m.figures["throughput_fps_ci_low"])
        / m.figures["throughput_fps"]
        for m in rows
    )
    verdicts = ", ".join(f"{n} {v}" for v, n in Counter(m.verdict for m in rows).most_common())
    share = taken_s / (done.measured * APP_S)
    print(
        f"cost, {state}: {done.measured} trials in {taken_s:.0f} s, {share:.3f} of benchmark_app's"
        f" default; verdicts: {verdicts};"
        f" half widths {widths[0]:.1f} to {widths[-1]:.1f} %, median {widths[len(widths) // 2]:.1f}"
    )
    assert done.measured == 24
