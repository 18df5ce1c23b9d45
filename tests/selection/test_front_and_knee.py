"""The Pareto front and the knee of a batch curve."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.results.labels import config_labels
from ovtool.results.table import load_results
from ovtool.selection.knee import Knees, knee
from ovtool.selection.pareto import front, not_dominated
from tests.helpers import sweeps

value = st.one_of(st.integers(0, 4).map(float), st.just(math.nan))
points = st.lists(st.tuples(value, value, value), max_size=14)


def dominates(one, other):
    known = [(a, b) for a, b in zip(one, other, strict=True) if not math.isnan(b)]
    return all(a >= b for a, b in known) and any(a > b for a, b in known)


@given(points)
def test_the_front_is_what_nobody_dominates(found):
    expected = [
        i
        for i, one in enumerate(found)
        if not all(map(math.isnan, one)) and not any(dominates(o, one) for o in found)
    ]
    assert not_dominated(np.array(found).reshape(len(found), 3)) == expected


def test_the_front_of_a_sweep(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    found = front(rows, 99, "agreement_top1", config_labels(rows))
    assert found.left_out == ("energy_mj_per_sample",)
    assert {r["variant"] for r in found.rows} == {"fp32", "int8", "int8-weights"}
    assert found.of == len(rows)
    assert len(found.rows) < len(rows)
    assert not {r["precision"] for r in found.rows} & {"f32"}, "slower, and no better"


def test_a_front_of_many_rows_is_quick_enough_to_be_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    found = not_dominated(values)
    assert 0 < len(found) < len(values)


above = st.floats(0.01, 1e4)
curves = st.lists(st.tuples(above, above), min_size=1, max_size=8)


@given(curves, above, above)
def test_units_do_not_move_the_knee(curve, a, b):
    throughputs, latencies = zip(*curve, strict=True)
    place = knee(throughputs, latencies)
    scaled = knee([a * t for t in throughputs], [b * v for v in latencies])
    power = [t / v for t, v in curve]
    assert power[scaled] == pytest.approx(power[place])


@given(curves, st.floats(1.01, 10))
def test_a_batch_that_only_costs_latency_moves_no_knee(curve, factor):
    throughputs, latencies = map(list, zip(*curve, strict=True))
    place = knee(throughputs, latencies)
    more = knee([*throughputs, throughputs[-1]], [*latencies, latencies[-1] * factor])
    assert more == place


def test_the_knee_is_where_gain_stops_to_beat_cost():
    assert knee([100, 190, 350, 360], [10, 10.5, 11.4, 21.7]) == 2
    assert knee([100, 103], [10, 19]) == 0
    for wrong in (([], []), ([1], []), ([0], [1]), ([1], [math.nan])):
        with pytest.raises(ValueError, match=r"knee|against"):
            knee(*wrong)


def test_every_batch_curve_has_its_knee(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    found = Knees(rows, config_labels(rows))
    assert len(found) == 4 * 2, "variants and precisions x loads"
    assert all(k.batches == (1, 2, 4, 8) for k in found)
    assert all(k.next_row["batch"] > k.row["batch"] for k in found)
    assert found[0].to_json()["throughput_ratio"]["value"] > 1


def test_one_batch_is_no_curve_and_a_row_off_any_has_no_knee(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s", batches=(4,))]).records
    found = Knees(rows, config_labels(rows))
    assert len(found) == 0
    assert not list(found)
    assert found.of(rows[0]) is None


def test_a_row_finds_the_knee_of_its_own_curve(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    found = Knees(rows, config_labels(rows))
    for row in rows:
        one = found.of(row)
        assert (one.row["variant_id"], one.row["precision"], one.row["load"]) == (
            row["variant_id"], row["precision"], row["load"],
        )  # fmt: skip
        assert row["batch"] in one.batches
    assert [one.label for one in found[1:3]] == [found[1].label, found[2].label]
