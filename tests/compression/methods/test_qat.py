"""Quantization-aware training: a graph in 8 bits that says what the trained network says."""

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.compression.method import MissingInputError
from ovtool.compression.methods import qat
from ovtool.compression.networks import is_trainable, restore_network
from ovtool.compression.pipeline import apply_method
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from tests.compression.learnable import Patterns, inputs, residual, saved
from tests.compression.samples import StoppingProgress, outputs

QUICK = {"epochs": 8, "batch_size": 32, "learning_rate": 3e-3, "subset_size": 40}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("qat") / "source", residual())


def accuracy(variant, samples):
    return (outputs(variant, samples.images).argmax(1) == samples.labels).mean()


@pytest.fixture(scope="module")
def compressed(source):
    out = source.folder.with_name("made")
    return apply_method(source, "qat", QUICK, inputs(), out=out, name="made")


@pytest.mark.slow
def test_qat_stores_and_runs_8_bits_and_improves(source, compressed):
    details = compressed.record.steps[0].details
    assert {row["type"] for row in details["weights"]} == {"i8"}
    assert details["quantized_activations"] >= 3
    assert details["run_in_8_bits"] == {"layers": 3, "in_8_bits": 3}
    assert details["mean_difference"] < 0.02
    assert details["flops_before"] == details["flops_after"] > 0
    assert details["calibration_samples"] == 40
    losses = [epoch["loss"] for epoch in details["training"]["epochs"]]
    assert losses[-1] < losses[0] / 2
    held_out = Patterns(seed=7)
    assert accuracy(compressed, held_out) > 0.8 > accuracy(source, held_out) + 0.2
    assert compressed.record.inputs == source.record.inputs


@pytest.mark.slow
def test_later_steps_cannot_train_a_quantized_variant(compressed):
    assert not is_trainable(compressed)
    with pytest.raises(InputError, match=r"made .* qat"):
        restore_network(residual(), compressed)


@pytest.mark.slow
def test_interrupted_step_writes_the_same_files(source, compressed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        apply_method(
            source, "qat", QUICK, inputs(), out=tmp_path / "q", name="made",
            progress=StoppingProgress("retraining, epoch 2"),
        )  # fmt: skip
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    again = apply_method(source, "qat", QUICK, inputs(), out=tmp_path / "q", name="made")
    assert again.record.sha256 == compressed.record.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


@pytest.mark.slow
def test_settings_reach_nncf(source, tmp_path):
    settings = {"epochs": 0, "ignored_types": "linear", "preset": "mixed", "target_device": "npu"}
    compressed = apply_method(source, "qat", settings, inputs(), out=tmp_path / "q", name="q")
    rows = {row["type"]: row["layers"] for row in compressed.record.steps[0].details["weights"]}
    assert rows == {"i8": 2, "f32": 1}
    assert "training" not in compressed.record.steps[0].details


@pytest.mark.slow
def test_qat_supports_a_teacher(source, tmp_path):
    unlabelled = inputs(training=Patterns(labelled=False))
    settings = {**QUICK, "hard": 0, "soft": 1, "feature": 1, "feature_layers": "body"}
    compressed = apply_method(source, "qat", settings, unlabelled, out=tmp_path / "q", name="q")
    losses = [epoch["loss"] for epoch in compressed.record.steps[0].details["training"]["epochs"]]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_graph_that_differs_from_the_network_raises(compressed):
    model = ov.Core().read_model(compressed.xml)
    torch.manual_seed(1)
    other = residual(seed=5)
    with pytest.raises(InputError, match=f"{qat._TOLERANCE:g}"):
        qat._verify(other, [{0: Patterns(2).images}])(model)


def test_graph_without_8_bit_layers_raises(source):
    model = ov.Core().read_model(source.xml)
    with pytest.raises(InputError, match=r"^qat "):
        qat._verify(residual(), [])(model)


def test_missing_inputs_raise(source, tmp_path):
    for given, settings, need in (
        (inputs(calibration=None), {}, "calibration"),
        (inputs(training=None), {}, "training"),
        (inputs(network=None), {}, "network"),
    ):
        with pytest.raises(MissingInputError) as caught:
            apply_method(source, "qat", settings, given, out=tmp_path / "q", name="q")
        assert caught.value.need == need
    with pytest.raises(InputError, match="target_device"):
        parse_settings("qat", {"target_device": "cpu_spr"})


def test_the_difference_is_the_mean_over_the_largest(monkeypatch):
    network = residual()
    monkeypatch.setattr(type(network), "__call__", lambda *_: torch.tensor([[4.0, -8.0]]))

    class Graph:
        def run(self, _):
            return [np.array([[5.0, -8.0]])]

    batches = [{0: np.zeros((1, 1, 8, 8), np.float32)}]
    assert qat._mean_difference(network, Graph(), batches) == pytest.approx(0.5 / 8)
