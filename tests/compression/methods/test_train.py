"""Training through the API: a user's own module, its saved network, and a step after it."""

import numpy as np
import pytest
import torch

from ovtool import api
from ovtool.compression.networks import restore_network
from ovtool.models.network import load_source_network
from ovtool.models.options import SourceOptions
from tests.compression.samples import outputs

CODE = """
import torch
def make():
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3))
    return net, torch.zeros(1, 1, 8, 8)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "nets_to_train.py").write_text(CODE)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    x = rng.standard_normal((120, 1, 8, 8)).astype(np.float32) + labels[:, None, None, None]
    np.savez(tmp_path / "train.npz", input=x, label=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_user_module_is_trained_and_saved(here):
    source = api.convert("nets_to_train:make", out="v/source")
    given = api.CompressionData(training="train.npz")
    compressed = api.compress(
        source, "train", out="v/t", data=given, options=SourceOptions(trust=True),
        settings={"epochs": 6, "learning_rate": 0.03, "batch_size": 16},
    )  # fmt: skip
    epochs = compressed.record.steps[0].details["training"]["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    network = restore_network(
        load_source_network(compressed.record.source, SourceOptions(trust=True)), compressed
    )
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        expected = network.module.eval()(x).numpy()
    assert np.abs(outputs(compressed, x.numpy()) - expected).max() < 1e-4
    small = api.compress(
        compressed,
        "int8",
        out="v/q",
        data=api.CompressionData(calibration="train.npz"),
        settings={"subset_size": 20},
    )
    assert [step.method for step in small.record.steps] == ["train", "int8"]
    assert small.record.network_sha256 is None


@pytest.mark.slow
def test_user_module_with_zeros_is_trained_and_quantized(here):
    trust = SourceOptions(trust=True)
    source = api.convert("nets_to_train:make", out="v/source")
    both = api.CompressionData(calibration="train.npz", training="train.npz")
    quick = {"epochs": 2, "batch_size": 16}
    zero = api.compress(
        source, "prune-weights", out="v/z", data=both, options=trust, settings=quick
    )
    train = api.compress(zero, "train", out="v/t", data=both, options=trust, settings=quick)
    int8 = api.compress(train, "int8", out="v/q", data=both, settings={"subset_size": 20})
    qat = api.compress(
        train, "qat", out="v/a", data=both, options=trust, settings={**quick, "subset_size": 20}
    )
    for variant in (zero, train, int8, qat):
        assert variant.record.steps[-1].details["storage"]["nonzero_pct"] <= 50
    assert [step.method for step in qat.record.steps] == ["prune-weights", "train", "qat"]
    assert int8.record.network_sha256 is qat.record.network_sha256 is None
