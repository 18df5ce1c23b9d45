"""Rows kept beside a journal: the same table as from the journal, and never that of another."""

import json

import pandas as pd
import pytest

from ovtool.core.errors import InputError
from ovtool.core.notes import Note
from ovtool.core.sweep_folder import JOURNAL, PLAN, RESULTS, SweepFolder
from ovtool.results import sweep_rows
from ovtool.results.rows import Config
from ovtool.results.sweep_rows import write_sweep_rows
from ovtool.results.table import load_results
from tests.helpers import sweeps


def note_of(index):
    return (Note("seen", "it was seen", f"{index} times", "look"), Note("all", "of all", "alike"))


@pytest.fixture
def folder(tmp_path):
    """A sweep with notes, quality, a failure and a device that was not there."""
    made = [sweeps.measure(t, notes=note_of(i)) for i, t in enumerate(sweeps.trials())]
    made[0] = sweeps.with_quality(made[0], sweeps.FP32)
    made[5] = sweeps.failed(made[5].trial, "boom")
    path = sweeps.make(tmp_path / "s", made, unavailable=[("NPU", "none")])
    write_sweep_rows(path)
    return path


@pytest.fixture
def journals(monkeypatch):
    """How often a journal was read."""
    count = []
    real = SweepFolder.measurements

    def counted(self):
        count.append(self.path)
        return real(self)

    monkeypatch.setattr(SweepFolder, "measurements", counted)
    return count


def assert_same(a, b):
    pd.testing.assert_frame_equal(a.rows, b.rows)
    for name in ("environments", "unavailable", "notes", "quality_metric"):
        assert getattr(a, name) == getattr(b, name)
    assert dict(a.details.items()) == dict(b.details.items())


def test_kept_rows_are_those_of_the_journal(folder, journals):
    kept = load_results([folder])
    assert not journals, "the rows stand for the journal"
    (folder / RESULTS).unlink()
    assert_same(kept, load_results([folder]))
    assert len(journals) == 1
    assert kept.rows["status"].tolist().count("failed") == 1


def test_what_is_behind_a_row_is_found(folder):
    table = load_results([folder])
    row = table.rows.iloc[0]
    found = table.details
    assert found[row["environment"], row["trial"]].properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert found.get(("no", "row")) is None
    assert len(found) == len(table.rows)


def longer(folder):
    SweepFolder(folder).append([sweeps.measure(sweeps.trials()[5])])


def planned_anew(folder):
    plan = SweepFolder(folder).plan
    SweepFolder(folder).write_plan(plan.model_copy(update={"trials": plan.trials[:3]}))


def edited(folder):
    journal = folder / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"stable"', b'"staple"', 1))


def cut(folder):
    (folder / RESULTS).write_bytes((folder / RESULTS).read_bytes()[:500])


def nonsense(folder):
    (folder / RESULTS).write_bytes(b"nonsense")


@pytest.mark.parametrize("change", [longer, planned_anew, cut, nonsense])
def test_rows_of_another_journal_or_plan_are_not_taken(folder, journals, change):
    change(folder)
    journals.clear()
    found = load_results([folder])
    assert journals
    (folder / RESULTS).unlink()
    assert_same(found, load_results([folder]))


def test_an_edited_journal_is_read_and_refused(folder):
    edited(folder)
    with pytest.raises(InputError, match="line 1: not a measurement"):
        load_results([folder])


def test_rows_of_other_columns_are_not_taken(folder, journals, monkeypatch):
    monkeypatch.setattr(sweep_rows, "NAMES", (*sweep_rows.NAMES, "another"))
    load_results([folder])
    assert journals


def test_a_damaged_plan_is_no_match(folder):
    (folder / PLAN).write_text("{}")
    with pytest.raises(InputError, match=r"plan\.json"):
        load_results([folder])


def test_evidence_that_differs_from_trial_to_trial_is_shown_by_examples(folder):
    notes = {n.id: n for n in load_results([folder]).notes}
    first = sweeps.trials()[0].label
    assert notes["seen"].evidence.startswith(f"{first}: 0 times; ")
    assert notes["seen"].evidence.endswith(" and 28 more")
    assert notes["seen"].remedy == "look"
    assert notes["all"].evidence.startswith(f"alike; {first}; ")


def test_quality_is_shared_between_sweeps_of_one_machine(tmp_path):
    trials = sweeps.trials(batches=(1, 2), loads=("latency",))
    judged = [sweeps.with_quality(sweeps.measure(t), sweeps.FP32) for t in trials if t.batch == 1]
    plain = [sweeps.measure(t) for t in trials if t.batch == 2]
    table = load_results([sweeps.make(tmp_path / "a", judged), sweeps.make(tmp_path / "b", plain)])
    assert table.rows["agreement_top1"].notna().all()
    other = sweeps.make(tmp_path / "c", [sweeps.measure(t, env="c") for t in trials], env="c")
    table = load_results([tmp_path / "a", other])
    assert table.rows.loc[table.rows["sweep"] == "c", "agreement_top1"].isna().all()


def test_a_later_sweep_takes_the_place_of_an_earlier_one_with_its_notes(tmp_path):
    trial = sweeps.trials()[0]
    old = sweeps.measure(trial, notes=(Note("old", "of the old"),))
    new = sweeps.measure(trial, finished="2026-02-01T00:00:00Z", notes=(Note("new", "of the new"),))
    about = load_results([sweeps.make(tmp_path / "a", [old]), sweeps.make(tmp_path / "b", [new])])
    assert {n.id for n in about.notes} & {"old", "new"} == {"new"}


def test_rows_are_mappings_with_none_for_what_is_unknown(folder):
    table = load_results([folder])
    rows = table.records
    for row, (_, series) in zip(rows, table.rows.iterrows(), strict=True):
        assert list(row) == list(table.rows.columns)
        expected = {k: None if pd.isna(v) else v for k, v in series.items()}
        assert dict(row) == expected
        assert Config.from_row(row) == Config.from_row(expected)
    assert type(rows[0]["batch"]) is int
    assert type(rows[0]["throughput_fps"]) is float
    json.dumps(dict(rows[0]))
    with pytest.raises(KeyError):
        rows[0]["no such column"]
    assert rows[0].get("no such column") is None
