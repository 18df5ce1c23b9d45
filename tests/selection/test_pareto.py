"""The Pareto front."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ovtool.results.labels import config_labels
from ovtool.results.table import load_results
from ovtool.selection.pareto import find_front, find_non_dominated
from tests.helpers import sweeps

value = st.one_of(st.integers(0, 4).map(float), st.just(math.nan))
points = st.lists(st.tuples(value, value, value), max_size=14)


def dominates(row, other):
    known = [(a, b) for a, b in zip(row, other, strict=True) if not math.isnan(b)]
    return all(a >= b for a, b in known) and any(a > b for a, b in known)


@given(points)
def test_front_is_the_set_of_non_dominated_rows(rows):
    expected = [
        i
        for i, row in enumerate(rows)
        if not all(map(math.isnan, row)) and not any(dominates(other, row) for other in rows)
    ]
    assert find_non_dominated(np.array(rows).reshape(len(rows), 3)) == expected


def test_front_of_a_sweep(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    front = find_front(rows, 99, "agreement_top1", config_labels(rows))
    assert front.left_out == ("energy_mj_per_sample",)
    assert {r["variant"] for r in front.rows} == {"fp32", "int8", "int8-weights"}
    assert front.compared == len(rows)
    assert len(front.rows) < len(rows)
    assert not {r["precision"] for r in front.rows} & {"f32"}, "slower, and no better"


def test_front_of_many_rows():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    front = find_non_dominated(values)
    assert 0 < len(front) < len(values)
