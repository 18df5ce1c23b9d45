"""Warnings about a choice."""

from __future__ import annotations

import pytest

from ovtool.core.notes import make_note
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_results([sweeps.whole(tmp_path_factory.mktemp("t") / "s")])


def ids(choice):
    return [note.id for note in (*choice.warnings, *choice.explanations)]


def test_warnings_of_disturbed_failed_and_missing_rows(tmp_path):
    trials = sweeps.trials(batches=(1, 8))
    made = [sweeps.contended(sweeps.measure(t)) for t in trials[:-1]]
    made.append(sweeps.failed(trials[-1], "out of memory"))
    choice = choose_from(
        load_results([sweeps.make(tmp_path / "s", made, unavailable=[("NPU", "no driver")])])
    )
    assert {"measured-contended", "quality-unknown", "failed-rows", "device-unavailable"} <= set(
        ids(choice)
    )


def test_lower_quality_without_a_limit_is_a_warning(table):
    by_quality = ChoiceSpec(objective="throughput=9,quality=1")
    assert "quality-lower" in ids(choose_from(table, by_quality))
    assert "quality-interval-wide" in ids(choose_from(table))
    assert "quality-lower" not in ids(choose_from(table, ChoiceSpec(min_quality=0.5)))


def test_several_machines_are_a_warning(tmp_path):
    folders = [sweeps.whole(tmp_path / e, env=e) for e in "ab"]
    choice = choose_from(load_results(folders))
    assert "several-environments" in ids(choice)
    assert "env 1" in choice.label


def test_warnings_about_the_recommended_variant_only(tmp_path):
    notes = {
        "fp32": (make_note("outputs-not-checked", "scores"),),
        "int8": (make_note("conversion-not-checked", "x.py line 3"),),
    }
    folder = sweeps.whole(tmp_path / "s", variant_notes=notes)
    choice = choose_from(load_results([folder]), ChoiceSpec(min_quality=0))
    assert choice.winner["variant"] == "int8"
    evidence = {note.id: note.evidence for note in choice.warnings}
    assert evidence["conversion-not-checked"] == "x.py line 3"
    assert "outputs-not-checked" not in evidence
