"""The search for the first divergence, over random graphs and errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovtool.evaluation.divergence import compute_relative_error, find_divergence

TOLERANCE = 0.1


class Comparison:
    """Computes errors by position, except for incomparable ones; records the requests."""

    def __init__(self, errors, incomparable=()):
        self.errors, self.incomparable = errors, set(incomparable)
        self.rounds, self.requested = 0, []

    def __call__(self, positions):
        self.rounds += 1
        self.requested += positions
        assert len(set(positions)) == len(positions)
        return {p: self.errors[p] for p in positions if p not in self.incomparable}


def chain(count):
    return [[p - 1] if p else [] for p in range(count)]


@st.composite
def graphs(draw):
    """For each operation, the positions of the earlier operations that it reads."""
    count = draw(st.integers(1, 40))
    return [
        sorted(draw(st.sets(st.integers(0, position - 1), max_size=3))) if position else []
        for position in range(count)
    ]


def descendants(sources, origin):
    """The operation and all operations that depend on it."""
    reached = {origin}
    for position, read in enumerate(sources):
        if reached & set(read):
            reached.add(position)
    return reached


def comparable_sources(sources, position, incomparable):
    result, stack = set(), list(sources[position])
    while stack:
        source = stack.pop()
        stack += sources[source] if source in incomparable else []
        result |= set() if source in incomparable else {source}
    return result


@given(graphs(), st.data())
def test_error_that_spreads_is_traced_to_its_origin(sources, data):
    origin = data.draw(st.integers(0, len(sources) - 1))
    affected = descendants(sources, origin)
    end = data.draw(st.sampled_from(sorted(affected)))
    width = data.draw(st.integers(1, 8))
    comparison = Comparison([1.0 if p in affected else 0.01 for p in range(len(sources))])
    point = find_divergence(sources, end, comparison, TOLERANCE, width)
    assert point.position == origin
    assert point.error == 1.0
    assert point.input_error <= TOLERANCE
    assert len(comparison.requested) == len(set(comparison.requested)) == point.compared


@given(graphs(), st.data())
def test_sources_of_the_divergence_are_within_the_tolerance_for_any_errors(sources, data):
    count = len(sources)
    errors = data.draw(
        st.lists(st.floats(0, 1) | st.just(math.nan), min_size=count, max_size=count)
    )
    incomparable = data.draw(st.sets(st.integers(0, count - 1), max_size=count // 3))
    end = data.draw(st.integers(0, count - 1))
    point = find_divergence(sources, end, Comparison(errors, incomparable), TOLERANCE)

    def exceeds(position):
        return math.isnan(errors[position]) or errors[position] > TOLERANCE

    if end in incomparable or not exceeds(end):
        assert point is None
        return
    assert point.position not in incomparable
    assert exceeds(point.position)
    read = comparable_sources(sources, point.position, incomparable)
    assert not any(map(exceeds, read))
    assert point.input_error == max((errors[p] for p in read), default=0.0)
    assert point.position == end or end in descendants(sources, point.position)


@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("origin", [0, 1, 499, 998, 999])
def test_number_of_rounds_is_logarithmic(width, origin):
    comparison = Comparison([float(position >= origin) for position in range(1000)])
    point = find_divergence(chain(1000), 999, comparison, TOLERANCE, width)
    assert point.position == origin
    assert comparison.rounds <= 3 + math.ceil(math.log(1000, width + 1))


def test_error_that_vanishes_is_reported_as_earlier():
    """A first error begins at 20 and vanishes at 25; a second one begins at 70 and lasts."""
    errors = [1.0 if 20 <= p < 25 or p >= 70 else 0.0 for p in range(100)]
    point = find_divergence(chain(100), 99, Comparison(errors), TOLERANCE, width=30)
    assert point.position == 70
    assert set(point.earlier) <= set(range(20, 25))
    assert point.earlier


def test_divergence_is_located_on_one_of_two_interleaved_branches():
    """Two branches alternate in the order; only the branch that begins at 1 diverges."""
    sources = [[], [], *([p - 2] for p in range(2, 40)), [38, 39]]
    errors = [float(position % 2) for position in range(40)] + [1.0]
    assert find_divergence(sources, 40, Comparison(errors), TOLERANCE).position == 1


@pytest.mark.parametrize(
    ("values", "exact", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([1.0, 2.1], [1.0, 2.0], 0.05),
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([0.0, 0.1], [0.0, 0.0], math.inf),
        ([math.nan, 1.0], [math.nan, 1.0], 0),
        ([math.nan, 1.0], [1.0, 1.0], math.inf),
        ([1.0, 1.0], [math.inf, 1.0], math.inf),
        ([math.inf, 1.5], [math.inf, 1.0], 0.5),
        ([1.0], [1.0, 1.0], math.inf),
        ([], [], 0),
    ],
)
def test_relative_error(values, exact, expected):
    assert compute_relative_error(np.array(values), np.array(exact)) == pytest.approx(expected)


def test_relative_error_of_small_types_does_not_overflow():
    assert compute_relative_error(np.array([0], np.uint8), np.array([255], np.uint8)) == 1
    assert compute_relative_error(np.array([-6e4], np.float16), np.array([6e4], np.float16)) == 2


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)), st.floats(0.1, 10))
def test_relative_error_does_not_depend_on_the_scale(values, scale):
    changed = values.astype(np.float64) * 1.25
    error = compute_relative_error(changed * scale, values.astype(np.float64) * scale)
    assert error == pytest.approx(0.25 if np.any(values) else 0)
