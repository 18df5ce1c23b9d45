"""The knee of a batch curve."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.results.labels import config_labels
from ovtool.results.table import load_results
from ovtool.selection.knee import Knees, find_knee
from tests.helpers import sweeps

above = st.floats(0.01, 1e4)


curves = st.lists(st.tuples(above, above), min_size=1, max_size=8)


@given(curves, above, above)
def test_units_do_not_move_the_knee(curve, a, b):
    throughputs, latencies = zip(*curve, strict=True)
    place = find_knee(throughputs, latencies)
    scaled = find_knee([a * t for t in throughputs], [b * v for v in latencies])
    power = [t / v for t, v in curve]
    assert power[scaled] == pytest.approx(power[place])


@given(curves, st.floats(1.01, 10))
def test_batch_without_gain_does_not_move_the_knee(curve, factor):
    throughputs, latencies = map(list, zip(*curve, strict=True))
    place = find_knee(throughputs, latencies)
    more = find_knee([*throughputs, throughputs[-1]], [*latencies, latencies[-1] * factor])
    assert more == place


def test_knee_is_the_point_of_maximum_power():
    assert find_knee([100, 190, 350, 360], [10, 10.5, 11.4, 21.7]) == 2
    assert find_knee([100, 103], [10, 19]) == 0
    for wrong in (([], []), ([1], []), ([0], [1]), ([1], [math.nan])):
        with pytest.raises(ValueError, match="throughputs"):
            find_knee(*wrong)


@pytest.mark.slow
def test_every_batch_curve_has_a_knee(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    knees = Knees(rows, config_labels(rows))
    assert len(knees) == 4 * 2, "variants and precisions x loads"
    assert all(k.batches == (1, 2, 4, 8) for k in knees)
    assert all(k.next_row["batch"] > k.row["batch"] for k in knees)
    assert knees[0].to_json()["throughput_ratio"]["value"] > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "relative", "batch"), [(1.01, 0.02, 1), (1.01, 0.001, 2), (1.5, 0.4, 2)]
)
def test_a_tie_of_power_goes_to_the_smaller_batch(tmp_path, share, relative, batch):
    """Batch 2 has a share more throughput at equal latency: within noise, significant, far."""
    table = load_results([sweeps.whole(tmp_path / "s", [sweeps.INT8], (1, 2), ("CPU",))])
    frame = table.rows.copy()
    for place, rate in ((1, 100.0), (2, 100.0 * share)):
        row = frame["batch"] == place
        for name, value in (("throughput_fps", rate), ("latency_p50_ms", 10.0)):
            for end, factor in (("", 1), ("_ci_low", 1 - relative), ("_ci_high", 1 + relative)):
                frame.loc[row, f"{name}{end}"] = value * factor
    rows = table.with_rows(frame).records
    assert {knee.row["batch"] for knee in Knees(rows, config_labels(rows))} == {batch}


@pytest.mark.slow
def test_single_batch_has_no_knee(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s", batches=(4,))]).records
    knees = Knees(rows, config_labels(rows))
    assert len(knees) == 0
    assert not list(knees)
    assert knees.of(rows[0]) is None


@pytest.mark.slow
def test_knee_of_a_row_is_of_its_own_curve(tmp_path):
    rows = load_results([sweeps.whole(tmp_path / "s")]).records
    knees = Knees(rows, config_labels(rows))
    for row in rows:
        one = knees.of(row)
        assert (one.row["variant_id"], one.row["precision"], one.row["load"]) == (
            row["variant_id"], row["precision"], row["load"],
        )  # fmt: skip
        assert row["batch"] in one.batches
    assert [one.label for one in knees[1:3]] == [knees[1].label, knees[2].label]
