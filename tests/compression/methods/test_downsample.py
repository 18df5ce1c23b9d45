"""Smaller images and pooling layers: the ports, the record and the arithmetic follow."""

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ovtool.compression.method import MethodInputs
from ovtool.compression.methods.downsample import _interpolated, resized_ports
from ovtool.compression.networks import restore_network
from ovtool.compression.pipeline import apply_method
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from tests.compression.samples import Notes, StoppingProgress, outputs, run_graph
from tests.compression.vision_nets import (
    Patterns,
    Residual,
    compress,
    details,
    network,
    network_outputs,
    outputs_close,
    parent,
)
from tests.helpers.graphs import convolutional, save

PLAIN = {"epochs": 0}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return parent(tmp_path_factory.mktemp("residual") / "residual")


def smaller(count=4):
    return np.ascontiguousarray(Patterns(count).images[:, :, ::2, ::2])


@pytest.mark.slow
def test_size_changes_a_graph_without_torch(conv, tmp_path):
    settings = PLAIN | {"size": "8x12"}
    compressed = apply_method(
        conv, "downsample", settings, MethodInputs(), out=tmp_path / "d", name="d"
    )
    assert compressed.record.inputs[0].shape == (-1, 3, 8, 12)
    assert compressed.record.inputs[0].layout == "NCHW"
    assert compressed.record.preprocessing == conv.record.preprocessing.model_copy(
        update={"size": (8, 12)}
    )
    assert compressed.record.network_sha256 is None
    actual = details(compressed)
    macs = 9 * (3 * 32 + 32 * 32)
    assert actual["flops_before"] == 2 * (256 * macs + 320)
    assert actual["flops_after"] == 2 * (96 * macs + 320)
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 12)).astype(np.float32)
    graph = ov.Core().read_model(conv.xml)
    graph.reshape([2, 3, 8, 12])
    assert outputs_close(outputs(compressed, images), run_graph(graph, images))
    again = apply_method(
        conv, "downsample", settings, MethodInputs(), out=tmp_path / "d", name="d", progress=Notes()
    )
    assert again.record.created == compressed.record.created  # reused


@pytest.mark.slow
def test_network_is_trained_on_resized_images(source, tmp_path):
    settings = {"size": "8x8", "epochs": 4, "learning_rate": 0.01, "batch_size": 32, "soft": 1}
    compressed = compress(source, "downsample", settings, tmp_path / "d")
    losses = [epoch["loss"] for epoch in details(compressed)["training"]["epochs"]]
    assert losses[-1] < losses[0]
    net = restore_network(network(), compressed)
    assert net.example["x"].shape == (1, 3, 8, 8)
    assert outputs_close(outputs(compressed, smaller()), network_outputs(net, smaller()))
    small = Patterns()
    small.images = smaller(96)
    then = compress(
        compressed, "train", {"epochs": 1}, tmp_path / "t", training=small,
        make=lambda: restore_network(network(), compressed),
    )  # fmt: skip
    assert then.record.inputs == compressed.record.inputs
    assert then.record.preprocessing.size == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooling_layer_is_inserted(source, tmp_path, pooling):
    settings = PLAIN | {"layer": "depthwise", "pooling": pooling}
    compressed = compress(source, "downsample", settings, tmp_path / "d")
    actual = details(compressed)
    full = 256 * 9 * (3 * 16 + 16 * 24 + 24 * 16)
    last = 9 * 16 * 32
    assert actual["flops_before"] == 2 * (full + 256 * 9 * 16 + 64 * last + 128)
    assert actual["flops_after"] == 2 * (full + 64 * 9 * 16 + 16 * last + 128)
    assert actual["parameters_before"] == actual["parameters_after"]
    assert compressed.record.preprocessing == source.record.preprocessing
    images = Patterns(4).images
    net, plain = restore_network(network(), compressed), network().module
    pool = nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)
    plain.depthwise = nn.Sequential(pool, plain.depthwise)
    with torch.no_grad():
        assert outputs_close(network_outputs(net, images), plain(torch.from_numpy(images)).numpy())
    assert outputs_close(outputs(compressed, images), network_outputs(net, images))


@pytest.mark.slow
def test_interrupted_step_gives_the_same_weights(source, tmp_path):
    settings = {"layer": "last", "epochs": 2}
    uninterrupted = compress(source, "downsample", settings, tmp_path / "whole")
    stopping = StoppingProgress("retraining, epoch 2")
    with pytest.raises(KeyboardInterrupt):
        compress(source, "downsample", settings, tmp_path / "again", progress=stopping)
    again = compress(source, "downsample", settings, tmp_path / "again")
    assert again.record.network_sha256 == uninterrupted.record.network_sha256


class Flat(Residual):
    """Has its size built in: the classifier sees every place."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(32 * 64, 4)

    def forward(self, x):
        return self.classifier(self.last(torch.relu(self.stem(x))).flatten(1))


class Mixing(Residual):
    """Takes larger images, and would make several samples of one."""

    def forward(self, x):
        x = self.last(torch.relu(self.stem(x)))
        return self.classifier(x.reshape(-1, 32, 64).mean(2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Flat, {"size": "8x8"}, "8x8: "),
        (Mixing, {"size": "32x32"}, "32x32"),
        (Residual, {"size": "16x16"}, "16x16"),
        (Flat, {"layer": "last"}, "Flat .* last: "),
        (Residual, {"layer": "first"}, "Residual .* first: "),
        (Residual, {"layer": "classifier"}, "classifier .* 2 dimensions"),
        (Residual, {"layer": "lsat"}, "layer: .*'lsat'"),
    ],
)
def test_unsupported_networks_raise(tmp_path, kind, settings, message):
    def make():
        return network(kind)

    before = parent(tmp_path / "before", make)
    with pytest.raises(InputError, match=message) as caught:
        compress(before, "downsample", PLAIN | settings, tmp_path / "d", make=make)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [(Flat, "8x8"), (Mixing, "32x32")])
def test_graph_with_a_fixed_size_raises(tmp_path, kind, size):
    before = parent(tmp_path / "before", lambda: network(kind))
    settings = PLAIN | {"size": size}
    with pytest.raises(InputError, match=f"images of {size}"):
        apply_method(before, "downsample", settings, MethodInputs(), out=tmp_path / "d", name="d")


def test_inputs_without_a_layout_raise(tmp_path):
    model = convolutional()
    model.get_parameters()[0].set_layout(ov.Layout(""))
    before = save(tmp_path / "before", model)
    with pytest.raises(InputError, match=r"size: .*H and W"):
        apply_method(
            before,
            "downsample",
            PLAIN | {"size": "8x8"},
            MethodInputs(),
            out=tmp_path / "d",
            name="d",
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "size or layer"),
        ({"size": "8x8", "layer": "last"}, "size or layer"),
        ({"size": "8"}, "size"),
        ({"size": "8by8"}, "not a shape: '8by8'"),
        ({"size": "?x8"}, "size"),
    ],
)
def test_wrong_settings_raise(settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings("downsample", settings)


@given(st.permutations("NCHW"), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_resize_follows_the_layout(letters, size):
    layout = "".join(letters)
    sides = {"N": 2, "C": 3, "H": 50, "W": 60}
    port = Port(name="x", shape=tuple(sides[c] for c in layout), dtype="f32", layout=layout)
    (compressed,) = resized_ports((port,), size)
    expected = sides | dict(zip("HW", size, strict=True))
    assert compressed.shape == tuple(expected[c] for c in layout)
    image = torch.rand(port.shape)
    resized = _interpolated(image, [layout.index("H"), layout.index("W")], size)
    assert resized.shape == compressed.shape
    assert float(resized.mean()) == pytest.approx(0.5, abs=0.25)


def test_images_are_resized_with_antialiasing():
    rows = torch.tensor([0.0, 0, 8, 8, 0, 0, 8, 8]).repeat(1, 1, 8, 1)
    compressed = _interpolated(rows, [2, 3], (8, 2))
    assert compressed.shape == (1, 1, 8, 2)
    assert torch.allclose(compressed.mean(), torch.tensor(4.0), atol=0.5)
    uninterrupted = _interpolated(torch.full((1, 1, 8, 8), 201, dtype=torch.uint8), [2, 3], (4, 4))
    assert uninterrupted.dtype == torch.uint8
    assert uninterrupted.unique().tolist() == [201]
