"""Rows of emulated devices: marked in every output, neither drawn nor chosen."""

from __future__ import annotations

import json
import re
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

pytestmark = pytest.mark.usefixtures("local_renderer")

MARKED = "GPU (emulated)"


def emulated(measurement):
    """The measurement as on an emulated device."""
    note = make_note("emulated", mark_device(measurement.trial.device))
    return replace(measurement, emulated=True, notes=(*measurement.notes, note))


def table_of(folder, devices):
    """The emulated GPU is several times faster than the CPU."""
    measurements = [
        emulated(sweeps.measure(t)) if "GPU" in t.device else sweeps.measure(t)
        for t in sweeps.trials(batches=(1, 8), devices=devices)
    ]
    return load_results([sweeps.make(folder, measurements)])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["CPU", "GPU"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["GPU"])


def test_journal_keeps_the_mark_and_older_journals_have_none():
    measurement = sweeps.measure(sweeps.trials(devices=["GPU"])[0])
    document = emulated(measurement).to_json()
    assert Measurement.from_json(json.dumps(document)) == emulated(measurement)
    del document["emulated"]
    assert not Measurement.from_json(json.dumps(document)).emulated


@pytest.mark.slow
def test_table_marks_the_rows(both):
    rows = both.rows
    marked = rows[rows["emulated"].notna()]
    assert set(marked["device"]) == {MARKED}
    assert set(rows[rows["emulated"].isna()]["device"]) == {"CPU"}
    assert len(marked) == len(rows) / 2
    assert marked["throughput_fps"].max() > rows[rows["device"] == "CPU"]["throughput_fps"].max()


@pytest.mark.slow
def test_choice_excludes_the_rows_with_a_warning(both):
    choice = choose_from(both)
    assert choice.winner["device"] == "CPU"
    labels = [choice.label, *choice.ties, *(runner.label for runner in choice.runners_up)]
    assert not any("GPU" in label for label in labels)
    note = {note.id: note for note in choice.warnings}["emulated-left-out"]
    assert note.evidence == f"16 rows of {MARKED}"


def test_emulated_rows_alone_give_no_choice(alone):
    with pytest.raises(NothingMeasuredError, match=re.escape(f"16 rows of {MARKED}")):
        choose_from(alone)


@pytest.mark.slow
def test_charts_exclude_the_rows_with_a_count(both, alone):
    charts = draw_sweep_charts(both)
    assert {"latency-throughput", "speedup-f32"} <= {chart.name for chart in charts.drawn}
    assert not any("GPU" in json.dumps(chart.standalone_spec) for chart in charts.drawn)
    assert any(f"16 rows of {MARKED}" in rows for rows in charts.excluded_rows)
    assert draw_sweep_charts(alone).drawn == ()


def test_summary_marks_every_row_even_of_a_single_device(both, alone):
    names = [row.name.split("\n")[0] for row in summarize_table(alone).rows]
    assert names
    assert all(MARKED in name for name in names)
    assert f"16 rows of {MARKED}" in summarize_table(both).caption
    cpu_only = both.with_rows(both.rows[both.rows["device"] == "CPU"])
    assert MARKED not in summarize_table(cpu_only).caption


def test_virtual_device_is_marked_with_the_device_it_ran_on(tmp_path):
    trials = sweeps.trials(batches=(1,), devices=["AUTO"])
    measurements = [emulated(sweeps.measure(trial, ran_on="GPU.0")) for trial in trials]
    rows = summarize_table(load_results([sweeps.make(tmp_path / "s", measurements)])).rows
    assert rows
    assert all("AUTO (emulated) (ran on GPU.0)" in row.name for row in rows)


@pytest.mark.slow
def test_page_and_markdown_count_the_rows(both, alone):
    content = build_content(both, ChoiceSpec())
    shown = page_of(content)
    devices = column_of(shown, "device")
    assert devices.count(MARKED) == 16
    assert "GPU" not in devices
    for text in (shown, format_markdown(content)):
        assert f"16 rows of {MARKED}" in text
    nothing = build_content(alone, ChoiceSpec())
    assert nothing.choice is None
    assert f"16 rows of {MARKED}" in nothing.no_choice


def test_note_lists_the_trials_once(both):
    (note,) = [n for n in both.notes if n.id == "emulated"]
    assert note.evidence.startswith(MARKED)
    assert "latency (emulated)" in note.evidence


@pytest.mark.slow
def test_failed_rows_are_not_counted_as_excluded(tmp_path):
    (trial,) = sweeps.trials([sweeps.INT8], batches=(1,), loads=("latency",), devices=["GPU"])
    (real,) = sweeps.trials([sweeps.INT8], batches=(1,), loads=("latency",))
    measurements = [emulated(sweeps.failed(trial, "no")), sweeps.measure(real)]
    content = build_content(load_results([sweeps.make(tmp_path / "s", measurements)]), ChoiceSpec())
    assert "emulated-left-out" not in {note.id for note in content.choice.warnings}
    assert content.charts.excluded_rows == ()
    (failed,) = content.failed
    assert MARKED in failed.label
