"""The share of resamples in which a figure is the best."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.core.statistics import Interval
from ovtool.results.rows import Figures
from ovtool.selection import confidence as module

NONE = Interval(1.0, math.nan, math.nan)
figures = st.builds(
    lambda v, a, b: Interval(v, v - a, v + b),
    st.floats(11, 100),
    st.floats(0, 10),
    st.floats(0, 10),
)


def arrays(intervals):
    return Figures(*np.array([(f.value, f.low, f.high) for f in intervals], float).T)


def best_shares(intervals, **options):
    return module.best_shares(arrays(intervals), **options)


def confidence(intervals, groups, lower):
    return module.estimate_confidence(
        arrays(intervals), np.unique(list(groups), return_inverse=True)[1], lower
    )


@settings(max_examples=30)
@given(st.lists(figures, min_size=1, max_size=6), st.booleans())
def test_shares_add_up_and_mirror_the_other_direction(intervals, lower):
    shares = best_shares(intervals, lower=lower, resamples=500)
    assert math.isclose(shares.sum(), 1)
    assert (shares >= 0).all()
    mirrored = [Interval(1 / f.value, 1 / f.high, 1 / f.low) for f in intervals]
    other = best_shares(mirrored, lower=not lower, resamples=500)
    assert other == pytest.approx(shares)


@settings(max_examples=30)
@given(figures, st.floats(0.5, 2))
def test_draws_match_the_interval(figure, offset):
    """2.5% of the draws lie above the upper end: what an exact figure there would beat."""
    above = best_shares([figure, Interval(figure.high, figure.high, figure.high)], lower=False)[0]
    assert above == pytest.approx(0.5 if figure.high == figure.value == figure.low else above)
    if figure.high > figure.value:
        assert above == pytest.approx(0.025, abs=0.008)


def test_a_figure_with_a_wide_interval_is_never_negative():
    """On a linear scale, a third of the draws of the wide figure were below 0."""
    wide, small = Interval(10.0, 0.1, 1000.0), Interval(0.01, 0.01, 0.01)
    assert best_shares([wide, small], lower=True)[0] == pytest.approx(0.002, abs=0.002)


def test_shares_agree_with_the_normal_difference():
    """Two figures 1 apart with standard deviations 1: P = Phi(1 / sqrt 2) = 0.760."""
    two = [Interval(v, v - 1.96, v + 1.96) for v in (11.0, 10.0)]
    assert best_shares(two, lower=False)[0] == pytest.approx(0.760, abs=0.015)


def test_shares_of_many_chunks_add_up():
    same = [Interval(10.0, 9.0, 11.0)] * 600
    shares = best_shares(same, lower=False, resamples=3000)
    assert shares.sum() == pytest.approx(1)
    assert shares.max() < 0.02
    assert np.count_nonzero(shares) > 500


def test_unknown_confidence_is_none():
    sure, far = Interval(10, 9.9, 10.1), Interval(5, 4.9, 5.1)
    assert confidence([sure, far], "ab", lower=False).row == 1
    assert "best in all of 10,000 resamples" in confidence([sure, far], "ab", lower=False).text
    unknown = confidence([sure, NONE], "ab", lower=False)
    assert unknown.row is None
    assert "1 of 2" in unknown.text
    assert unknown.resamples == 0
    assert confidence([sure], "a", lower=False).row is None
    sizes = [Interval(4, 4, 4), Interval(5, 5, 5)]
    assert confidence(sizes, "ab", lower=True).row == 1


def test_shares_of_a_configuration_are_added():
    near = [Interval(v, v - 1, v + 1) for v in (10.0, 9.9, 9.8)]
    result = confidence(near, ["int8", "int8", "fp32"], lower=False)
    assert result.row < result.configuration < 1


@pytest.mark.parametrize(("row", "configuration", "same"), [(0.9, 0.9, True), (0.3, 0.9, False)])
def test_the_summary_says_whether_the_share_is_that_of_the_row(row, configuration, same):
    summary = module.Confidence(row, configuration, "").summary
    assert "90%" in summary
    assert ("some batch" in summary) != same
