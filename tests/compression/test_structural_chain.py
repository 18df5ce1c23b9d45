"""A chain of steps that change a user's network, through the API: each finds the one before."""

import numpy as np
import pytest
import torch

from ovtool import api
from ovtool.compression.networks import restore_network
from ovtool.models.network import load_source_network
from ovtool.models.options import SourceOptions
from tests.compression.samples import outputs

TRUST = SourceOptions(trust=True, layouts={"input": "NCHW"})
CODE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
                                   nn.Conv2d(32, 16, 3, padding=1))
        self.entry, self.out = nn.Identity(), nn.Linear(16, 3)
    def forward(self, input):
        x = self.entry(torch.relu(self.stem(input)))
        return self.out(torch.relu(x + self.block(x)).mean((2, 3)))
def make():
    torch.manual_seed(3)
    return Net(), torch.zeros(1, 1, 8, 8)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "nets_of_structure.py").write_text(CODE)
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    waves = np.stack([np.sin(a) for a in (*np.mgrid[:8, :8] * 2.0, np.zeros((8, 8)))])
    x = rng.normal(0, 0.3, (240, 1, 8, 8)) + waves[labels][:, None]
    x = x.astype(np.float32)
    np.savez(tmp_path / "train.npz", input=x[:180], label=labels[:180])
    np.savez(tmp_path / "held.npz", input=x[180:], label=labels[180:])
    monkeypatch.chdir(tmp_path)
    return x[180:], labels[180:]


def same_network(variant, x):
    net = restore_network(load_source_network(variant.record.source, TRUST), variant)
    with torch.no_grad():
        expected = net.module.eval()(torch.from_numpy(x)).numpy()
    return np.abs(outputs(variant, x) - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.slow
def test_channels_then_training_then_int8(here):
    x, labels = here
    given = api.CompressionData(calibration="train.npz", training="train.npz")

    def step(before, method, out, **settings):
        return api.compress(before, method, out=out, data=given, options=TRUST, settings=settings)

    trained = {"epochs": 12, "learning_rate": 0.02, "batch_size": 32}
    large = step("nets_of_structure:make", "train", "v/whole", **trained)
    small = step(large, "prune-channels", "v/channels", ratio=0.5, epochs=0)
    taught = step(small, "train", "v/taught", **trained, soft=1, teacher="v/whole")
    int8 = step(taught, "int8", "v/int8", subset_size=50)
    assert [s.method for s in int8.record.steps] == ["train", "prune-channels", "train", "int8"]
    for compressed in (large, small, taught):
        assert same_network(compressed, x)
    assert int8.record.steps[-1].details["weights"][-1]["type"] == "i8"
    assert int8.record.network_sha256 is None
    right = {
        v.name: float((outputs(v, x).argmax(1) == labels).mean()) for v in (large, taught, int8)
    }
    assert min(right.values()) > 0.9, right
    sizes = [v.record.bin_bytes for v in (large, small, taught, int8)]
    assert sizes[1] == sizes[2] < sizes[0] / 2.5
    assert sizes[3] < sizes[2] / 2


@pytest.mark.slow
def test_all_structural_methods_in_one_chain(here):
    x, _ = here
    given = api.CompressionData(training="train.npz")
    compressed = api.convert("nets_of_structure:make", out="v/source", options=TRUST)
    for place, (method, settings) in enumerate(
        [
            ("separable", {"layers": "block.0,block.3", "epochs": 1}),
            ("prune-channels", {"ratio": 0.25, "epochs": 1}),
            ("downsample", {"layer": "entry", "epochs": 0}),
        ]
    ):
        compressed = api.compress(
            compressed, method, out=f"v/{place}", data=given, options=TRUST, settings=settings
        )
        assert same_network(compressed, x), method
    compressed = api.compress(
        compressed, "downsample", out="v/d", data=given, options=TRUST,
        settings={"size": "4x4", "epochs": 1},
    )  # fmt: skip
    assert compressed.record.inputs[0].shape[2:] == (4, 4)
    assert same_network(compressed, np.ascontiguousarray(x[:, :, ::2, ::2]))
