import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovtool.core.columns import FIGURES
from ovtool.core.errors import InputError
from ovtool.core.statistics import wilson
from ovtool.core.variant import Port
from ovtool.evaluation import judged_output
from ovtool.evaluation.scores import score

RNG = np.random.default_rng(0)


def one_hot(labels, classes=10):
    return np.eye(classes, dtype=np.float32)[labels]


def test_accuracy_and_agreement_come_with_intervals_and_counts():
    labels = np.arange(20) % 10
    outputs = one_hot(labels)
    outputs[:5] = one_hot((labels[:5] + 3) % 10)
    figures = score(outputs, labels, one_hot(labels)).figures
    expected = wilson(15, 20)
    for name in ("accuracy_top1", "agreement_top1"):
        assert figures[name] == expected.value == 0.75
        assert figures[f"{name}_ci_low"] == expected.low
        assert figures[f"{name}_ci_high"] == expected.high
    assert figures["quality_samples"] == 20
    assert figures["output_cosine"] == pytest.approx(0.75)
    assert figures["output_cosine_ci_low"] < 0.75 < figures["output_cosine_ci_high"] <= 1
    assert figures["output_max_abs_difference"] == 1


def test_top5_counts_the_five_highest():
    outputs = np.tile(np.arange(10.0), (10, 1))  # class 9 is the highest, then 8 ...
    figures = score(outputs, np.arange(10)).figures
    assert figures["accuracy_top1"] == 0.1
    assert figures["accuracy_top5"] == 0.5


@given(hnp.arrays(np.float32, (8, 7), elements=st.floats(-2, 2, width=16)), st.integers(0, 6))
def test_top5_is_that_of_a_stable_sort(outputs, label):
    labels = np.full(8, label)
    highest = np.argsort(-outputs, axis=1, kind="stable")
    figures = score(outputs, labels).figures
    assert figures["accuracy_top5"] == (highest[:, :5] == label).any(1).mean()
    assert figures["accuracy_top1"] == (highest[:, 0] == label).mean()


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_figures_are_declared_finite_and_in_order(outputs, reference):
    figures = score(outputs, np.array([0, 1, 2]), reference).figures
    assert set(figures) <= FIGURES
    assert np.isfinite(list(figures.values())).all()
    for name, value in figures.items():
        if f"{name}_ci_low" in figures:
            assert figures[f"{name}_ci_low"] <= value <= figures[f"{name}_ci_high"]
            assert -1 <= value <= 1


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_the_same_outputs_agree_wholly_whatever_their_scale(scale):
    outputs = RNG.standard_normal((6, 4)) * scale
    figures = score(outputs, reference=outputs).figures
    assert figures["agreement_top1"] == 1
    assert figures["output_cosine"] == pytest.approx(1)
    assert figures["output_max_abs_difference"] == 0


def test_nan_is_never_right_and_is_reported():
    labels = np.zeros(4, int)
    outputs = one_hot(labels)
    outputs[1] = np.nan
    outputs[2, 3] = np.nan
    made = score(outputs, labels, outputs)
    assert made.figures["accuracy_top1"] == 0.5
    assert made.figures["accuracy_top5"] == 0.5
    assert made.figures["agreement_top1"] == 0.5
    assert "output_cosine" not in made.figures
    assert "output_max_abs_difference" not in made.figures
    assert made.notes[0].id == "output-not-finite"
    assert made.notes[0].evidence.startswith("2 of 4 samples, the first is 1")


def test_a_nan_only_in_the_reference_is_no_agreement():
    outputs = one_hot(np.zeros(4, int))
    reference = outputs.copy()
    reference[0] = np.nan
    made = score(outputs, reference=reference)
    assert made.figures["agreement_top1"] == 0.75
    assert made.notes[0].id == "reference-not-finite"


def test_few_classes_have_no_top5():
    labels = np.zeros(4, int)
    assert "accuracy_top5" not in score(one_hot(labels, 5), labels).figures
    assert "accuracy_top5" in score(one_hot(labels, 6), labels).figures


def test_one_sample_has_no_interval_of_a_mean():
    outputs = one_hot([1])
    figures = score(outputs, reference=outputs).figures
    assert figures["output_cosine"] == 1
    assert "output_cosine_ci_low" not in figures


def test_a_model_that_is_no_classifier_is_only_compared():
    outputs = RNG.standard_normal((5, 3, 4, 4))
    made = score(outputs, np.zeros(5, int), outputs + 0.5)
    assert not any("top" in name for name in made.figures)
    assert made.figures["output_max_abs_difference"] == pytest.approx(0.5)
    assert made.notes[0].id == "labels-unused"


def test_classes_with_trailing_ones_are_squeezed():
    labels = np.arange(6)
    figures = score(one_hot(labels, 6).reshape(6, 6, 1, 1), labels).figures
    assert figures["accuracy_top1"] == 1


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 0, 1), (0, 1, 0), (1, -1, -1), (3, 1, 1)])
def test_cosine_of_zeros_and_opposites(a, b, expected):
    ones = np.ones((2, 3))
    assert score(a * ones, reference=b * ones).figures["output_cosine"] == pytest.approx(expected)


@pytest.mark.parametrize("label", [10, -1])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(InputError, match=f"label {label} is no class of a model of 10") as caught:
        score(one_hot([1, 2]), np.array([1, label]))
    assert "counted from 1" in caught.value.hint


@pytest.mark.parametrize("shift", [1, -1])
def test_labels_shifted_by_one_are_noticed(shift):
    labels = np.arange(1, 9).repeat(4)
    made = score(one_hot(labels + shift), labels)
    assert made.figures["accuracy_top1"] == 0
    assert [note.id for note in made.notes] == ["labels-shifted"]
    assert f"label {shift:+d}" in made.notes[0].evidence


def test_right_labels_are_not_called_shifted():
    labels = np.arange(1, 9)
    assert score(one_hot(labels), labels).notes == ()


@pytest.mark.parametrize(
    ("outputs", "labels", "reference", "message"),
    [
        (np.ones((0, 3)), None, None, "at least one sample"),
        (np.ones((2, 3)), None, np.ones((2, 4)), "cannot be compared"),
        (np.ones((2, 3)), np.zeros(3, int), None, "3 labels for 2 samples"),
    ],
)
def test_what_does_not_belong_together_is_refused(outputs, labels, reference, message):
    with pytest.raises(InputError, match=message):
        score(outputs, labels, reference)


class Notes:
    notes = ()

    def note(self, text):
        self.notes += (text,)


def test_the_first_output_is_judged_unless_one_is_named():
    ports = [Port(name=name, shape=(-1, 2), dtype="f32") for name in ("scores", "boxes")]
    told = Notes()
    assert judged_output(ports, None, told) == 0
    assert "output scores; there are also boxes" in told.notes[0]
    assert judged_output(ports, "boxes", told) == 1
    assert len(told.notes) == 1
    with pytest.raises(InputError, match="no output 'box'") as caught:
        judged_output(ports, "box")
    assert "boxes" in caught.value.hint
