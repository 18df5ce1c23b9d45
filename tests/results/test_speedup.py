"""Speed-ups: paired by rounds, by CPU time, or from figures of different sweeps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.measurement import Round, Window
from ovtool.core.statistics import ratio_unpaired
from ovtool.results.rows import get_figure
from ovtool.results.speedup import CPU_TIME_DOUBT, compute_speedup, find_speedups
from ovtool.results.table import load_results
from tests.helpers import sweeps
from tests.helpers.shaped_sweeps import form, table_of


def single_row(table, **values):
    matches = (table.rows[name] == value for name, value in values.items())
    (position,) = np.flatnonzero(np.logical_and.reduce(list(matches)))
    return table.rows.iloc[position]


def test_speedup_by_rounds_cancels_drift(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    drift = [1.0, 0.5, 2.0, 0.7, 1.4, 0.3]
    measurements = [sweeps.measure(t, noise=0.0, drift=lambda i: drift[i]) for t in trials]
    table = load_results([sweeps.make(tmp_path / "s", measurements)])
    row = single_row(table, variant="int8")
    assert row["speedup_f32_x"] == pytest.approx(7.2 / 3.5)
    assert row["speedup_f32_x_ci_high"] - row["speedup_f32_x_ci_low"] < 1e-6
    assert row["speedup_default_x"] == pytest.approx(4.5 / 3.5)


@pytest.mark.slow
def test_baseline_over_itself_is_exactly_one(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    for precision in ("f32", "default"):
        same = table.rows[
            (table.rows["variant"] == "fp32") & (table.rows["precision"] == precision)
        ]
        assert (same[f"speedup_{precision}_x"] == 1).all()
        assert same[f"speedup_{precision}_x_ci_low"].isna().all()


def test_few_common_rounds_fall_back_to_figures_with_note(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    measurements = [sweeps.measure(t) for t in trials]
    measurements = [
        replace(m, rounds=m.rounds[:4])
        if m.trial.variant == sweeps.FP32.id
        else replace(m, rounds=m.rounds[2:])
        for m in measurements
    ]
    table = load_results([sweeps.make(tmp_path / "s", measurements)])
    row, base = (
        single_row(table, variant="int8"),
        single_row(table, variant="fp32", precision="f32"),
    )
    assert row["speedup_f32_x"] == pytest.approx(row["throughput_fps"] / base["throughput_fps"])
    assert "speedup-unpaired" in [n.id for n in table.notes]


@pytest.mark.slow
def test_rounds_of_different_sweeps_are_not_paired(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    base = [sweeps.measure(t) for t in trials if t.variant == sweeps.FP32.id]
    other = [sweeps.measure(t, group_id="later") for t in trials if t.variant == sweeps.INT8.id]
    table = load_results([sweeps.make(tmp_path / "a", base), sweeps.make(tmp_path / "b", other)])
    assert single_row(table, variant="int8")["speedup_f32_x"] > 1
    note = next(n for n in table.notes if n.id == "speedup-unpaired")
    assert note.evidence.startswith("1 row: ")


def scaled_cpu(measurement, factor):
    """Let every window take ``factor`` of its wall time as CPU time."""
    rounds = tuple(
        Round(r.index, tuple(replace(w, cpu_s=w.seconds * factor) for w in r.windows))
        for r in measurement.rounds
    )
    return replace(measurement, rounds=rounds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "verdict", "cpu_known", "expected"),
    [
        ("CPU", "contended", True, 2 * 7.2 / 3.5),
        ("CPU", "stable", True, 7.2 / 3.5),
        ("CPU", "contended", False, 7.2 / 3.5),
        ("GPU.0", "contended", True, 7.2 / 3.5),
    ],
)
def test_contended_cpu_uses_cpu_time(tmp_path, device, verdict, cpu_known, expected):
    trials = sweeps.trials(batches=(1,), loads=("latency",), devices=(device,))
    measurements = []
    for trial in trials:
        measurement = sweeps.measure(trial, noise=0.0, verdict="stable")
        if trial.variant == sweeps.INT8.id:
            measurement = replace(scaled_cpu(measurement, 0.5), verdict=verdict)
        else:
            measurement = scaled_cpu(measurement, 1.0)
        if not cpu_known:
            windows = (replace(measurement.rounds[0].windows[0], cpu_s=None),)
            measurement = replace(measurement, rounds=(Round(0, windows), *measurement.rounds[1:]))
        measurements.append(measurement)
    table = load_results([sweeps.make(tmp_path / "s", measurements)])
    row = single_row(table, variant="int8")
    assert row["speedup_f32_x"] == pytest.approx(expected)
    by_cpu = "speedup-by-cpu-time" in [n.id for n in table.notes]
    assert by_cpu == (device == "CPU" and verdict == "contended" and cpu_known)
    width = row["speedup_f32_x_ci_high"] / row["speedup_f32_x"] - 1
    assert width == pytest.approx(CPU_TIME_DOUBT if by_cpu else 0, abs=1e-6), "no noise but this"


@pytest.mark.slow
def test_speedup_is_over_baseline_of_same_shape(tmp_path):
    rows = table_of(tmp_path / "s", form(128), form(1024)).rows
    int8 = rows[rows["variant"] == "int8"]
    for _, same in int8.groupby(["batch", "load"]):
        short, long = same["speedup_default_x"]
        assert short == pytest.approx(4.5 / 3.5, rel=0.03)
        assert long == pytest.approx(4.5 / 3.5, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("f32_ran_on", "known"), [("GPU.0", True), ("CPU", False), (None, True)])
def test_rows_on_different_devices_have_no_speedup(tmp_path, f32_ran_on, known):
    trials = sweeps.trials(models=(sweeps.FP32,), batches=(1,), devices=("AUTO:GPU,CPU",))
    ran_on = {"default": "GPU.0", "f32": f32_ran_on}
    measurements = [sweeps.measure(trial, ran_on=ran_on[trial.precision]) for trial in trials]
    rows = load_results([sweeps.make(tmp_path / "s", measurements)]).rows
    assert rows[rows["precision"] == "default"]["speedup_f32_x"].notna().all() == known


@pytest.mark.slow
@pytest.mark.parametrize("ran_on", ["GPU.0", "CPU", None])
def test_sweeps_of_one_environment_are_compared_by_figures(tmp_path, ran_on):
    trials = sweeps.trials(models=(sweeps.FP32, sweeps.INT8), devices=("AUTO:GPU,CPU",))
    trials = [t for t in trials if t.precision == "default"]
    fp32 = [sweeps.measure(t, ran_on=ran_on) for t in trials if t.variant == sweeps.FP32.id]
    int8 = [sweeps.measure(t, ran_on="GPU.0") for t in trials if t.variant == sweeps.INT8.id]
    folders = [sweeps.make(tmp_path / "a", fp32), sweeps.make(tmp_path / "b", int8)]
    rows = load_results(folders).records
    baselines = {(row["batch"], row["load"]): row for row in rows if row["variant"] == "fp32"}
    compressed = [row for row in rows if row["variant"] == "int8"]
    assert len(compressed) == len(baselines) == 8
    for row in compressed:
        baseline = baselines[row["batch"], row["load"]]
        throughputs = (get_figure(r, "throughput_fps") for r in (row, baseline))
        expected = ratio_unpaired(*throughputs)
        speedup = get_figure(row, "speedup_default_x")
        if ran_on == "CPU":
            assert not speedup.known
        else:
            assert (speedup.value, speedup.low, speedup.high) == pytest.approx(
                (expected.value, expected.low, expected.high), rel=1e-12
            )


rounds = st.lists(
    st.builds(
        Round,
        st.integers(0, 5),
        st.lists(
            st.builds(
                Window,
                seconds=st.floats(0, 10),
                inferences=st.integers(0, 1000),
                latency_mean_ms=st.just(1.0),
                latency_max_ms=st.just(1.0),
                cpu_s=st.none() | st.floats(0, 10),
            ),
            max_size=2,
        ).map(tuple),
    ),
    max_size=5,
).map(tuple)


@pytest.mark.slow
@given(rounds, rounds, st.sampled_from(["", "a", "b"]))
def test_speedup_of_any_rounds_is_positive_or_unknown(rounds_a, rounds_b, group_id):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    base = sweeps.measure(trials[0], rounds=1)
    row = sweeps.measure(trials[2], rounds=1)
    result = compute_speedup(
        replace(row, rounds=rounds_a, verdict="contended", group_id="a"),
        replace(base, rounds=rounds_b, group_id=group_id),
    )
    assert math.isnan(result.ratio.value) or result.ratio.value > 0
    if result.ratio.known:
        assert result.ratio.low <= result.ratio.value <= result.ratio.high


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_a_default_precision_of_f32_is_the_baseline_in_f32(tmp_path, both):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    measured = [
        replace(sweeps.measure(t), executed_precision="f32")
        for t in trials
        if both or t.precision == "default"
    ]
    table = load_results([sweeps.make(tmp_path / "s", measured)])
    for row in table.records:
        assert row["speedup_f32_x"] is not None
        if row["variant"] == "fp32":
            assert (row["speedup_f32_x"], row["speedup_default_x"]) == (1, 1)
            assert row["speedup_f32_x_ci_low"] is None
        elif not both:
            assert row["speedup_f32_x"] == row["speedup_default_x"]
            assert find_speedups(row).keys() == {"f32, its default precision"}
        else:
            base = single_row(table, variant="fp32", precision="f32")
            expected = row["throughput_fps"] / base["throughput_fps"]
            assert row["speedup_f32_x"] == pytest.approx(expected, rel=0.05)


def test_a_baseline_has_no_speedup_over_itself(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    table = load_results([sweeps.make(tmp_path / "s", [sweeps.measure(t) for t in trials])])
    row = single_row(table, variant="fp32", precision="f32")
    assert find_speedups(row).keys() == {"default precision"}
    row = single_row(table, variant="fp32", precision="default")
    assert find_speedups(row).keys() == {"f32"}
