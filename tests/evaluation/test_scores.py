import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovtool.core.columns import FIGURES
from ovtool.core.errors import InputError
from ovtool.core.statistics import wilson
from ovtool.evaluation.scores import (
    Score,
    check_finite,
    compare_outputs,
    score_classes,
)

RNG = np.random.default_rng(0)


def one_hot(labels, classes=10):
    return np.eye(classes, dtype=np.float32)[labels]


def score(outputs, labels=None, reference=None):
    """Score one output of class scores."""
    result = Score({}, check_finite("y", "output", outputs))
    if labels is not None:
        result = result.plus(score_classes(outputs, labels, "y"))
    if reference is not None:
        result = result.plus(compare_outputs({"y": outputs}, {"y": reference}, {"y": None}))
    return result


def test_accuracy_and_agreement_have_intervals_and_counts():
    labels = np.arange(20) % 10
    outputs = one_hot(labels)
    outputs[:5] = one_hot((labels[:5] + 3) % 10)
    figures = score(outputs, labels, one_hot(labels)).figures
    expected = wilson(15, 20)
    for name in ("accuracy_top1", "agreement_top1"):
        assert figures[name] == expected.value == 0.75
        assert figures[f"{name}_ci_low"] == expected.low
        assert figures[f"{name}_ci_high"] == expected.high
    assert figures["output_cosine"] == pytest.approx(0.75)
    assert figures["output_cosine_ci_low"] < 0.75 < figures["output_cosine_ci_high"] <= 1
    assert figures["output_max_abs_difference"] == 1


def test_top5_counts_the_five_highest():
    outputs = np.tile(np.arange(10.0), (10, 1))  # class 9 is the highest, then 8 ...
    figures = score(outputs, np.arange(10)).figures
    assert figures["accuracy_top1"] == 0.1
    assert figures["accuracy_top5"] == 0.5


@given(hnp.arrays(np.float32, (8, 7), elements=st.floats(-2, 2, width=16)), st.integers(0, 6))
def test_top5_equals_that_of_a_stable_sort(outputs, label):
    labels = np.full(8, label)
    highest = np.argsort(-outputs, axis=1, kind="stable")
    figures = score(outputs, labels).figures
    assert figures["accuracy_top5"] == (highest[:, :5] == label).any(1).mean()
    assert figures["accuracy_top1"] == (highest[:, 0] == label).mean()


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_figures_are_known_columns_finite_and_within_their_intervals(outputs, reference):
    figures = score(outputs, np.array([0, 1, 2]), reference).figures
    assert set(figures) <= FIGURES
    assert np.isfinite(list(figures.values())).all()
    for name, value in figures.items():
        if f"{name}_ci_low" in figures:
            assert figures[f"{name}_ci_low"] <= value <= figures[f"{name}_ci_high"]
            assert -1 <= value <= 1


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_equal_outputs_agree_at_any_scale(scale):
    outputs = RNG.standard_normal((6, 4)) * scale
    figures = score(outputs, reference=outputs).figures
    assert figures["agreement_top1"] == 1
    assert figures["output_cosine"] == pytest.approx(1)
    assert figures["output_max_abs_difference"] == 0


def test_nan_is_never_correct_and_is_reported():
    labels = np.zeros(4, int)
    outputs = one_hot(labels)
    outputs[1] = np.nan
    outputs[2, 3] = np.nan
    result = score(outputs, labels, outputs)
    assert result.figures["accuracy_top1"] == 0.5
    assert result.figures["accuracy_top5"] == 0.5
    assert result.figures["agreement_top1"] == 0.5
    assert "output_cosine" not in result.figures
    assert "output_max_abs_difference" not in result.figures
    assert result.notes[0].id == "output-not-finite"
    assert result.notes[0].evidence.startswith("2 of 4 samples")


def test_nan_in_the_reference_is_no_agreement():
    outputs = one_hot(np.zeros(4, int))
    reference = outputs.copy()
    reference[0] = np.nan
    result = score(outputs, reference=reference)
    assert result.figures["agreement_top1"] == 0.75
    assert result.notes[0].id == "reference-not-finite"


def test_few_classes_have_no_top5():
    labels = np.zeros(4, int)
    assert "accuracy_top5" not in score(one_hot(labels, 5), labels).figures
    assert "accuracy_top5" in score(one_hot(labels, 6), labels).figures


def test_mean_of_one_sample_has_no_interval():
    outputs = one_hot([1])
    figures = score(outputs, reference=outputs).figures
    assert figures["output_cosine"] == 1
    assert "output_cosine_ci_low" not in figures


def test_outputs_that_are_not_classes_are_only_compared():
    outputs = RNG.standard_normal((5, 3, 4, 4))
    result = score(outputs, np.zeros(5, int), outputs + 0.5)
    assert not any("top" in name for name in result.figures)
    assert result.figures["output_max_abs_difference"] == pytest.approx(0.5)
    assert result.notes[0].id == "labels-unused"


def test_trailing_dimensions_of_one_are_squeezed():
    labels = np.arange(6)
    figures = score(one_hot(labels, 6).reshape(6, 6, 1, 1), labels).figures
    assert figures["accuracy_top1"] == 1


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 1, 0), (1, -1, -1), (3, 1, 1)])
def test_cosine_of_zeros_and_opposite_vectors(a, b, expected):
    ones = np.ones((2, 3))
    assert score(a * ones, reference=b * ones).figures["output_cosine"] == pytest.approx(expected)


@pytest.mark.parametrize("label", [10, -1])
def test_label_out_of_range_is_rejected(label):
    with pytest.raises(InputError, match=rf"label {label}\b.* 0 to 9"):
        score(one_hot([1, 2]), np.array([1, label]))


@pytest.mark.parametrize("shift", [1, -1])
def test_labels_shifted_by_one_are_reported(shift):
    labels = np.arange(1, 9).repeat(4)
    result = score(one_hot(labels + shift), labels)
    assert result.figures["accuracy_top1"] == 0
    assert [note.id for note in result.notes] == ["labels-shifted"]
    assert f"label {shift:+d}" in result.notes[0].evidence


def test_correct_labels_are_not_reported_as_shifted():
    labels = np.arange(1, 9)
    assert score(one_hot(labels), labels).notes == ()


@pytest.mark.parametrize(
    ("outputs", "labels", "reference", "values"),
    [
        (np.ones((0, 3)), np.zeros(0, int), None, "one sample"),
        (np.ones((2, 3)), np.zeros(3, int), None, "3 labels.* 2 samples"),
    ],
)
def test_inputs_that_do_not_match_are_rejected(outputs, labels, reference, values):
    with pytest.raises(InputError, match=values):
        score(outputs, labels, reference)
