"""What an emulated device did is marked wherever it is shown, and neither drawn nor chosen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core.device_names import mark_device
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.measurement import Measurement
from ovtool.core.notes import make_note
from ovtool.report.content import build_content
from ovtool.report.markdown import format_markdown
from ovtool.report.summary import summarize_table
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps
from tests.helpers.report_pages import column_of, page_of

MARKED = "GPU (emulated)"


def played(measurement):
    """As a sweep marks what ran on an emulated device."""
    note = make_note("emulated", mark_device(measurement.trial.device))
    return replace(measurement, emulated=True, notes=(*measurement.notes, note))


def table_of(folder, devices):
    """The emulated GPU is several times as fast as the CPU, and is wrong about it."""
    made = [
        played(sweeps.measure(t)) if "GPU" in t.device else sweeps.measure(t)
        for t in sweeps.trials(batches=(1, 8), devices=devices)
    ]
    return load_results([sweeps.make(folder, made)])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["CPU", "GPU"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["GPU"])


def test_a_journal_keeps_the_mark_and_older_ones_have_none():
    one = sweeps.measure(sweeps.trials(devices=["GPU"])[0])
    document = played(one).to_json()
    assert Measurement.from_json(json.dumps(document)) == played(one)
    del document["emulated"]
    assert not Measurement.from_json(json.dumps(document)).emulated


def test_the_table_marks_the_rows(both):
    rows = both.rows
    marked = rows[rows["emulated"].notna()]
    assert set(marked["device"]) == {MARKED}
    assert set(rows[rows["emulated"].isna()]["device"]) == {"CPU"}
    assert len(marked) == len(rows) / 2
    assert marked["throughput_fps"].max() > rows[rows["device"] == "CPU"]["throughput_fps"].max()


def test_the_choice_leaves_them_out_and_says_so(both):
    choice = choose_from(both)
    assert choice.winner["device"] == "CPU"
    told = [choice.label, *choice.ties, *(runner.label for runner in choice.runners_up)]
    assert not any("GPU" in text for text in told)
    note = {note.id: note for note in choice.warnings}["emulated-left-out"]
    assert note.evidence == f"16 rows of {MARKED}"


def test_with_nothing_else_there_is_no_choice(alone):
    with pytest.raises(NothingMeasuredError, match="16 rows") as told:
        choose_from(alone)
    assert f"16 rows of {MARKED}" in str(told.value)


def test_charts_leave_them_out_and_say_so(both, alone):
    drawn = draw_sweep_charts(both)
    assert {"latency-throughput", "speedup-f32"} <= {chart.name for chart in drawn.drawn}
    assert not any("GPU" in json.dumps(chart.standalone_spec) for chart in drawn.drawn)
    assert any(f"16 rows of {MARKED}" in rows for rows in drawn.excluded_rows)
    assert draw_sweep_charts(alone).drawn == ()


def test_every_row_of_the_summary_is_marked_even_where_there_is_one_device(both, alone):
    names = [row.name.split("\n")[0] for row in summarize_table(alone).rows]
    assert names
    assert all(MARKED in name for name in names)
    assert f"16 rows of {MARKED}" in summarize_table(both).caption
    assert (
        "emulated"
        not in summarize_table(both.with_rows(both.rows[both.rows["device"] == "CPU"])).caption
    )


def test_a_virtual_device_is_marked_and_says_what_it_came_to(tmp_path):
    trials = sweeps.trials(batches=(1,), devices=["AUTO"])
    made = [played(sweeps.measure(trial, ran_on="GPU.0")) for trial in trials]
    rows = summarize_table(load_results([sweeps.make(tmp_path / "s", made)])).rows
    assert rows
    assert all("AUTO (emulated) (ran on GPU.0)" in row.name for row in rows)


def test_page_and_markdown_say_it(both, alone):
    content = build_content(both, ChoiceSpec())
    shown = page_of(content)
    devices = column_of(shown, "device")
    assert devices.count(MARKED) == 16
    assert "GPU" not in devices
    for text in (shown, format_markdown(content)):
        assert f"16 rows of {MARKED}" in text
    nothing = build_content(alone, ChoiceSpec())
    assert nothing.choice is None
    assert "on a real device" in nothing.no_choice


def test_notes_say_it_once_with_the_trials(both):
    (note,) = [n for n in both.notes if n.id == "emulated"]
    assert note.evidence.startswith(MARKED)
    assert "latency (emulated)" in note.evidence


def test_failed_rows_are_no_left_out_figures(tmp_path):
    (trial,) = sweeps.trials([sweeps.INT8], batches=(1,), loads=("latency",), devices=["GPU"])
    (real,) = sweeps.trials([sweeps.INT8], batches=(1,), loads=("latency",))
    made = [played(sweeps.failed(trial, "no")), sweeps.measure(real)]
    content = build_content(load_results([sweeps.make(tmp_path / "s", made)]), ChoiceSpec())
    assert "emulated-left-out" not in {note.id for note in content.choice.warnings}
    assert content.charts.excluded_rows == ()
    (failed,) = content.failed
    assert MARKED in failed.label
