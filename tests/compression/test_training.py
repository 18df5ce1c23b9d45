"""The training loop: figures by hand, seeds, interruptions, limits and errors."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovtool.compression import training
from ovtool.compression.training import (
    TrainingHooks,
    TrainingSet,
    TrainingSettings,
    load_training_set,
    split_batches,
    train,
)
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.datasets.samples import Sample
from ovtool.models.network import Network
from tests.compression.learnable import CLASSES, Patterns, linear, outputs, residual
from tests.compression.samples import Listed, StoppingProgress


def rows(count=12, seed=0):
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.standard_normal((count, 3)).astype(np.float32))
    return TrainingSet({"x": inputs}, torch.arange(count) % CLASSES)


def patterns():
    return load_training_set(Patterns(), SILENT)


def run(network, data, tmp_path, hooks=None, progress=SILENT, **settings):
    return train(network, data, TrainingSettings(**settings), tmp_path / "t.pt", progress, hooks)


def same(item, other):
    a, b = item.module.state_dict(), other.module.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@given(count=st.integers(1, 200), size=st.integers(1, 50))
def test_batches_cover_all_samples_without_a_single_remainder(count, size):
    parts = split_batches(torch.arange(count), size)
    assert torch.cat(parts).tolist() == list(range(count))
    assert all(len(part) == size for part in parts[:-1])
    assert len(parts[-1]) <= size + 1
    if size > 1 and count > 1:
        assert all(len(part) > 1 for part in parts)


def test_the_loss_is_the_cross_entropy_of_the_first_weights(tmp_path):
    network, data = linear(), rows()
    weights = network.module.weight.detach().numpy().astype(float)
    scores = data.inputs["x"].numpy() @ weights.T
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    by_hand = -np.log(chances[range(12), data.labels.numpy()]).mean()
    done = run(network, data, tmp_path, epochs=1, batch_size=12, validation_share=0)
    assert done.epochs[0].loss == pytest.approx(by_hand, rel=1e-5)
    assert (done.epochs[0].metric, done.best, done.stopped) == (None, None, "epochs")


def test_epoch_loss_is_the_mean_over_samples(tmp_path):
    def label(inputs, outputs, labels):
        return labels.float().mean() + 0 * outputs.sum()

    data = TrainingSet({"x": torch.zeros(5, 3)}, torch.tensor([0, 1, 2, 3, 3]))
    done = run(
        linear(), data, tmp_path, TrainingHooks(label), epochs=1, batch_size=3, validation_share=0
    )
    assert done.epochs[0].loss == pytest.approx(9 / 5)


def test_learning_rate_follows_the_schedule_per_group(tmp_path):
    """With a gradient of 1 everywhere, Nesterov's steps are known."""
    network = Network(
        torch.nn.Sequential(torch.nn.Linear(3, 1, bias=False), torch.nn.Linear(1, 1, bias=False)),
        {"x": torch.zeros(1, 3)},
        False,
        "two",
    )
    first = [p.detach().clone() for p in network.module.parameters()]

    def loss(inputs, outputs, labels):
        return sum(p.sum() for p in network.module.parameters())

    run(
        network, rows(4), tmp_path, TrainingHooks(loss, rates={"1.weight": 0.5}), optimizer="sgd",
        learning_rate=0.1, epochs=2, batch_size=2, validation_share=0, weight_decay=0.25,
    )  # fmt: skip
    weight, own, velocity, own_velocity = float(first[0][0, 0]), float(first[1]), 0.0, 0.0
    for step in range(4):
        share = (1 + math.cos(math.pi * step / 4)) / 2
        gradient = 1 + 0.25 * weight  # the decay; not where a rate is a parameter's own
        velocity, own_velocity = 0.9 * velocity + gradient, 0.9 * own_velocity + 1
        weight -= 0.1 * share * (gradient + 0.9 * velocity)
        own -= 0.5 * share * (1 + 0.9 * own_velocity)
    last = [p.detach() for p in network.module.parameters()]
    assert float(last[0][0, 0]) == pytest.approx(weight, rel=1e-5)
    assert float(last[1]) == pytest.approx(own, rel=1e-5)


def test_training_improves_and_keeps_the_best_epoch(tmp_path):
    network, data = residual(), patterns()
    done = run(network, data, tmp_path, epochs=4, batch_size=16, learning_rate=3e-3)
    metrics = [epoch.metric for epoch in done.epochs]
    assert done.epochs[-1].loss < done.epochs[0].loss / 2
    assert metrics[done.best - 1] == max(metrics) > 0.8
    assert done.best == metrics.index(max(metrics)) + 1
    held = torch.randperm(160, generator=torch.Generator().manual_seed(0))[:16]
    right = outputs(network, data.inputs["x"][held]).argmax(1) == data.labels[held].numpy()
    assert right.mean() == max(metrics)
    assert not network.module.training


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_seed_determines_the_weights(tmp_path, optimizer):
    settings = {"epochs": 1, "batch_size": 32, "optimizer": optimizer}
    compressed = []
    for place, seed in enumerate((5, 5, 6)):
        compressed.append(residual())
        run(compressed[-1], patterns(), tmp_path / str(place), seed=seed, **settings)
    assert same(compressed[0], compressed[1])
    assert not same(compressed[0], compressed[2])


@pytest.mark.slow
def test_interrupted_training_gives_the_same_weights(tmp_path):
    settings = {"epochs": 4, "batch_size": 24, "learning_rate": 3e-3}
    uninterrupted, broken, again = residual(), residual(), residual()
    expected = run(uninterrupted, patterns(), tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        run(
            broken, patterns(), tmp_path, progress=StoppingProgress("training, epoch 3"), **settings
        )
    torch.rand(7)  # another process has drawn other numbers
    done = run(again, patterns(), tmp_path, **settings)
    assert done == expected
    assert same(again, uninterrupted)


@pytest.mark.slow
def test_patience_stops_training(tmp_path):
    network, data = residual(), patterns()
    settings = {"batch_size": 16, "learning_rate": 3e-3, "schedule": "constant"}
    run(network, data, tmp_path / "first", epochs=3, **settings)
    right = training.classification_loss("net")

    def wrong(inputs, outputs, labels):
        return -right(inputs, outputs, labels)

    other = network.copy()
    done = run(
        network, data, tmp_path / "p", TrainingHooks(wrong), epochs=9, patience=2, **settings
    )
    assert (done.stopped, done.best, len(done.epochs)) == ("patience", 1, 3)
    run(other, data, tmp_path / "one", TrainingHooks(wrong), epochs=1, **settings)
    assert same(network, other)


def test_no_epoch_starts_after_the_time_limit(tmp_path, monkeypatch):
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    settings = {"epochs": 9, "time_limit_s": 15.0}
    with pytest.raises(KeyboardInterrupt):
        run(linear(), rows(), tmp_path, progress=StoppingProgress("training, epoch 2"), **settings)
    done = run(linear(), rows(), tmp_path, **settings)
    assert (done.stopped, len(done.epochs)) == ("time", 2)


def test_after_step_restores_zeros(tmp_path):
    network = linear()

    def hold():
        network.module.weight.detach()[0] = 0

    run(network, rows(), tmp_path, TrainingHooks(after_step=hold), epochs=2)
    assert (network.module.weight[0] == 0).all()
    assert (network.module.weight[1:] != 0).all()


def test_batch_normalization_gets_no_single_sample(tmp_path):
    network = linear()
    network = Network(
        torch.nn.Sequential(network.module, torch.nn.BatchNorm1d(CLASSES)),
        network.example,
        False,
        "normed",
    )
    done = run(network, rows(9), tmp_path, epochs=1, batch_size=4, validation_share=0)
    assert math.isfinite(done.epochs[0].loss)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels"),
        (torch.full((12,), CLASSES), "label 4 .* 4 classes"),
        (torch.full((12,), -1), "label -1"),
    ],
)
def test_labels_out_of_range_raise(tmp_path, labels, message):
    data = TrainingSet(rows().inputs, labels)
    with pytest.raises(InputError, match=message):
        run(linear(), data, tmp_path, epochs=1)


def test_infinite_loss_raises(tmp_path):
    def infinite(inputs, outputs, labels):
        return outputs.sum() / 0

    with pytest.raises(InputError, match=r"-?(inf|nan) in epoch 1") as caught:
        run(linear(), rows(), tmp_path, TrainingHooks(infinite), epochs=1)
    assert "0.001" in caught.value.hint


def test_no_training_samples_or_weights_raises(tmp_path):
    with pytest.raises(InputError, match="3 samples"):
        run(linear(), rows(3), tmp_path, epochs=1, validation_share=0.9)
    frozen = linear()
    frozen.module.requires_grad_(False)
    with pytest.raises(InputError, match="requires_grad"):
        run(frozen, rows(), tmp_path, epochs=1)


def test_unreadable_training_data_raises(monkeypatch):
    shapes = [np.zeros(3, np.float32), np.zeros(4, np.float32)]
    with pytest.raises(InputError, match="listed"):
        load_training_set(Listed(shapes), SILENT)
    monkeypatch.setattr(training, "MAX_TRAINING_BYTES", 20)
    with pytest.raises(InputError, match=r"listed.*GiB"):
        load_training_set(Listed([np.zeros(3, np.float32)] * 2), SILENT)


def test_labels_are_used_only_if_all_samples_have_them():
    class Half(Listed):
        def __iter__(self):
            for place, sample in enumerate(super().__iter__()):
                yield Sample(sample.inputs, place or None, sample.origin)

    assert load_training_set(Half([np.zeros(3, np.float32)] * 2), SILENT).labels is None
    assert load_training_set(Patterns(8), SILENT).labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
