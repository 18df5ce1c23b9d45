"""Rows of a sweep: from the journal, or from results.parquet while the file matches the journal."""

import os
import re
import shutil

import pandas as pd
import pytest
from pyarrow import parquet

from ovtool.core.columns import DETAILS
from ovtool.core.errors import InputError
from ovtool.core.notes import Note
from ovtool.core.sweep_folder import ENVIRONMENT, JOURNAL, PLAN, RESULTS, SweepFolder
from ovtool.report.write import report
from ovtool.results import sweep_rows
from ovtool.results.sweep_rows import write_sweep_rows
from ovtool.results.table import load_results
from tests.helpers import sweeps


def note_of(index):
    return (Note("seen", "sentence", f"{index} times", "remedy"), Note("all", "sentence", "equal"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A sweep with notes, quality, a failure and a device that was not there."""
    trials = sweeps.trials(batches=(1, 2))
    measurements = [sweeps.measure(t, notes=note_of(i)) for i, t in enumerate(trials)]
    measurements[0] = sweeps.with_quality(measurements[0], sweeps.FP32)
    measurements[5] = sweeps.failed(measurements[5].trial, "boom")
    root = tmp_path_factory.mktemp("rows")
    path = sweeps.make(root / "s", measurements, unavailable=[("NPU", "none")])
    write_sweep_rows(path)
    return path


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the sweep, to damage."""
    return shutil.copytree(written, tmp_path / "s")


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


@pytest.mark.slow
def test_stored_rows_equal_rows_of_journal(folder, journals):
    kept = load_results([folder])
    assert not journals
    (folder / RESULTS).unlink()
    assert_same(kept, load_results([folder]))
    assert len(journals) == 1
    assert kept.rows["status"].tolist().count("failed") == 1


@pytest.mark.slow
def test_results_hold_public_columns_then_details(folder):
    rows = pd.read_parquet(folder / RESULTS)
    table = load_results([folder])
    assert list(rows.columns) == [*table.rows.columns, DETAILS]
    pd.testing.assert_frame_equal(rows[list(table.rows.columns)], table.rows)


@pytest.mark.slow
def test_report_keeps_details_in_own_folder(folder, tmp_path, journals):
    append_to_journal(folder)
    report([folder])
    journals.clear()
    assert load_results([folder]).details
    assert not journals
    other = report([folder], out=tmp_path / "out").parquet
    assert list(pd.read_parquet(other).columns) == list(load_results([folder]).rows.columns)


@pytest.mark.slow
def test_details_of_row(folder):
    table = load_results([folder])
    row = table.rows.iloc[0]
    details = table.details
    assert details[row["environment"], row["trial"]].properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert details.get(("no", "row")) is None
    assert len(details) == len(table.rows)


def append_to_journal(folder):
    SweepFolder(folder).append([sweeps.measure(sweeps.trials()[5])])


def shorten_plan(folder):
    plan = SweepFolder(folder).plan
    SweepFolder(folder).write_plan(plan.model_copy(update={"trials": plan.trials[:3]}))


def edit_journal(folder):
    journal = folder / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"stable"', b'"staple"', 1))


def truncate_results(folder):
    (folder / RESULTS).write_bytes((folder / RESULTS).read_bytes()[:500])


def overwrite_results(folder):
    (folder / RESULTS).write_bytes(b"nonsense")


def change_a_page(folder):
    """Change a figure, so that the file is a valid table still."""
    table = parquet.read_table(folder / RESULTS)
    whole = (folder / RESULTS).read_bytes()
    place = 4 + len(whole[4:].partition(b"PAR1")[0]) // 8
    for start in range(place, len(whole)):
        changed = bytearray(whole)
        changed[start] ^= 1
        (folder / RESULTS).write_bytes(changed)
        try:
            read = parquet.read_table(folder / RESULTS)
        except (OSError, ValueError):
            continue
        if read.schema.metadata == table.schema.metadata and not read.equals(table):
            return
    pytest.fail("no change gives another table")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [append_to_journal, shorten_plan, truncate_results, overwrite_results, change_a_page],
)
def test_stored_rows_of_other_journal_or_plan_are_ignored(folder, journals, change):
    change(folder)
    journals.clear()
    loaded = load_results([folder])
    assert journals
    (folder / RESULTS).unlink()
    assert_same(loaded, load_results([folder]))


def test_edited_journal_is_input_error(folder):
    edit_journal(folder)
    with pytest.raises(InputError, match=r"journal\.jsonl, line 1"):
        load_results([folder])


def test_stored_rows_of_other_columns_are_ignored(folder, journals, monkeypatch):
    monkeypatch.setattr(sweep_rows, "NAMES", (*sweep_rows.NAMES, "another"))
    load_results([folder])
    assert journals


def test_damaged_plan_is_input_error(folder):
    (folder / PLAN).write_text("{}")
    with pytest.raises(InputError, match=r"plan\.json"):
        load_results([folder])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plan.json", "environment.json", "journal.jsonl", RESULTS])
def test_a_flipped_bit_never_gives_other_figures(folder, name):
    loaded, file = load_results([folder]), folder / name
    content = file.read_bytes()
    for place in (*range(0, len(content), max(1, len(content) // 10)), len(content) - 1):
        flipped = bytes([content[place] ^ 1 << place % 8])
        file.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            again = load_results([folder])
        except InputError as error:
            assert name in f"{error}"  # noqa: PT017 - or the figures are the same
        else:
            assert name not in {"plan.json", "environment.json"}
            assert_same(loaded, again)


def test_infinite_figures_are_unknown(tmp_path):
    trial = sweeps.trials()[0]
    folder = sweeps.make(tmp_path / "s", [sweeps.measure(trial)])
    journal = folder / "journal.jsonl"
    text = journal.read_text().replace('"latency_p50_ms": 7.2', '"latency_p50_ms": Infinity')
    journal.write_text(re.sub(r', "crc32": "\w+"', "", text))
    assert "Infinity" in text
    assert load_results([folder]).rows["latency_p50_ms"].isna().all()


@pytest.mark.parametrize("name", ["plan.json", "environment.json", "journal.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\n", b"{}\n", b"[1, 2\n", b"null\n"])
def test_damaged_file_is_named_in_single_line(tmp_path, name, content):
    folder = sweeps.make(tmp_path / "s", [sweeps.measure(sweeps.trials()[0])])
    (folder / name).write_bytes(content)
    if name == "journal.jsonl" and not content:
        assert load_results([folder]).rows.empty
        return
    with pytest.raises(InputError) as caught:
        load_results([folder])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fixture_writes_all_planned_trials(tmp_path):
    folder = SweepFolder.open(sweeps.whole(tmp_path / "s"))
    assert len(list(folder.measurements())) == len(folder.plan.trials)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("name", [PLAN, ENVIRONMENT, JOURNAL])
def test_a_pipe_in_a_sweep_does_not_block(tmp_path, name):
    folder = sweeps.whole(tmp_path / "sweep", batches=(1,))
    write_sweep_rows(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=name):
        load_results([folder])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_rows_that_are_a_pipe_are_built_again(tmp_path):
    folder = sweeps.whole(tmp_path / "sweep", batches=(1,))
    expected = len(load_results([folder]).records)
    os.mkfifo(folder / RESULTS)
    assert len(load_results([folder]).records) == expected
