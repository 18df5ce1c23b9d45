"""A compiler's estimates: called that wherever they are shown, and chosen only when allowed."""

from __future__ import annotations

import json

import pytest

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.measurement import Measurement
from ovtool.core.notes import NOTES
from ovtool.report.content import build_content
from ovtool.report.markdown import format_markdown
from ovtool.report.summary import summarize_table
from ovtool.results.rows import estimated_rows, measured_rows, real_rows
from ovtool.results.table import load_results
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps
from tests.helpers.report_pages import cells, page_of

NPU, MARKED = "NPU.4000", "NPU.4000 (estimate)"
ALLOWED = ChoiceSpec(allow_estimates=True)
MEASURED = {
    "throughput_fps", "latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "latency_mean_ms",
    "latency_min_ms", "latency_max_ms", "speedup_f32_x", "speedup_default_x", "compile_cold_ms",
    "energy_mj_per_sample", "cpu_s_per_sample",
}  # fmt: skip


def fastest(**limits):
    return ChoiceSpec(allow_estimates=True, objective="latency", **limits)


def table_of(folder, devices, batches=(1, 8)):
    """The estimate is a hundredth of what the CPU measures."""
    made = [
        sweeps.estimate(t, 0.03 * t.batch) if t.device == NPU else sweeps.measure(t)
        for t in sweeps.trials(batches=batches, loads=("latency",), devices=devices)
    ]
    return load_results([sweeps.make(folder, made)])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["CPU", NPU])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", [NPU])


def test_a_journal_keeps_the_status():
    one = sweeps.estimate(sweeps.trials(devices=[NPU])[0], 0.3)
    again = Measurement.from_json(json.dumps(one.to_json()))
    assert again == one
    assert again.device == MARKED
    assert again.label.endswith("(estimate)")


def test_a_row_has_the_estimate_and_no_figure_that_is_measured(both):
    rows = estimated_rows(both.records)
    assert len(rows) == len(both.rows) / 2
    for row in rows:
        assert row["device"] == MARKED
        assert row["latency_estimate_ms"] == pytest.approx(0.03 * row["batch"])
        assert row["blob_mib"] == 3
        assert row["trial_compile_ms"] == 1500
        assert {name for name in MEASURED if row[name] is not None} == set()
    for row in measured_rows(both.records):
        assert row["latency_estimate_ms"] is None
    assert "ESTIMATE" in BY_NAME["latency_estimate_ms"].meaning
    assert "latency_estimate_ms" in both.rows.columns


def test_they_are_among_neither_the_measured_nor_the_real(both):
    rows = both.records
    assert {row["device"] for row in measured_rows(rows)} == {"CPU"}
    assert {row["device"] for row in real_rows(rows)} == {"CPU"}


@pytest.mark.parametrize("objective", ["throughput", "latency", "size"])
def test_they_are_never_chosen_unasked(both, objective):
    choice = choose_from(both, ChoiceSpec(objective=objective))
    assert choice.winner["device"] == "CPU"
    told = [choice.label, *choice.ties, *(runner.label for runner in choice.runners_up)]
    assert not any("NPU" in text for text in told)
    note = {note.id: note for note in choice.warnings}["estimates-left-out"]
    assert note.evidence == f"8 rows of {MARKED}"


def test_allowed_ones_win_by_latency_and_headline_and_warning_say_what_they_are(both):
    choice = choose_from(both, fastest(max_latency_ms=1))
    assert choice.winner["device"] == MARKED
    assert choice.winner["latency_p99_ms"] is None
    assert f"on {MARKED}" in choice.headline
    assert "compiler's estimate" in choice.headline
    assert "0.0300 ms (the compiler's estimate)" in choice.reasons[0]
    assert "at most 1 ms: 0.0300 ms (the compiler's estimate)" in choice.reasons[1]
    warned = {note.id for note in choice.warnings}
    assert "winner-estimated" in warned
    assert "quality-unknown" in warned
    assert f"compile_model(model, {NPU!r}, properties)" in choice.snippet
    assert "estimates-left-out" not in warned
    assert "objective-on-unknown" not in warned, "all have a latency"
    assert json.loads(json.dumps(choice.to_json()))["winner"]["status"] == "estimated"


def test_a_limit_goes_by_the_estimate(both):
    with pytest.raises(NothingFitsError, match=r"0\.02 ms") as told:
        choose_from(both, fastest(max_latency_ms=0.02))
    assert MARKED in told.value.nearest.label
    assert "0.0300 ms (the compiler's estimate): 0.0100 ms (50 %) over 0.02" in str(told.value)


def test_no_throughput_is_made_of_them(both):
    choice = choose_from(both, ALLOWED)
    assert choice.winner["device"] == "CPU"
    note = {note.id: note for note in choice.warnings}["estimates-without-figure"]
    assert note.evidence == "8 rows"
    least = choose_from(both, fastest(min_throughput_fps=1))
    assert least.winner["device"] == "CPU"


def test_with_nothing_else_there_is_a_choice_only_where_they_are_allowed(alone):
    with pytest.raises(NothingMeasuredError, match="8 rows of NPU") as told:
        choose_from(alone, ChoiceSpec(objective="latency"))
    assert "--allow-estimates" in told.value.hint
    assert choose_from(alone, fastest()).winner["batch"] == 1
    with pytest.raises(NothingMeasuredError, match="throughput"):
        choose_from(alone, ALLOWED)
    assert build_content(alone, ALLOWED).choice is None


def test_charts_draw_them_hollow_and_in_a_chart_of_their_own(both, alone):
    for table in (both, alone):
        drawn = {chart.name: chart for chart in draw_sweep_charts(table).drawn}
        guesses = drawn.pop("latency-estimates")
        assert not any("NPU" in json.dumps(chart.spec) for chart in drawn.values())
        text = json.dumps(guesses.spec)
        assert MARKED in text
        assert "estimate 0.0300, batch 1" in text
        hollow = [
            layer["mark"]
            for layer in guesses.spec["layer"]
            if layer["mark"]["type"] == "point" and layer["mark"]["filled"] is False
        ]
        assert [mark["strokeDash"] for mark in hollow] == [[3, 2]]
        assert any(MARKED in rows for rows in draw_sweep_charts(table).excluded_rows)


def test_without_estimates_there_is_no_such_chart(tmp_path):
    made = draw_sweep_charts(table_of(tmp_path / "s", ["CPU"]))
    assert "latency-estimates" not in {chart.name for chart in made.drawn}
    assert made.excluded_rows == ()


def test_the_summary_calls_them_estimates(both, alone):
    for table in (both, alone):
        found = summarize_table(table)
        rows = [row for row in found.rows if MARKED in row.name]
        assert len(rows) == len(sweeps.MODELS) + 1
        for row in rows:
            assert row.latency.startswith("estimate 0.0300\nbatch 1")
            assert row.throughput == row.speedup == "-"
        assert f"rows of {MARKED}" in found.caption
    assert not any(
        "estimate" in row.latency for row in summarize_table(both).rows if MARKED not in row.name
    )


def test_page_and_markdown_say_it(both, alone):
    content = build_content(both, ChoiceSpec())
    shown = page_of(content)
    assert (cells(shown).count(MARKED), cells(shown).count("NPU.4000")) == (8, 0)
    assert content.failed == ()
    for text in (shown, format_markdown(content)):
        assert f"8 rows of {MARKED}" in text
        assert "latency-estimates" in text
        assert NOTES["estimate"][0][1:] in text.replace("&#39;", "'")
    nothing = build_content(alone, ChoiceSpec(objective="latency"))
    assert nothing.choice is None
    assert MARKED in nothing.no_choice
    assert "estimates allowed" in build_content(alone, fastest()).objective


def test_notes_say_it_once_with_the_trials(both):
    (note,) = [n for n in both.notes if n.id == "estimate"]
    assert note.evidence.startswith(f"{NPU} by ")
    assert "(estimate)" in note.evidence
