"""The table: what becomes a row, and what is derived from several."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.measurement import Round, Window
from ovtool.core.notes import Note
from ovtool.core.sweep_folder import SweepFolder
from ovtool.results.speedup import CPU_TIME_DOUBT, compute_speedup
from ovtool.results.table import load_results
from tests.helpers import sweeps


def one(table, **wanted):
    found = table.rows
    for name, value in wanted.items():
        found = found[found[name] == value]
    assert len(found) == 1, f"{len(found)} rows for {wanted}"
    return found.iloc[0]


def test_columns_are_the_declared_ones_in_their_order(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    assert list(table.rows.columns) == [name for column in COLUMNS for name in column.names]
    assert len(table.rows) == 32
    row = one(table, variant="int8", batch=4, load="throughput")
    assert row["device"] == "CPU"
    assert row["machine"] == sweeps.environment().machine
    assert row["environment"] == sweeps.environment().id
    assert row["sweep"] == "s"
    assert row["variant_id"] == sweeps.INT8.id
    assert row["model_mib"] == 4.83
    assert table.rows["variant"].iloc[0] == "fp32", "the baseline comes first"


def test_nothing_given_or_measured_is_an_empty_table(tmp_path):
    empty = sweeps.make(tmp_path / "s", [], planned=sweeps.trials())
    for folders in ([], [empty]):
        table = load_results(folders)
        assert table.rows.empty
        assert "variant" in table.rows.columns
    assert [n.id for n in load_results([empty]).notes] == ["sweep-unfinished"]


def test_the_last_line_of_a_journal_counts(tmp_path):
    trial = sweeps.trials()[0]
    first, last = sweeps.failed(trial, "killed"), sweeps.measure(trial)
    table = load_results([sweeps.make(tmp_path / "s", [first, last])])
    assert table.rows["status"].tolist() == ["ok"]


def test_a_copied_sweep_gives_each_row_once(tmp_path):
    folder = sweeps.whole(tmp_path / "s")
    copy = sweeps.whole(tmp_path / "elsewhere" / "s")
    table = load_results([folder, copy, folder])
    assert len(table.rows) == 32
    assert not table.notes


def test_of_two_sweeps_the_latest_measurement_is_kept_and_said(tmp_path):
    trial = sweeps.trials()[0]
    old = sweeps.measure(trial, finished="2026-01-01T00:00:00Z", verdict="unsteady")
    new = sweeps.measure(trial, finished="2026-02-01T00:00:00Z")
    a, b = sweeps.make(tmp_path / "a", [new]), sweeps.make(tmp_path / "b", [old])
    table = load_results([a, b])
    assert table.rows["verdict"].tolist() == ["stable"]
    assert "measured-twice" in [n.id for n in table.notes]


def test_failed_trials_are_rows_and_missing_devices_are_kept(tmp_path):
    trial = sweeps.trials()[0]
    table = load_results(
        [sweeps.make(tmp_path / "s", [sweeps.failed(trial, "boom")], unavailable=[("NPU", "none")])]
    )
    row = table.rows.iloc[0]
    assert (row["status"], row["reason"]) == ("failed", "boom")
    assert math.isnan(row["throughput_fps"])
    assert math.isnan(row["speedup_f32_x"])
    assert row["model_mib"] == 17.8, "known from the plan"
    assert [(n.device, n.reason) for n in table.unavailable] == [("NPU", "none")]


def test_quality_is_shared_by_variant_device_and_precision_only(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    by = table.rows.groupby(["variant", "precision"])["agreement_top1"]
    assert by.nunique().eq(1).all()
    assert table.rows["agreement_top1"].notna().all()
    assert set(table.rows[table.rows["variant"] == "int8"]["agreement_top1"]) == {0.94}
    assert table.rows["agreement_top1_ci_low"].notna().all()


def test_speedup_is_taken_round_by_round_so_drift_cancels(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    drift = [1.0, 0.5, 2.0, 0.7, 1.4, 0.3]
    made = [sweeps.measure(t, noise=0.0, drift=lambda i: drift[i]) for t in trials]
    table = load_results([sweeps.make(tmp_path / "s", made)])
    row = one(table, variant="int8")
    assert row["speedup_f32_x"] == pytest.approx(7.2 / 3.5)
    assert row["speedup_f32_x_ci_high"] - row["speedup_f32_x_ci_low"] < 1e-6
    assert row["speedup_default_x"] == pytest.approx(4.5 / 3.5)


def test_the_baseline_against_itself_is_exactly_one(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    for precision in ("f32", "default"):
        same = table.rows[
            (table.rows["variant"] == "fp32") & (table.rows["precision"] == precision)
        ]
        assert (same[f"speedup_{precision}_x"] == 1).all()
        assert same[f"speedup_{precision}_x_ci_low"].isna().all()


def test_few_common_rounds_fall_back_to_the_figures_and_say_so(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    made = [sweeps.measure(t) for t in trials]
    made = [
        replace(m, rounds=m.rounds[:4])
        if m.trial.variant == sweeps.FP32.id
        else replace(m, rounds=m.rounds[2:])
        for m in made
    ]
    table = load_results([sweeps.make(tmp_path / "s", made)])
    row, base = one(table, variant="int8"), one(table, variant="fp32", precision="f32")
    assert row["speedup_f32_x"] == pytest.approx(row["throughput_fps"] / base["throughput_fps"])
    assert "speedup-unpaired" in [n.id for n in table.notes]


def test_rounds_of_different_sweeps_never_pair_up(tmp_path):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    base = [sweeps.measure(t) for t in trials if t.variant == sweeps.FP32.id]
    other = [sweeps.measure(t, taken_with="later") for t in trials if t.variant == sweeps.INT8.id]
    table = load_results([sweeps.make(tmp_path / "a", base), sweeps.make(tmp_path / "b", other)])
    assert one(table, variant="int8")["speedup_f32_x"] > 1
    note = next(n for n in table.notes if n.id == "speedup-unpaired")
    assert note.evidence.startswith("1 row: ")


def scaled_cpu(measurement, factor):
    """Let every window take ``factor`` of its wall time as CPU time."""
    rounds = tuple(
        Round(r.index, tuple(replace(w, cpu_s=w.seconds * factor) for w in r.windows))
        for r in measurement.rounds
    )
    return replace(measurement, rounds=rounds)


@pytest.mark.parametrize(
    ("device", "verdict", "cpu_known", "expected"),
    [
        ("CPU", "contended", True, 2 * 7.2 / 3.5),
        ("CPU", "stable", True, 7.2 / 3.5),
        ("CPU", "contended", False, 7.2 / 3.5),
        ("GPU.0", "contended", True, 7.2 / 3.5),
    ],
)
def test_contended_cpu_rows_are_compared_by_cpu_time(
    tmp_path, device, verdict, cpu_known, expected
):
    trials = sweeps.trials(batches=(1,), loads=("latency",), devices=(device,))
    made = []
    for trial in trials:
        one_made = sweeps.measure(trial, noise=0.0, verdict="stable")
        if trial.variant == sweeps.INT8.id:
            one_made = replace(scaled_cpu(one_made, 0.5), verdict=verdict)
        else:
            one_made = scaled_cpu(one_made, 1.0)
        if not cpu_known:
            windows = (replace(one_made.rounds[0].windows[0], cpu_s=None),)
            one_made = replace(one_made, rounds=(Round(0, windows), *one_made.rounds[1:]))
        made.append(one_made)
    table = load_results([sweeps.make(tmp_path / "s", made)])
    row = one(table, variant="int8")
    assert row["speedup_f32_x"] == pytest.approx(expected)
    by_cpu = "speedup-by-cpu-time" in [n.id for n in table.notes]
    assert by_cpu == (device == "CPU" and verdict == "contended" and cpu_known)
    width = row["speedup_f32_x_ci_high"] / row["speedup_f32_x"] - 1
    assert width == pytest.approx(CPU_TIME_DOUBT if by_cpu else 0, abs=1e-6), "no noise but this"


def test_environments_stand_side_by_side(tmp_path):
    table = load_results(
        [sweeps.whole(tmp_path / "a", env="a"), sweeps.whole(tmp_path / "b", env="b")]
    )
    assert len(table.rows) == 64
    assert table.rows["machine"].nunique() == 2
    assert len(table.environments) == 2


def test_metrics_that_differ_leave_agreement(tmp_path):
    a = sweeps.whole(tmp_path / "a", env="a", quality_metric="accuracy_top1")
    b = sweeps.whole(tmp_path / "b", env="b")
    about = load_results([a, b])
    assert about.quality_metric == "agreement_top1"
    assert [n.id for n in about.notes] == ["quality-metrics-differ"]
    assert load_results([a]).quality_metric == "accuracy_top1"


def test_a_speedup_over_what_was_not_measured_is_empty_with_the_reason(tmp_path):
    trials = [t for t in sweeps.trials(batches=(1,)) if t.precision == "default"]
    table = load_results([sweeps.make(tmp_path / "s", [sweeps.measure(t) for t in trials])])
    assert table.rows["speedup_f32_x"].isna().all()
    assert table.rows["speedup_default_x"].notna().all()
    (note,) = table.notes
    assert note.id == "no-speedup-f32"
    assert note.evidence == "fp32, int8, int8-weights"


def test_notes_with_other_evidence_stay_apart(tmp_path):
    made = [
        sweeps.measure(t, notes=(Note("layers", "precision", "50 bf16"),))
        if t.precision == "default"
        else sweeps.measure(t, notes=(Note("layers", "precision", "50 f32"),))
        for t in sweeps.trials(batches=(1,))
    ]
    notes = load_results([sweeps.make(tmp_path / "s", made)]).notes
    f32 = next(n for n in notes if n.evidence.startswith("50 f32"))
    assert "int8" not in f32.evidence
    assert len(notes) == 2


def test_notes_of_measurements_are_gathered_once(tmp_path):
    note = Note("noise", "it was noisy", "12 %")
    made = [sweeps.measure(t, notes=(note,)) for t in sweeps.trials(batches=(1,))]
    notes = load_results([sweeps.make(tmp_path / "s", made)]).notes
    assert [n.id for n in notes] == ["noise"]
    assert "more" in notes[0].evidence


def test_infinite_figures_are_unknown(tmp_path):
    trial = sweeps.trials()[0]
    folder = sweeps.make(tmp_path / "s", [sweeps.measure(trial)])
    journal = folder / "journal.jsonl"
    text = journal.read_text().replace('"latency_p50_ms": 7.2', '"latency_p50_ms": Infinity')
    journal.write_text(text)
    assert "Infinity" in text
    assert load_results([folder]).rows["latency_p50_ms"].isna().all()


@pytest.mark.parametrize("name", ["plan.json", "environment.json", "journal.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\n", b"{}\n", b"[1, 2\n", b"null\n"])
def test_damaged_files_are_one_clear_line(tmp_path, name, content):
    folder = sweeps.make(tmp_path / "s", [sweeps.measure(sweeps.trials()[0])])
    (folder / name).write_bytes(content)
    if name == "journal.jsonl" and not content:
        assert load_results([folder]).rows.empty
        return
    with pytest.raises(InputError) as caught:
        load_results([folder])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_sweep_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_results([tmp_path / "none"])


def test_some_rows_of_a_table_keep_their_details(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    part = table.with_rows(table.rows[table.rows["batch"] == 1])
    assert {row["batch"] for row in part.records} == {1}
    assert part.details_of(part.records[0]).properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert part.environments == table.environments


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


@given(rounds, rounds, st.sampled_from(["", "a", "b"]))
def test_a_speedup_of_any_rounds_is_a_ratio_or_unknown(mine, theirs, taken_with):
    trials = sweeps.trials(batches=(1,), loads=("latency",))
    base = sweeps.measure(trials[0], rounds=1)
    row = sweeps.measure(trials[2], rounds=1)
    result = compute_speedup(
        replace(row, rounds=mine, verdict="contended", taken_with="a"),
        replace(base, rounds=theirs, taken_with=taken_with),
    )
    assert math.isnan(result.ratio.value) or result.ratio.value > 0
    if result.ratio.known:
        assert result.ratio.low <= result.ratio.value <= result.ratio.high


def test_the_fixture_writes_what_a_sweep_does(tmp_path):
    folder = SweepFolder.open(sweeps.whole(tmp_path / "s"))
    assert len(list(folder.measurements())) == len(folder.plan.trials)
