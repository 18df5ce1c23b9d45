"""Figures between those that were measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.roofline.surface import Surface

positive = st.floats(1, 1e9)


def test_a_power_law_is_found_again():
    sizes = [(a, b) for a in (2, 16, 128) for b in (4, 64, 1024)]
    made = Surface.fit(sizes, [3 * a**0.5 * b**0.25 for a, b in sizes])
    assert made.at((32, 200)) == pytest.approx(3 * 32**0.5 * 200**0.25, rel=0.02)
    assert made.error < 0.05


def test_what_was_measured_is_nearly_told_again():
    sizes = [(2.0**i,) for i in range(1, 12)]
    figures = [1e9 * (2 if i < 6 else 1) for i in range(11)]
    made = Surface.fit(sizes, figures)
    for size, figure in zip(sizes, figures, strict=True):
        assert made.at(size) == pytest.approx(figure, rel=0.35)


def test_beyond_the_measured_sizes_nothing_is_extrapolated():
    made = Surface.fit([(2,), (8,), (32,)], [1.0, 4.0, 16.0])
    assert made.at((1e9,)) == made.at((32,))
    assert made.at((0,)) == made.at((2,))


def test_one_measurement_is_itself():
    made = Surface.fit([(5, 5)], [7.0])
    assert made.at((1, 100)) == pytest.approx(7)
    assert math.isnan(made.error)


@given(st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=8))
def test_it_is_positive_everywhere(rows):
    made = Surface.fit([row[:2] for row in rows], [row[2] for row in rows])
    assert made.at((3, 1e6)) > 0


@pytest.mark.parametrize(("sizes", "figures"), [([], []), ([(1,)], [0.0]), ([(0,)], [1.0])])
def test_what_is_no_measurement_is_refused(sizes, figures):
    with pytest.raises(ValueError, match="positive"):
        Surface.fit(sizes, figures)
