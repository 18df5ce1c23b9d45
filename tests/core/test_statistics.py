import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.statistics import (
    Interval,
    bootstrap_quantile,
    bootstrap_rate,
    critical,
    difference,
    drift,
    holm,
    mean_interval,
    quantile,
    ratio_by_round,
    ratio_unpaired,
    samples_for_half_width,
    samples_to_distinguish,
    standard_error,
    student_t,
    two_sided_p,
    wilson,
    with_systematic_error,
)

positive = st.floats(1e-3, 1e6)
UNKNOWN = Interval(1.0, math.nan, math.nan)


def contains_value(interval):
    """Whether a known interval contains its value, up to rounding."""
    slack = 1e-9 * max(1.0, abs(interval.value))
    return not interval.known or (interval.low - slack <= interval.value <= interval.high + slack)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_mean_interval_contains_the_mean(values):
    interval = mean_interval(values)
    assert contains_value(interval)
    assert interval.value == pytest.approx(np.mean(values), abs=1e-6)
    assert interval.known == (len(values) > 1)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=30))
def test_bootstrap_rate_contains_the_rate(windows):
    amounts, durations = zip(*windows, strict=True)
    interval = bootstrap_rate(amounts, durations, resamples=50)
    assert contains_value(interval)
    assert interval.value == pytest.approx(sum(amounts) / sum(durations))
    assert interval.known == (len(windows) > 1)


@given(
    st.lists(st.lists(positive, min_size=1, max_size=8), min_size=1, max_size=8),
    st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]),
)
def test_bootstrap_quantile_contains_the_quantile(windows, q):
    interval = bootstrap_quantile(windows, q, resamples=50)
    samples = [value for window in windows for value in window]
    assert contains_value(interval)
    assert interval.value == quantile(samples, q)
    assert min(samples) <= interval.value <= max(samples)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_contains_the_share_and_stays_within_0_and_1(successes, trials):
    successes = min(successes, trials)
    interval = wilson(successes, trials)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=20))
def test_the_paired_ratio_lies_between_the_rounds_and_inverts(rounds):
    a, b = zip(*rounds, strict=True)
    interval, other = ratio_by_round(a, b), ratio_by_round(b, a)
    ratios = [x / y for x, y in rounds]
    assert contains_value(interval)
    assert min(ratios) * (1 - 1e-9) <= interval.value <= max(ratios) * (1 + 1e-9)
    assert interval.value * other.value == pytest.approx(1)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_figures(successes, trials, low, high):
    """Newcombe 1998, table I, method 3 (score, without continuity correction)."""
    interval = wilson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_invalid_proportion_raises(successes, trials):
    with pytest.raises(ValueError, match=f"{successes} of {trials}"):
        wilson(successes, trials)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (7, 2.3646), (30, 2.0423), (40, 2.0211), (120, 1.9799)]
)
def test_student_t_gives_the_published_quantiles(degrees, expected):
    assert student_t(degrees) == pytest.approx(expected, abs=2e-4)


def test_student_t_without_degrees_of_freedom_is_unknown():
    assert math.isnan(student_t(0))


@given(ratio=positive, below=st.floats(0.2, 1), above=st.floats(1, 5), systematic=st.floats(0, 0.5))
def test_systematic_error_widens_both_sides_and_inverts(ratio, below, above, systematic):
    interval = Interval(ratio, ratio * below, ratio * above)
    wider = with_systematic_error(interval, systematic)
    slack = 1 + 1e-9
    assert wider.value == ratio
    assert wider.low <= min(interval.low, ratio / (1 + systematic)) * slack
    assert wider.high * slack >= max(interval.high, ratio * (1 + systematic))
    assert wider.high <= interval.high * (1 + systematic) * slack  # at most the sum
    inverse = with_systematic_error(
        Interval(1 / ratio, 1 / interval.high, 1 / interval.low), systematic
    )
    assert inverse.low == pytest.approx(1 / wider.high)
    assert not with_systematic_error(UNKNOWN, systematic).known


def test_common_drift_cancels_in_the_paired_ratio():
    rng = np.random.default_rng(0)
    drift = np.exp(np.cumsum(rng.normal(0, 0.2, 8)))
    fast, slow = (base * drift * rng.normal(1, 0.005, 8) for base in (150.0, 100.0))
    by_round = ratio_by_round(fast, slow)
    assert by_round.value == pytest.approx(1.5, rel=0.01)
    assert by_round.half_width_pct < 1.5
    unpaired = ratio_unpaired(mean_interval(fast), mean_interval(slow))
    assert unpaired.half_width_pct > 10 * by_round.half_width_pct


@pytest.mark.parametrize(
    ("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 0.0], [1.0, 1.0]), ([1.0], [math.nan])]
)
def test_a_ratio_of_different_rounds_or_zeros_raises(a, b):
    with pytest.raises(ValueError, match=r"1 .*2|positive"):
        ratio_by_round(a, b)


def test_errors_of_unpaired_figures_are_added_on_the_logarithm():
    a, b = (
        Interval(v, v / f, v * f) for v, f in ((200.0, math.exp(0.03)), (100.0, math.exp(0.04)))
    )
    interval = ratio_unpaired(a, b)
    assert interval.value == 2
    assert interval.high == pytest.approx(2 * math.exp(0.05))
    assert interval.low == pytest.approx(2 / math.exp(0.05))
    assert not ratio_unpaired(UNKNOWN, Interval(1.0, 0.9, 1.1)).known
    for other in (Interval(0.0, 0.0, 0.0), Interval(1.0, 0.0, 2.0), Interval(-1.0, -2.0, 0.5)):
        assert not ratio_unpaired(a, other).known


@given(*[st.tuples(positive, st.floats(1, 50), st.floats(1, 50)) for _ in range(2)])
def test_the_unpaired_ratio_is_positive_and_inverts(a, b):
    a, b = (Interval(value, value / below, value * above) for value, below, above in (a, b))
    ratio, inverse = ratio_unpaired(a, b), ratio_unpaired(b, a)
    assert 0 < ratio.low <= ratio.value <= ratio.high
    assert inverse.low * ratio.high == pytest.approx(1)
    assert inverse.high * ratio.low == pytest.approx(1)


def positive_and_ordered(interval):
    return not interval.known or 0 < interval.low <= interval.value <= interval.high


series = st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=24)
"""Windows that differ by any factor, of tiny or large figures."""


@given(series, st.integers(1, 6))
def test_intervals_of_positive_figures_are_positive(values, size):
    blocks = [i // size for i in range(len(values))]
    rate = bootstrap_rate(values, np.ones(len(values)), blocks, resamples=60)
    assert positive_and_ordered(rate)
    for q in (0.5, 0.99):
        windows = [[v, 2 * v] for v in values]
        assert positive_and_ordered(bootstrap_quantile(windows, q, blocks, resamples=60))


@given(
    st.integers(3, 40),
    st.floats(0.05, 20),
    st.floats(0, 0.95),
    st.floats(-0.9, 5),
    st.integers(0, 9),
)
def test_contended_and_drifting_series_have_positive_intervals(n, ms, share, drift, seed):
    """Some windows lose up to all of their time, and the level drifts."""
    rng = np.random.default_rng(seed)
    lost = share * (rng.random(n) < 0.4)
    latencies = ms * np.linspace(1, 1 + drift, n) / (1 - lost) * rng.normal(1, 0.02, n)
    for interval in (
        bootstrap_rate(100 / latencies, np.ones(n), resamples=100),
        bootstrap_quantile(latencies[:, None].tolist(), 0.5, resamples=100),
        bootstrap_quantile(latencies[:, None].tolist(), 0.99, resamples=100),
    ):
        assert interval.known
        assert positive_and_ordered(interval)


def test_three_rounds_of_which_one_was_contended_keep_a_positive_median():
    """On the linear scale this median had a negative limit."""
    windows = [[6.5] * 20, [6.6] * 20, [2.0] * 9 + [7.5] * 11]
    interval = bootstrap_quantile(windows, 0.5)
    assert positive_and_ordered(interval)


def test_a_rate_of_zero_has_no_interval_and_an_empty_block_a_limit_of_zero():
    assert not bootstrap_rate([0, 0, 0], [1, 1, 1]).known
    interval = bootstrap_rate([0, 0, 0, 4], [1, 1, 1, 1])
    assert interval.low == 0
    assert not bootstrap_rate([1, 1], [1, 0]).known, "the clock did not resolve a block"


def test_the_logarithm_changes_the_limits_of_a_steady_series_by_less_than_a_thousandth():
    """Noise of 3%, 10 rounds of 4 windows: both scales agree to second order."""
    for seed in range(20):
        values = np.random.default_rng(seed).normal(1, 0.03, 40)
        blocks = np.repeat(np.arange(10), 4)
        log, linear = (
            bootstrap_rate(values, np.ones(40), blocks, scale=scale) for scale in ("log", "linear")
        )
        assert log.value == linear.value
        assert log.low == pytest.approx(linear.low, rel=1e-3)
        assert log.high == pytest.approx(linear.high, rel=1e-3)


def coverage(interval_of, truth, times=200):
    """Return the share of repetitions with an interval that contains the truth."""
    intervals = [interval_of(np.random.default_rng(seed)) for seed in range(times)]
    return sum(i.low <= truth <= i.high for i in intervals) / times


def test_mean_interval_has_the_nominal_coverage():
    assert 0.90 <= coverage(lambda rng: mean_interval(rng.normal(7, 2, 8)), 7) <= 0.99


def test_bootstrap_rate_has_the_nominal_coverage():
    def interval(rng):
        seconds = rng.uniform(0.09, 0.11, 16)
        return bootstrap_rate(100 * seconds * rng.normal(1, 0.1, 16), seconds, resamples=300)

    assert 0.90 <= coverage(interval, 100) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_bootstrap_quantile_has_the_nominal_coverage(q):
    truth = float(np.quantile(np.random.default_rng(99).gamma(9, 1, 400_000), q))

    def interval(rng):
        return bootstrap_quantile(list(rng.gamma(9, 1, (16, 25))), q, resamples=200)

    assert 0.90 <= coverage(interval, truth) <= 0.995


def test_whole_windows_are_resampled():
    """Latencies of a window are correlated: single latencies would give a too narrow interval."""
    rng = np.random.default_rng(0)
    levels = rng.normal(10, 2, 12)
    interval = bootstrap_quantile([rng.normal(level, 0.01, 200) for level in levels], 0.5)
    assert interval.high - interval.low > 1


def test_intervals_are_reproducible():
    windows = [[1.0, 2.0], [3.0, 4.0], [5.0]]
    assert bootstrap_quantile(windows, 0.5) == bootstrap_quantile(windows, 0.5)
    assert bootstrap_rate([1, 2, 3], [1, 1, 1]) == bootstrap_rate([1, 2, 3], [1, 1, 1])


def test_no_data_give_unknown_figures():
    for interval in (mean_interval([]), bootstrap_rate([], []), bootstrap_quantile([[], []], 0.5)):
        assert math.isnan(interval.value)
        assert not interval.known
    assert math.isnan(quantile([], 0.5))


def test_different_numbers_of_amounts_and_durations_raise():
    with pytest.raises(ValueError, match=r"2 .*1 "):
        bootstrap_rate([1, 2], [1])


def test_an_interval_excludes_values_outside():
    interval = Interval(1.10, 1.05, 1.15)
    assert interval.excludes(1.0)
    assert not interval.excludes(1.07)
    assert not interval.exact
    assert Interval(1.1, 1.1, 1.1).exact
    assert interval.half_width_pct == pytest.approx(100 * 0.05 / 1.10)


def test_an_unknown_interval_excludes_nothing():
    assert not UNKNOWN.excludes(5.0)
    assert not UNKNOWN.exact
    assert math.isnan(UNKNOWN.half_width_pct)
    assert math.isnan(Interval(0.0, -1.0, 1.0).half_width_pct)


def test_windows_of_a_block_are_resampled_together():
    values = [1.0, 1.0, 3.0, 3.0] * 2
    single = bootstrap_rate(values, [1.0] * 8)
    blocks = bootstrap_rate(values, [1.0] * 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert blocks.value == single.value == 2
    assert blocks.half_width_pct > single.half_width_pct
    assert not bootstrap_rate(values, [1.0] * 8, [5] * 8).known
    with pytest.raises(ValueError, match=r"7 .*8 "):
        bootstrap_rate(values, [1.0] * 8, [0] * 7)


def test_correlated_neighbors_widen_the_interval():
    rising = np.repeat([1.0, 2.0, 3.0, 4.0], 4)
    shuffled = rising.reshape(4, 4).T.ravel()
    wide, narrow = (bootstrap_rate(v, np.ones(16)) for v in (rising, shuffled))
    assert wide.value == narrow.value
    assert wide.half_width_pct > 1.5 * narrow.half_width_pct


@given(st.integers(4, 40), st.floats(-0.5, 0.5))
def test_a_steady_rise_is_a_drift_and_an_outlier_is_not(n, slope):
    rising = 100 + slope * np.arange(n)
    interval = drift(rising)
    expected = 100 * slope * (n - 1) / np.median(rising)
    assert interval.value == pytest.approx(expected, abs=1e-9)
    outlier = np.full(n, 100.0)
    outlier[n // 2] = 10
    assert drift(outlier).value == 0


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0]])
def test_drift_of_fewer_than_four_values_is_unknown(values):
    assert not drift(values).known


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8, 29, 30, 120])
def test_the_p_value_of_the_97_5_percent_quantile_is_5_percent(degrees):
    assert two_sided_p(student_t(degrees), degrees) == pytest.approx(0.05, abs=2e-5)


def test_many_degrees_of_freedom_give_the_normal_distribution():
    assert two_sided_p(1.959964) == pytest.approx(0.05, abs=1e-7)
    assert two_sided_p(3.0, 100_000) == pytest.approx(two_sided_p(3.0), rel=1e-3)


@given(st.floats(1e-9, 0.999), st.one_of(st.none(), st.integers(1, 60)))
def test_critical_inverts_the_p_value(p, degrees):
    assert two_sided_p(critical(p, degrees), degrees) == pytest.approx(p, rel=1e-3, abs=1e-12)


def test_zero_degrees_of_freedom_raise():
    with pytest.raises(ValueError, match="0"):
        two_sided_p(1.0, 0)


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=20))
def test_holm_keeps_the_order_and_lowers_no_p_value(p_values):
    adjusted = holm(p_values)
    pairs = sorted((p, q) for p, q in zip(p_values, adjusted, strict=True) if not math.isnan(p))
    assert all(p <= q <= 1 for p, q in pairs)
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)
    assert [math.isnan(p) for p in p_values] == [math.isnan(q) for q in adjusted]
    if pairs:
        assert pairs[0][1] == pytest.approx(min(1.0, len(pairs) * pairs[0][0]))


def test_holm_gives_the_published_figures():
    """The step-down procedure of Holm 1979, calculated by hand for four p-values."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_difference_of_shares_gives_the_published_figures():
    """Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10: 56/70 and 48/80."""
    interval = difference(wilson(56, 70), wilson(48, 80))
    assert (round(interval.value, 4), round(interval.low, 4), round(interval.high, 4)) == (
        0.2,
        0.0524,
        0.3339,
    )


def test_a_standard_error_needs_a_known_positive_interval():
    assert standard_error(Interval(1.0, math.exp(-0.0196), math.exp(0.0196))) == pytest.approx(
        0.01, rel=1e-4
    )
    assert math.isnan(standard_error(UNKNOWN))
    assert math.isnan(standard_error(Interval(1.0, 0.0, 2.0)))


@given(st.integers(1, 99), st.integers(1, 99))
def test_samples_to_distinguish_two_shares(share, other):
    needed = samples_to_distinguish(share / 100, other / 100)
    if share == other:
        assert needed is None
        return
    enough, few = 100 * math.ceil(needed / 100), 100 * (math.ceil(needed / 100) - 1)
    assert wilson(enough * share // 100, enough).excludes(other / 100)
    if few:
        assert not wilson(few * share // 100, few).excludes(other / 100)


@given(st.integers(0, 100), st.floats(0.005, 0.2))
def test_samples_for_a_half_width(share, half):
    needed = samples_for_half_width(share / 100, half)
    enough = 100 * math.ceil(needed / 100)
    interval = wilson(enough * share // 100, enough)
    assert (interval.high - interval.low) / 2 <= half * 1.0001
    fewer = 100 * (math.ceil(needed / 100) - 1)
    if fewer:
        interval = wilson(fewer * share // 100, fewer)
        assert (interval.high - interval.low) / 2 >= half * 0.9999
