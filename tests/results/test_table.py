"""The results table: rows of one and of many sweeps."""

import math

import numpy as np
import pytest

from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.notes import Note
from ovtool.core.sweep_folder import PlannedVariant
from ovtool.results.table import load_results
from tests.helpers import sweeps


def single_row(table, **values):
    matches = (table.rows[name] == value for name, value in values.items())
    (position,) = np.flatnonzero(np.logical_and.reduce(list(matches)))
    return table.rows.iloc[position]


@pytest.mark.slow
def test_columns_are_declared_columns_in_order(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    assert list(table.rows.columns) == [name for column in COLUMNS for name in column.names]
    assert len(table.rows) == 32
    row = single_row(table, variant="int8", batch=4, load="throughput")
    assert row["device"] == "CPU"
    assert row["machine"] == sweeps.environment().machine
    assert row["environment"] == sweeps.environment().id
    assert row["sweep"] == "s"
    assert row["variant_id"] == sweeps.INT8.id
    assert row["model_mib"] == 4.83
    assert table.rows["variant"].iloc[0] == "fp32", "the baseline comes first"


@pytest.mark.slow
def test_no_folders_or_measurements_give_empty_table(tmp_path):
    empty = sweeps.make(tmp_path / "s", [], planned=sweeps.trials())
    for folders in ([], [empty]):
        table = load_results(folders)
        assert table.rows.empty
        assert "variant" in table.rows.columns
    assert [n.id for n in load_results([empty]).notes] == ["sweep-unfinished"]


@pytest.mark.slow
def test_copied_sweep_gives_each_row_once(tmp_path):
    folder = sweeps.whole(tmp_path / "s")
    copy = sweeps.whole(tmp_path / "elsewhere" / "s")
    table = load_results([folder, copy, folder])
    assert len(table.rows) == 32
    assert not table.notes


@pytest.mark.slow
def test_latest_of_two_sweeps_is_kept_with_note(tmp_path):
    trial = sweeps.trials()[0]
    old = sweeps.measure(trial, finished="2026-01-01T00:00:00Z", verdict="unsteady")
    new = sweeps.measure(trial, finished="2026-02-01T00:00:00Z")
    a, b = sweeps.make(tmp_path / "a", [new]), sweeps.make(tmp_path / "b", [old])
    table = load_results([a, b])
    assert table.rows["verdict"].tolist() == ["stable"]
    assert "measured-twice" in [n.id for n in table.notes]


def test_failed_trials_are_rows_and_unavailable_devices_are_kept(tmp_path):
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


@pytest.mark.slow
def test_environments_are_not_merged(tmp_path):
    table = load_results(
        [sweeps.whole(tmp_path / "a", env="a"), sweeps.whole(tmp_path / "b", env="b")]
    )
    assert len(table.rows) == 64
    assert table.rows["machine"].nunique() == 2
    assert len(table.environments) == 2


@pytest.mark.slow
def test_different_quality_metrics_leave_agreement(tmp_path):
    a = sweeps.whole(tmp_path / "a", env="a", quality_metric="accuracy_top1")
    b = sweeps.whole(tmp_path / "b", env="b")
    table = load_results([a, b])
    assert table.quality_metric == "agreement_top1"
    assert [n.id for n in table.notes] == ["quality-metrics-differ"]
    assert load_results([a]).quality_metric == "accuracy_top1"


@pytest.mark.slow
def test_later_sweep_replaces_row_and_notes(tmp_path):
    trial = sweeps.trials()[0]
    old = sweeps.measure(trial, notes=(Note("old", "of the old"),))
    new = sweeps.measure(trial, finished="2026-02-01T00:00:00Z", notes=(Note("new", "of the new"),))
    table = load_results([sweeps.make(tmp_path / "a", [old]), sweeps.make(tmp_path / "b", [new])])
    assert {n.id for n in table.notes} & {"old", "new"} == {"new"}


def test_missing_sweep_is_input_error(tmp_path):
    with pytest.raises(InputError, match="none"):
        load_results([tmp_path / "none"])


@pytest.mark.slow
def test_part_of_table_keeps_details(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    part = table.with_rows(table.rows[table.rows["batch"] == 1])
    assert {row["batch"] for row in part.records} == {1}
    assert part.details_of(part.records[0]).properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert part.environments == table.environments


@pytest.mark.slow
def test_a_relative_variant_is_located_from_any_folder(tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders = ("gone", "reports/int8", "x" * 5000)
    variants = {
        model.id: PlannedVariant(
            name=model.name, folder=name, model_mib=1.0, compressed=False, baseline=model.id
        )
        for model, name in zip(sweeps.MODELS, folders, strict=True)
    }
    folder = sweeps.whole(project / "reports" / "s", batches=(1,), variants=variants)
    (project / "reports" / "int8").mkdir()
    (project / "reports" / "int8" / "variant.json").write_text("{}")
    for place, expected in ((project, "reports/int8"), (elsewhere, str(project / "reports/int8"))):
        monkeypatch.chdir(place)
        table = load_results([folder])
        folders = {row["variant"]: table.details_of(row).folder for row in table.records}
        assert folders == {"int8": expected, "fp32": "gone", "int8-weights": "x" * 5000}
