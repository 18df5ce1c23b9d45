"""The variation between runs."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.noise import RepeatedFigure, measure_noise
from tests.helpers.compared_sweeps import noisy


@pytest.mark.slow
def test_reruns_measure_the_noise_and_detect_smaller_losses(base):
    rng = random.Random(2)
    again = [noisy(base, rng, 0.004) for _ in range(3)]
    slower = noisy(base, rng, 0.004, 0.95)
    hidden = compare_sweeps(base, slower)
    assert not hidden.regressions(3)
    comparison = compare_sweeps(base, slower, reruns=again)
    rates = [c for c in comparison.changes if c.column == "throughput_fps"]
    assert {c.outcome for c in rates} == {"worse"}
    assert comparison.detectable_pct < hidden.detectable_pct / 2
    assert comparison.noise.reruns == 3
    assert "3 reruns" in comparison.noise.text
    wrong = sum(
        any(
            c.outcome == "worse"
            for c in compare_sweeps(base, noisy(base, rng, 0.004), reruns=again).changes
        )
        for _ in range(60)
    )
    assert wrong <= 3


@given(st.floats(0.001, 0.2), st.integers(2, 6), st.integers(0, 1000))
def test_measured_noise_is_the_spread_of_the_runs(sd, runs, seed):
    rng = random.Random(seed)
    repeated = [
        RepeatedFigure(
            "CPU", "throughput_fps", f"moment {i}", tuple(rng.gauss(5, sd) for _ in range(runs))
        )
        for i in range(200)
    ]
    (spread,) = measure_noise(repeated).values()
    assert spread.degrees == 200 * (runs - 1)
    assert spread.sd == pytest.approx(sd, rel=0.3)


def test_trials_of_a_group_are_not_independent():
    logs = (1.0, 1.1)
    together = [RepeatedFigure("CPU", "throughput_fps", "one", logs)] * 10
    (spread,) = measure_noise(together).values()
    assert spread.degrees == 1
