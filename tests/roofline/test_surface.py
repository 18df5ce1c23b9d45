"""Figures between those that were measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.roofline.surface import Surface

positive = st.floats(1, 1e9)


def test_power_law_is_recovered():
    sizes = [(a, b) for a in (2, 16, 128) for b in (4, 64, 1024)]
    surface = Surface.fit(sizes, [3 * a**0.5 * b**0.25 for a, b in sizes])
    assert surface.at((32, 200)) == pytest.approx(3 * 32**0.5 * 200**0.25, rel=0.02)
    assert surface.error < 0.05


def test_fit_passes_near_the_measurements():
    sizes = [(2.0**i,) for i in range(1, 12)]
    figures = [1e9 * (2 if i < 6 else 1) for i in range(11)]
    surface = Surface.fit(sizes, figures)
    for size, figure in zip(sizes, figures, strict=True):
        assert surface.at(size) == pytest.approx(figure, rel=0.35)


def test_no_extrapolation():
    surface = Surface.fit([(2,), (8,), (32,)], [1.0, 4.0, 16.0])
    assert surface.at((1e9,)) == surface.at((32,))
    assert surface.at((0,)) == surface.at((2,))


def test_single_measurement_is_constant():
    surface = Surface.fit([(5, 5)], [7.0])
    assert surface.at((1, 100)) == pytest.approx(7)
    assert math.isnan(surface.error)


@given(st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=8))
def test_surface_is_positive(rows):
    surface = Surface.fit([row[:2] for row in rows], [row[2] for row in rows])
    assert surface.at((3, 1e6)) > 0


@pytest.mark.parametrize(("sizes", "figures"), [([], []), ([(1,)], [0.0]), ([(0,)], [1.0])])
def test_invalid_measurements_raise(sizes, figures):
    with pytest.raises(ValueError, match="positive"):
        Surface.fit(sizes, figures)
