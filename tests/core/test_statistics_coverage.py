"""Coverage of the 95% confidence intervals on simulated noise."""

import numpy as np
import pytest

from ovtool.core import statistics

ROUNDS, WINDOWS = 10, 4


def white(rng, n):
    return rng.normal(0, 0.05, n)


def by_round(rng, n):
    """Windows of a round share an offset."""
    return np.repeat(rng.normal(0, 0.04, n // WINDOWS), WINDOWS) + rng.normal(0, 0.02, n)


def autoregressive(rng, n):
    """Consecutive windows are correlated; other trials are measured between rounds."""
    series = np.zeros(2 * n)
    for i, shock in enumerate(rng.normal(0, 0.03, 2 * n)):
        series[i] = 0.7 * series[i - 1] + shock
    return series.reshape(-1, 2 * WINDOWS)[:, :WINDOWS].ravel()


def bursts(rng, n):
    """A few windows lose up to a quarter."""
    return rng.normal(0, 0.02, n) - 0.25 * rng.random(n) * (rng.random(n) < 0.15)


def contended(rng, n):
    """Other processes take up to two thirds of the processor, for some windows in turn."""
    return bursts(rng, n) - 0.6 * rng.random(n) * (by_round(rng, n) > 0)


NOISES = {
    "white": white,
    "by round": by_round,
    "autoregressive": autoregressive,
    "bursts": bursts,
    "contended": contended,
}
REPETITIONS = 400


def coverage(noise, interval, truth):
    rng = np.random.default_rng(7)
    blocks = np.repeat(np.arange(ROUNDS), WINDOWS)
    intervals = [interval(1 + noise(rng, ROUNDS * WINDOWS), blocks) for _ in range(REPETITIONS)]
    return sum(i.low <= truth <= i.high for i in intervals) / REPETITIONS


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_rate_intervals_have_the_nominal_coverage(noise):
    truth = 1 + noise(np.random.default_rng(0), 400_000).mean()

    def interval(values, blocks):
        return statistics.bootstrap_rate(values, np.ones(len(values)), blocks, resamples=300)

    assert 0.90 <= coverage(noise, interval, truth) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_median_intervals_have_the_nominal_coverage(noise):
    truth = float(np.median(1 + noise(np.random.default_rng(0), 400_000)))

    def interval(values, blocks):
        windows = [[v] for v in values]
        return statistics.bootstrap_quantile(windows, 0.5, blocks, resamples=200)

    assert 0.90 <= coverage(noise, interval, truth) <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, 4, 6])
@pytest.mark.parametrize("noise", [white, by_round, contended], ids=lambda f: f.__name__)
def test_intervals_of_few_rounds_have_the_nominal_coverage(noise, rounds):
    """Even where the interval reaches beyond every window, which no range of windows covers."""
    truth = 1 + noise(np.random.default_rng(0), 400_000).mean()
    rng = np.random.default_rng(13)
    blocks = np.repeat(np.arange(rounds), WINDOWS)
    hits = 0
    for _ in range(REPETITIONS):
        values = 1 + noise(rng, rounds * WINDOWS)
        interval = statistics.bootstrap_rate(values, np.ones(values.size), blocks, resamples=300)
        assert 0 < interval.low <= interval.value <= interval.high
        hits += interval.low <= truth <= interval.high
    assert 0.90 <= hits / REPETITIONS <= 0.99


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_paired_ratio_intervals_have_the_nominal_coverage_despite_drift(noise):
    """Two variants measured in the same rounds on a drifting machine."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(REPETITIONS):
        drift = np.exp(np.cumsum(rng.normal(0, 0.05, ROUNDS)))
        a, b = (drift * (1 + noise(rng, ROUNDS * WINDOWS)[::WINDOWS]) for _ in range(2))
        interval = statistics.ratio_by_round(1.5 * a, b)
        hits += interval.low <= 1.5 <= interval.high
    assert 0.90 <= hits / REPETITIONS <= 0.99


@pytest.mark.slow
def test_early_stopping_keeps_the_nominal_coverage():
    """Stopping at a narrow interval favors narrow intervals, but only slightly."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(REPETITIONS):
        values = 1 + by_round(rng, 40 * WINDOWS)
        for rounds in range(8, 41):
            first = values[: rounds * WINDOWS]
            blocks = np.repeat(np.arange(rounds), WINDOWS)
            interval = statistics.bootstrap_rate(first, np.ones(first.size), blocks, resamples=200)
            if interval.half_width_pct <= 2:
                break
        hits += interval.low <= 1 <= interval.high
    assert 0.90 <= hits / REPETITIONS <= 0.99


@pytest.mark.slow
def test_noise_is_rarely_reported_as_drift():
    rng = np.random.default_rng(11)
    false_alarms = sum(
        statistics.drift(1 + rng.normal(0, 0.05, 8)).excludes(0.0) for _ in range(REPETITIONS)
    )
    assert false_alarms / REPETITIONS <= 0.08
    drifting = 1 + np.linspace(0, 0.2, 8)
    detected = sum(
        statistics.drift(drifting + rng.normal(0, 0.02, 8)).excludes(0.0)
        for _ in range(REPETITIONS)
    )
    assert detected / REPETITIONS > 0.9
