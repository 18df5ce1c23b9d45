"""Proportions of two conditions on the same samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.core.paired import compare_outcomes, paired_difference


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


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_interval_covers_the_true_drop(seed):
    rng = np.random.default_rng(seed)
    lost, won = rng.uniform(0.02, 0.2, 2)
    draws = rng.multinomial(200, [lost, won, 1 - lost - won], 400)
    intervals = [paired_difference(int(a), int(b), 200) for a, b, _ in draws]
    covered = sum(i.low <= lost - won <= i.high for i in intervals)
    assert covered >= 0.9 * 400  # 95 % less 4.6 standard errors


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
