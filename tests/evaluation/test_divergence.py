"""The search for the operation that runs part at, over graphs and errors of every kind."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovtool.evaluation import find, relative_error

TOLERANCE = 0.1


class Asked:
    """Errors by place, some of them unknown; it counts what it is asked."""

    def __init__(self, errors, dark=()):
        self.errors, self.dark, self.rounds, self.places = errors, set(dark), 0, []

    def __call__(self, places):
        self.rounds += 1
        self.places += places
        assert len(set(places)) == len(places)
        return {p: self.errors[p] for p in places if p not in self.dark}


def chain(count):
    return [[p - 1] if p else [] for p in range(count)]


@st.composite
def graphs(draw):
    """For each operation the places of those before it that it reads."""
    count = draw(st.integers(1, 40))
    return [
        sorted(draw(st.sets(st.integers(0, place - 1), max_size=3))) if place else []
        for place in range(count)
    ]


def descendants(sources, origin):
    """The operation and all that depend on it."""
    found = {origin}
    for place, read in enumerate(sources):
        if found & set(read):
            found.add(place)
    return found


def read_through(sources, place, dark):
    found, waiting = set(), list(sources[place])
    while waiting:
        one = waiting.pop()
        waiting += sources[one] if one in dark else []
        found |= set() if one in dark else {one}
    return found


@given(graphs(), st.data())
def test_an_error_that_spreads_from_one_operation_is_traced_to_it(sources, data):
    origin = data.draw(st.integers(0, len(sources) - 1))
    hit = descendants(sources, origin)
    end = data.draw(st.sampled_from(sorted(hit)))
    width = data.draw(st.integers(1, 8))
    errors = Asked([1.0 if place in hit else 0.01 for place in range(len(sources))])
    found = find(sources, end, errors, TOLERANCE, width)
    assert found.place == origin
    assert found.error == 1.0
    assert found.before <= TOLERANCE
    assert len(errors.places) == len(set(errors.places)) == found.compared


@given(graphs(), st.data())
def test_whatever_errors_do_the_answer_is_apart_and_all_that_it_reads_is_not(sources, data):
    count = len(sources)
    errors = data.draw(
        st.lists(st.floats(0, 1) | st.just(math.nan), min_size=count, max_size=count)
    )
    dark = data.draw(st.sets(st.integers(0, count - 1), max_size=count // 3))
    end = data.draw(st.integers(0, count - 1))
    found = find(sources, end, Asked(errors, dark), TOLERANCE)

    def apart(place):
        return math.isnan(errors[place]) or errors[place] > TOLERANCE

    if end in dark or not apart(end):
        assert found is None
        return
    assert found.place not in dark
    assert apart(found.place)
    read = read_through(sources, found.place, dark)
    assert not any(apart(place) for place in read)
    assert found.before == max((errors[place] for place in read), default=0.0)
    assert found.place == end or end in descendants(sources, found.place)


@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("origin", [0, 1, 499, 998, 999])
def test_few_rounds_are_enough(width, origin):
    errors = Asked([float(place >= origin) for place in range(1000)])
    assert find(chain(1000), 999, errors, TOLERANCE, width).place == origin
    assert errors.rounds <= 3 + math.ceil(math.log(1000, width + 1))


def test_an_error_that_vanishes_is_not_the_answer_but_is_told():
    """It comes at 20, is gone at 25, and the one that lasts comes at 70."""
    errors = [1.0 if 20 <= place < 25 or place >= 70 else 0.0 for place in range(100)]
    found = find(chain(100), 99, Asked(errors), TOLERANCE, width=30)
    assert found.place == 70
    assert set(found.earlier) <= set(range(20, 25))
    assert found.earlier


def test_the_neighbour_in_the_order_may_be_of_another_branch():
    """Two branches take turns in the order; only the one that begins at 1 is apart."""
    sources = [[], [], *([p - 2] for p in range(2, 40)), [38, 39]]
    errors = [float(place % 2) for place in range(40)] + [1.0]
    assert find(sources, 40, Asked(errors), TOLERANCE).place == 1


@pytest.mark.parametrize(
    ("ours", "exact", "expected"),
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
def test_relative_error(ours, exact, expected):
    assert relative_error(np.array(ours), np.array(exact)) == pytest.approx(expected)


def test_whole_numbers_and_half_floats_are_compared_without_overflow():
    assert relative_error(np.array([0], np.uint8), np.array([255], np.uint8)) == 1
    assert relative_error(np.array([-6e4], np.float16), np.array([6e4], np.float16)) == 2


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)), st.floats(0.1, 10))
def test_relative_error_does_not_depend_on_the_scale(values, scale):
    changed = values.astype(np.float64) * 1.25
    found = relative_error(changed * scale, values.astype(np.float64) * scale)
    assert found == pytest.approx(0.25 if np.any(values) else 0)
