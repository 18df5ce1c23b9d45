"""Compiler estimates: marked in every output, and chosen only if allowed."""

from __future__ import annotations

import json

import pytest

from ovtool.charts.sweep_charts import draw_sweep_charts
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

pytestmark = pytest.mark.usefixtures("local_renderer")

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
    """The estimates are a hundredth of the latencies of the CPU."""
    measurements = [
        sweeps.estimate(t, 0.03 * t.batch) if t.device == NPU else sweeps.measure(t)
        for t in sweeps.trials(batches=batches, loads=("latency",), devices=devices)
    ]
    return load_results([sweeps.make(folder, measurements)])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", ["CPU", NPU])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("e") / "s", [NPU])


def test_journal_keeps_the_status():
    estimate = sweeps.estimate(sweeps.trials(devices=[NPU])[0], 0.3)
    restored = Measurement.from_json(json.dumps(estimate.to_json()))
    assert restored == estimate
    assert restored.device == MARKED
    assert restored.label.endswith("(estimate)")


@pytest.mark.slow
def test_row_has_the_estimate_and_no_measured_figure(both):
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
    assert "latency_estimate_ms" in both.rows.columns


def test_estimates_are_neither_measured_nor_real_rows(both):
    rows = both.records
    assert {row["device"] for row in measured_rows(rows)} == {"CPU"}
    assert {row["device"] for row in real_rows(rows)} == {"CPU"}


@pytest.mark.parametrize("objective", ["throughput", "latency", "size"])
def test_estimates_are_not_chosen_by_default(both, objective):
    choice = choose_from(both, ChoiceSpec(objective=objective))
    assert choice.winner["device"] == "CPU"
    labels = [choice.label, *choice.ties, *(runner.label for runner in choice.runners_up)]
    assert not any("NPU" in label for label in labels)
    note = {note.id: note for note in choice.warnings}["estimates-left-out"]
    assert note.evidence == f"8 rows of {MARKED}"


def test_allowed_estimate_wins_by_latency_and_is_marked(both):
    choice = choose_from(both, fastest(max_latency_ms=1))
    assert choice.winner["device"] == MARKED
    assert choice.winner["latency_p99_ms"] is None
    assert f"on {MARKED}" in choice.headline
    assert all("0.0300 ms" in reason for reason in choice.reasons[:2])
    warnings = {note.id for note in choice.warnings}
    assert "winner-estimated" in warnings
    assert "quality-unknown" in warnings
    assert f"compile_model(model, {NPU!r}, properties)" in choice.snippet
    assert "estimates-left-out" not in warnings
    assert "objective-on-unknown" not in warnings, "all have a latency"
    assert json.loads(json.dumps(choice.to_json()))["winner"]["status"] == "estimated"


def test_limit_applies_to_the_estimate(both):
    with pytest.raises(NothingFitsError, match=r"0\.02 ms") as error:
        choose_from(both, fastest(max_latency_ms=0.02))
    assert MARKED in error.value.nearest.label
    for value in ("0.0300 ms", "0.0100 ms (50%)", "0.02"):
        assert value in str(error.value)


def test_estimates_have_no_throughput(both):
    choice = choose_from(both, ALLOWED)
    assert choice.winner["device"] == "CPU"
    note = {note.id: note for note in choice.warnings}["estimates-without-figure"]
    assert note.evidence == "8 rows"
    least = choose_from(both, fastest(min_throughput_fps=1))
    assert least.winner["device"] == "CPU"


@pytest.mark.slow
def test_estimates_alone_are_chosen_only_if_allowed(alone):
    with pytest.raises(NothingMeasuredError, match="8 rows of NPU") as error:
        choose_from(alone, ChoiceSpec(objective="latency"))
    assert "--allow-estimates" in error.value.hint
    assert choose_from(alone, fastest()).winner["batch"] == 1
    with pytest.raises(NothingMeasuredError):
        choose_from(alone, ALLOWED)
    assert build_content(alone, ALLOWED).choice is None


@pytest.mark.slow
def test_only_the_chart_of_estimates_draws_estimates_with_hollow_marks(both, alone):
    for table in (both, alone):
        drawn = {chart.name: chart for chart in draw_sweep_charts(table).drawn}
        estimates = drawn.pop("latency-estimates")
        assert not any("NPU" in json.dumps(chart.spec) for chart in drawn.values())
        text = json.dumps(estimates.spec)
        assert MARKED in text
        assert "estimate 0.0300, batch 1" in text
        hollow = [
            layer["mark"]
            for layer in estimates.spec["layer"]
            if layer["mark"]["type"] == "point" and layer["mark"]["filled"] is False
        ]
        assert [mark["strokeDash"] for mark in hollow] == [[3, 2]]
        assert any(MARKED in rows for rows in draw_sweep_charts(table).excluded_rows)


@pytest.mark.slow
def test_chart_is_absent_without_estimates(tmp_path):
    charts = draw_sweep_charts(table_of(tmp_path / "s", ["CPU"]))
    assert "latency-estimates" not in {chart.name for chart in charts.drawn}
    assert charts.excluded_rows == ()


def test_summary_marks_estimates(both, alone):
    for table in (both, alone):
        summary = summarize_table(table)
        rows = [row for row in summary.rows if MARKED in row.name]
        assert len(rows) == len(sweeps.MODELS) + 1
        for row in rows:
            assert row.latency.startswith("estimate 0.0300\nbatch 1")
            assert row.throughput == row.speedup == "-"
        assert f"rows of {MARKED}" in summary.caption
    assert not any(
        "estimate" in row.latency for row in summarize_table(both).rows if MARKED not in row.name
    )


@pytest.mark.slow
def test_page_and_markdown_mark_estimates(both, alone):
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
    assert "estimates" in build_content(alone, fastest()).objective


def test_note_lists_the_trials_once(both):
    (note,) = [n for n in both.notes if n.id == "estimate"]
    assert note.evidence.startswith(f"{NPU} by ")
    assert "(estimate)" in note.evidence
