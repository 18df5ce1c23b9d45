"""Proportions of two conditions on the same samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.core.paired import SampleScores, compare_outcomes, compare_scores, paired_difference


def restricted_score(lost, won, count, drop):
    """The score statistic of a drop; the share lost is fitted by maximum likelihood, on a grid."""
    won_shares = np.linspace(max(0.0, -drop), (1 - drop) / 2, 40_001)[1:-1]
    lost_shares, rest = won_shares + drop, 1 - 2 * won_shares - drop
    possible = (lost_shares > 0) & (rest > 0)
    q, p, r = won_shares[possible], lost_shares[possible], rest[possible]
    fitted = np.argmax(lost * np.log(p) + won * np.log(q) + (count - lost - won) * np.log(r))
    variance = count * (p[fitted] + q[fitted] - drop**2)
    return (lost - won - count * drop) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("lost", "won", "count"), [(12, 1, 44), (3, 1, 300), (10, 10, 100), (5, 20, 60), (2, 0, 300)]
)
def test_paired_difference_inverts_the_score_test(lost, won, count):
    interval = paired_difference(lost, won, count)
    assert interval.value == pytest.approx((lost - won) / count)
    assert restricted_score(lost, won, count, interval.low) == pytest.approx(1.96, abs=0.02)
    assert restricted_score(lost, won, count, interval.high) == pytest.approx(-1.96, abs=0.02)


@given(st.data(), st.integers(1, 400))
def test_paired_difference_is_antisymmetric_and_agrees_with_mcnemar(data, count):
    lost = data.draw(st.integers(0, count))
    won = data.draw(st.integers(0, count - lost))
    interval, reverse = paired_difference(lost, won, count), paired_difference(won, lost, count)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert (reverse.low, reverse.high) == pytest.approx((-interval.high, -interval.low), abs=1e-9)
    statistic = abs(lost - won) / math.sqrt(lost + won) if lost + won else 0.0
    if abs(statistic - 1.96) > 0.01:
        assert interval.excludes(0) is (statistic > 1.96)


def test_the_interval_without_a_difference_has_its_closed_form():
    z2 = 1.959964**2  # without discordant pairs the limits are z^2 / (n + z^2)
    assert paired_difference(0, 0, 100).high == pytest.approx(z2 / (100 + z2), rel=1e-5)


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_interval_covers_the_true_drop(seed):
    rng = np.random.default_rng(seed)
    lost, won = rng.uniform(0.02, 0.2, 2)
    draws = rng.multinomial(200, [lost, won, 1 - lost - won], 400)
    intervals = [paired_difference(int(a), int(b), 200) for a, b, _ in draws]
    covered = sum(i.low <= lost - won <= i.high for i in intervals)
    assert covered >= 0.9 * 400  # 95% less 4.6 standard errors


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_paired_difference_needs_counts(counts):
    with pytest.raises(ValueError, match="counts"):
        paired_difference(*counts)


def test_outcomes_are_paired_by_their_order():
    before = [True, True, True, False, False]
    after = [True, False, False, True, False]
    paired = compare_outcomes(before, after)
    assert (paired.lost, paired.won, paired.drop.value) == (2, 1, pytest.approx(0.2))
    with pytest.raises(ValueError, match="zip"):
        compare_outcomes(before, after[:-1])


def test_scores_of_samples_right_or_wrong_are_a_share():
    before, after = SampleScores((True, True, False)), SampleScores((True, False, False))
    assert compare_scores(before, after) == compare_outcomes(before.values, after.values)


def test_the_drop_of_a_mean_has_the_paired_t_interval():
    from scipy import stats

    before, after = np.array([3.0, 5.0, 9.0, 4.0]), np.array([2.5, 4.75, 8.0, 4.25])
    scores = [SampleScores(tuple(values.tolist())) for values in (before, after)]
    paired = compare_scores(*scores)
    expected = stats.ttest_rel(before, after).confidence_interval(0.95)
    assert paired.drop.value == pytest.approx(0.375)
    assert (paired.drop.low, paired.drop.high) == pytest.approx((expected.low, expected.high))
    assert paired.lost is None
    assert paired.won is None


def test_the_drop_of_a_rate_resamples_the_samples():
    """Edits of lines of different lengths, against the bootstrap of SciPy."""
    from scipy import stats

    rng = np.random.default_rng(3)
    lengths = rng.integers(5, 30, 80).astype(float)
    before = lengths - rng.binomial(3, 0.1, 80)
    after = before - rng.binomial(4, 0.3, 80) + rng.binomial(2, 0.2, 80)
    scores = [SampleScores(tuple(v.tolist()), tuple(lengths.tolist())) for v in (before, after)]
    drop = compare_scores(*scores).drop
    assert drop.value == pytest.approx((before - after).sum() / lengths.sum())
    expected = stats.bootstrap(
        (before - after, lengths),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True, vectorized=True, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    assert (drop.low, drop.high) == pytest.approx((expected.low, expected.high), rel=0.1)


def test_equal_lines_leave_the_uncertainty_of_their_number():
    scores = SampleScores((4.0, 9.0, 6.0), (5.0, 9.0, 6.0))
    drop = compare_scores(scores, scores).drop
    expected = paired_difference(0, 0, 3)
    assert (drop.value, drop.low, drop.high) == (0, expected.low, expected.high)


def test_scores_that_are_not_finite_have_no_drop():
    scores = SampleScores((1.0, math.inf)), SampleScores((1.0, math.inf))
    assert math.isnan(compare_scores(*scores).drop.value)


def test_scores_need_the_same_weights_and_samples():
    with pytest.raises(ValueError, match="weights"):
        compare_scores(SampleScores((1.0,), (2.0,)), SampleScores((1.0,), (3.0,)))
    with pytest.raises(ValueError, match="samples"):
        compare_scores(SampleScores((), (1.0,)), SampleScores((), (1.0,)))
