"""Whether 95 % intervals hold the truth as often as they say, on scripted noise."""

import numpy as np
import pytest

from ovtool.core import statistics

ROUNDS, WINDOWS = 10, 4


def white(rng, n):
    return rng.normal(0, 0.05, n)


def by_round(rng, n):
    """Windows of one round have much in common."""
    return np.repeat(rng.normal(0, 0.04, n // WINDOWS), WINDOWS) + rng.normal(0, 0.02, n)


def autoregressive(rng, n):
    """Each window resembles the one before; between rounds others are measured."""
    series = np.zeros(2 * n)
    for i, shock in enumerate(rng.normal(0, 0.03, 2 * n)):
        series[i] = 0.7 * series[i - 1] + shock
    return series.reshape(-1, 2 * WINDOWS)[:, :WINDOWS].ravel()


def bursts(rng, n):
    """Mostly undisturbed; now and then a window loses up to a quarter."""
    return rng.normal(0, 0.02, n) - 0.25 * rng.random(n) * (rng.random(n) < 0.15)


NOISES = {"white": white, "by round": by_round, "autoregressive": autoregressive, "bursts": bursts}
TIMES = 400


def coverage(noise, interval, truth):
    rng = np.random.default_rng(7)
    blocks = np.repeat(np.arange(ROUNDS), WINDOWS)
    intervals = [interval(1 + noise(rng, ROUNDS * WINDOWS), blocks) for _ in range(TIMES)]
    return sum(i.low <= truth <= i.high for i in intervals) / TIMES


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_intervals_of_a_rate_hold_the_truth_as_often_as_they_say(noise):
    truth = 1 + noise(np.random.default_rng(0), 400_000).mean()

    def interval(values, blocks):
        return statistics.bootstrap_rate(values, np.ones(len(values)), blocks, resamples=300)

    assert 0.90 <= coverage(noise, interval, truth) <= 0.99


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_intervals_of_a_median_hold_the_truth_as_often_as_they_say(noise):
    truth = float(np.median(1 + noise(np.random.default_rng(0), 400_000)))

    def interval(values, blocks):
        windows = [[v] for v in values]
        return statistics.bootstrap_quantile(windows, 0.5, blocks, resamples=200)

    assert 0.90 <= coverage(noise, interval, truth) <= 0.995


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_intervals_of_a_ratio_hold_the_truth_though_both_drift(noise):
    """Two variants measured in the same rounds of a machine whose speed wanders."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(TIMES):
        drift = np.exp(np.cumsum(rng.normal(0, 0.05, ROUNDS)))
        a, b = (drift * (1 + noise(rng, ROUNDS * WINDOWS)[::WINDOWS]) for _ in range(2))
        interval = statistics.ratio_by_round(1.5 * a, b)
        hits += interval.low <= 1.5 <= interval.high
    assert 0.90 <= hits / TIMES <= 0.99


def test_measuring_until_sure_still_holds_the_truth():
    """Stopping when the interval is narrow favours the narrow ones: not by much."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(TIMES):
        values = 1 + by_round(rng, 40 * WINDOWS)
        for rounds in range(8, 41):
            some = values[: rounds * WINDOWS]
            blocks = np.repeat(np.arange(rounds), WINDOWS)
            found = statistics.bootstrap_rate(some, np.ones(some.size), blocks, resamples=200)
            if found.half_width_pct <= 2:
                break
        hits += found.low <= 1 <= found.high
    assert 0.90 <= hits / TIMES <= 0.99


def test_noise_is_seldom_called_a_drift():
    rng = np.random.default_rng(11)
    called = sum(statistics.drift(1 + rng.normal(0, 0.05, 8)).excludes(0.0) for _ in range(TIMES))
    assert called / TIMES <= 0.08
    drifting = 1 + np.linspace(0, 0.2, 8)
    seen = sum(
        statistics.drift(drifting + rng.normal(0, 0.02, 8)).excludes(0.0) for _ in range(TIMES)
    )
    assert seen / TIMES > 0.9
