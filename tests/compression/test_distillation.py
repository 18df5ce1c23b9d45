"""Learning from a teacher: the loss by hand, projections, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovtool.compression.distillation import retrain, soft_loss
from ovtool.compression.method import MissingInputError
from ovtool.compression.methods.train import TRAIN
from ovtool.compression.registry import parse_settings
from ovtool.compression.training import TrainingHooks
from ovtool.core.errors import InputError
from ovtool.models.network import Network
from tests.compression.learnable import (
    CLASSES,
    Patterns,
    context,
    inputs,
    linear,
    outputs,
    residual,
)

ALL = {"epochs": 1, "batch_size": 200, "validation_share": 0}
"""One step on all samples, so that the loss is that of the initial weights."""


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


logits = st.lists(st.floats(-20, 20), min_size=3, max_size=3)


@given(ours=logits, theirs=logits, temperature=st.floats(0.5, 20))
def test_soft_targets_by_hand(ours, theirs, temperature):
    p, q = (softmax(np.array([x]) / temperature) for x in (theirs, ours))
    by_hand = temperature**2 * (p * np.log(p / q)).sum()
    a, b = (torch.tensor([x], dtype=torch.float64) for x in (ours, theirs))
    assert float(soft_loss(a, b, temperature)) == pytest.approx(by_hand, abs=1e-6)
    assert float(soft_loss(a, a, temperature)) == pytest.approx(0, abs=1e-9)
    assert float(soft_loss(a.repeat(5, 1), b.repeat(5, 1), temperature)) == pytest.approx(
        by_hand, abs=1e-6
    )


class Flat(torch.nn.Module):
    """A network without what differs between training and use."""

    def __init__(self, width):
        super().__init__()
        self.middle = torch.nn.Linear(64, width)
        self.head = torch.nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.middle(x.flatten(1))))


def flat(seed, width=6):
    torch.manual_seed(seed)
    return Network(Flat(width), {"x": torch.zeros(1, 1, 8, 8)}, False, "flat")


def test_the_loss_is_the_weighted_sum_of_four(tmp_path):
    given, student, teacher = inputs(lambda: flat(2)), flat(1), flat(2)
    settings = {"hard": 0.5, "predicted": 0.7, "soft": 2, "temperature": 3, "feature": 0.25}
    step = context(tmp_path, "train", {**ALL, **settings, "feature_layers": "middle"}, given)
    x = torch.from_numpy(Patterns().images)
    ours, theirs = outputs(student, x), outputs(teacher, x)
    hard = -np.log(softmax(ours)[range(160), Patterns().labels]).mean()
    predicted = -np.log(softmax(ours)[range(160), theirs.argmax(1)]).mean()
    p, q = softmax(theirs / 3), softmax(ours / 3)
    soft = 9 * (p * np.log(p / q)).sum(1).mean()
    with torch.no_grad():
        middles = [n.module.middle(x.flatten(1)).numpy() for n in (student, teacher)]
    feature = ((middles[0] - middles[1]) ** 2).mean()
    trained = retrain(student, step)
    by_hand = 0.5 * hard + 0.7 * predicted + 2 * soft + 0.25 * feature
    assert trained.epochs[0].loss == pytest.approx(by_hand, rel=1e-4)


def test_weight_of_the_hard_loss_applies_without_a_teacher(tmp_path):
    losses = [
        retrain(flat(1), context(tmp_path / str(hard), "train", {**ALL, "hard": hard}, inputs()))
        .epochs[0].loss
        for hard in (1, 3)
    ]  # fmt: skip
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["soft", "predicted"])
def test_student_learns_from_the_teacher_without_labels(tmp_path, target):
    given = inputs(lambda: flat(2), training=Patterns(labelled=False))
    settings = {"epochs": 40, "hard": 0, target: 1, "batch_size": 16, "learning_rate": 0.01}
    student, x = flat(1, width=32), Patterns().images
    theirs = outputs(flat(2), x).argmax(1)
    before = (outputs(student, x).argmax(1) == theirs).mean()
    trained = retrain(student, context(tmp_path, "train", settings, given))
    assert trained.best is None
    assert (outputs(student, x).argmax(1) == theirs).mean() > 0.9 > before


@pytest.mark.slow
def test_features_of_other_widths_get_a_trained_projection(tmp_path):
    settings = {
        "hard": 0, "feature": 1, "feature_layers": "stem, body=body", "epochs": 8,
        "learning_rate": 0.01, "batch_size": 32,
    }  # fmt: skip
    given = inputs(lambda: residual(2, width=12))
    student = residual(1, width=8)
    trained = retrain(student, context(tmp_path, "train", settings, given))
    losses = [epoch.loss for epoch in trained.epochs]
    assert losses[-1] < losses[0] / 2
    hooked = [m for m in student.module.modules() if m._forward_hooks]
    assert not hooked
    state = torch.load(tmp_path / "scratch" / "retraining.pt", weights_only=True)["modules"]
    assert state["projection stem"]["weight"].shape == (12, 8, 1, 1)


@pytest.mark.parametrize(
    ("layers", "message", "hint"),
    [
        ("stam", "student.*'stam'", "stem"),
        ("stem=bodi", "teacher.*'bodi'", "body"),
        ("stem=head", r"stem.*head", ""),
    ],
)
def test_unsuitable_feature_layers_raise(tmp_path, layers, message, hint):
    settings = {"feature": 1, "feature_layers": layers}
    with pytest.raises(InputError, match=message) as caught:
        retrain(residual(), context(tmp_path, "train", settings, inputs()))
    assert hint in (caught.value.hint or "")


def test_teacher_is_loaded_by_reference_and_checked(tmp_path):
    requested = []

    def teacher(reference):
        requested.append(reference)
        return residual() if reference == "fits" else flat(0) if reference == "flat" else wide

    wide = Network(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 9)),
        {"x": torch.zeros(1, 1, 8, 8)}, False, "wide",
    )  # fmt: skip
    settings = {**ALL, "soft": 1}
    given = inputs(teacher=teacher)
    retrain(residual(), context(tmp_path / "a", "train", {**settings, "teacher": "fits"}, given))
    assert requested == ["fits"]
    with pytest.raises(InputError, match=r"\[160, 4\].*\[160, 9\]"):
        retrain(
            residual(), context(tmp_path / "b", "train", {**settings, "teacher": "wide"}, given)
        )
    with pytest.raises(InputError, match="'fits'"):
        retrain(
            residual(), context(tmp_path / "c", "train", {**settings, "teacher": "fits"}, inputs())
        )


def test_custom_loss_replaces_the_cross_entropy(tmp_path):
    given = inputs(loss=lambda outputs, labels: outputs.sum() * 0 + labels.float().mean() + 7)
    trained = retrain(flat(1), context(tmp_path, "train", ALL, given))
    assert trained.epochs[0].loss == pytest.approx(7 + 1.5)


def test_keep_zeros_keeps_zeros(tmp_path):
    kept = {}
    for keep in (True, False):
        student = flat(1)
        with torch.no_grad():
            student.module.middle.weight[:, ::2] = 0
            student.module.head.weight.zero_()  # initialized so: a tensor of zeros is not pruned
        called = []
        settings = {"epochs": 2, "keep_zeros": keep, "optimizer": "sgd", "weight_decay": 0.1}
        step = context(tmp_path / str(keep), "train", settings, inputs())
        retrain(student, step, TrainingHooks(after_step=lambda called=called: called.append(1)))
        assert len(called) == 2 * 3
        assert (student.module.head.weight != 0).all()
        kept[keep] = float((student.module.middle.weight == 0).float().mean())
    assert kept == {True: 0.5, False: 0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hard": 0}, "hard, predicted, soft and feature"),
        ({"feature": 1}, "feature_layers"),
        ({"temperature": 0}, "temperature"),
        ({"validation_share": 1}, "validation_share"),
        ({"optimizer": "adan"}, "optimizer"),
    ],
)
def test_settings_without_a_loss_raise(settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings("train", settings)


def test_missing_training_inputs_raise(tmp_path):
    assert retrain(linear(), context(tmp_path, "train", {"epochs": 0}, inputs())) is None
    with pytest.raises(MissingInputError) as caught:
        retrain(linear(), context(tmp_path, "train", {}, inputs(training=None)))
    assert caught.value.need == "training"
    with pytest.raises(MissingInputError) as caught:
        retrain(residual(), context(tmp_path, "train", {"soft": 1}, inputs(network=None)))
    assert caught.value.need == "network"
    with pytest.raises(MissingInputError) as caught:
        TRAIN.apply(context(tmp_path, "train", {}, inputs(network=None)))
    assert caught.value.need == "network"
