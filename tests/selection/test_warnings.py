"""Warnings about a choice."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_lower_quality_without_a_limit_is_a_warning(table):
    by_quality = ChoiceSpec(objective="throughput=9,quality=1")
    assert "quality-lower" in ids(choose_from(table, by_quality))
    assert "quality-interval-wide" in ids(choose_from(table))
    assert "quality-lower" not in ids(choose_from(table, ChoiceSpec(min_quality=0.5)))


@pytest.mark.slow
def test_several_machines_are_a_warning(tmp_path):
    folders = [sweeps.whole(tmp_path / e, env=e) for e in "ab"]
    choice = choose_from(load_results(folders))
    evidence = {note.id: note.evidence for note in choice.warnings}
    assert "cpu" in evidence["several-environments"]
    assert "openvino" not in evidence["several-environments"]
    assert "env 1" in choice.label


@pytest.mark.slow
def test_a_device_that_several_sweeps_miss_is_named_once(tmp_path):
    missing = [("NPU", "no driver")]
    folders = [sweeps.whole(tmp_path / e, env=e, unavailable=missing) for e in "abc"]
    warnings = choose_from(load_results(folders)).warnings
    (note,) = [n for n in warnings if n.id == "device-unavailable"]
    assert note.evidence == "NPU: no driver (a, b, c)"


@pytest.mark.slow
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


def by_labels(folder, samples, **losses):
    """A sweep whose compressed variants have a loss [low, value, high] by labels."""
    made = []
    for trial in sweeps.trials():
        low, value, high = losses.get(trial.variant_name, (-0.2, 0.0, 0.2))
        figures = {
            "accuracy_top1": 0.8 - value,
            "quality_loss": value,
            "quality_loss_ci_low": low,
            "quality_loss_ci_high": high,
            "quality_samples": float(samples),
        }
        measurement = sweeps.measure(trial)
        made.append(replace(measurement, figures={**measurement.figures, **figures}))
    return load_results([sweeps.make(folder, made, quality_metric="accuracy_top1")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("losses", "named"),
    [
        # Interval of McNemar's test for 40 samples without a difference: 3.84 / 43.84.
        ({"int8": (-0.088, 0.0, 0.088), "int8-weights": (-0.088, 0.0, 0.088)}, "int8"),
        ({"int8": (-0.006, 0.001, 0.008), "int8-weights": (-0.004, 0.0, 0.004)}, None),
        # The recommended variant is certain, another one that fits is not.
        ({"int8": (-0.006, 0.001, 0.008), "int8-weights": (-0.01, 0.02, 0.05)}, "int8-weights"),
        # A measurable loss is certain enough: the variant is passed over.
        ({"int8": (0.01, 0.1, 0.2), "int8-weights": (-0.004, 0.0, 0.004)}, None),
    ],
)
def test_too_few_samples_to_tell_a_loss_are_a_warning(tmp_path, losses, named):
    choice = choose_from(by_labels(tmp_path / "s", 40, **losses))
    notes = [note for note in choice.warnings if note.id == "quality-too-few"]
    assert [note.evidence.partition(":")[0] for note in notes] == ([named] if named else [])


@pytest.mark.slow
def test_too_few_samples_to_tell_whether_a_limit_is_met(table):
    """The script has 49 of 50 samples in agreement: 0.98 [0.895, 0.996]."""
    assert "quality-too-few" in ids(choose_from(table, ChoiceSpec(min_quality=0.97)))
    assert "quality-too-few" not in ids(choose_from(table, ChoiceSpec(min_quality=0.5)))


@pytest.mark.slow
def test_an_uncompressed_model_loses_nothing(tmp_path):
    made = [sweeps.measure(trial) for trial in sweeps.trials(sweeps.MODELS[:1])]
    made = [sweeps.with_quality(measurement, sweeps.FP32) for measurement in made]
    folder = sweeps.make(tmp_path / "s", made, sweeps.MODELS[:1])
    assert "quality-too-few" not in ids(choose_from(load_results([folder])))


@pytest.mark.slow
def test_a_comparison_without_labels_does_not_know_the_accuracy(table, tmp_path):
    assert "quality-without-labels" in ids(choose_from(table))
    certain = (-0.004, 0.0, 0.004)
    labelled = by_labels(tmp_path / "s", 40, **{"int8": certain, "int8-weights": certain})
    assert "quality-without-labels" not in ids(choose_from(labelled))
