"""Depthwise separable convolutions: the fit, what is replaced, and what is saved and restored."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from torch import nn

from ovtool.compression.methods.separable import fit, product
from ovtool.compression.networks import restore_network
from ovtool.core.errors import InputError
from tests.compression.samples import StoppingProgress, outputs
from tests.compression.vision_nets import (
    Patterns,
    compress,
    details,
    network,
    network_outputs,
    outputs_close,
    parent,
)

PLAIN = {"epochs": 0}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return parent(tmp_path_factory.mktemp("residual") / "residual")


@given(sizes=st.tuples(*[st.integers(1, 5)] * 4), rank=st.integers(1, 4), seed=st.integers(0, 1000))
@hypothesis_settings(max_examples=40)
def test_the_fit_is_the_best_of_its_rank(sizes, rank, seed):
    """Its error is that of the singular values it drops (Eckart and Young), channel by channel."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(sizes, generator=generator, dtype=torch.float64)
    rank = min(rank, sizes[0], sizes[2] * sizes[3])
    spatial, mixing = fit(weight, rank)
    assert spatial.shape == (sizes[1], rank, *sizes[2:])
    assert mixing.shape == (sizes[0], sizes[1], rank)
    dropped = [
        np.linalg.svd(weight[:, place].flatten(1).numpy(), compute_uv=False)[rank:]
        for place in range(sizes[1])
    ]
    expected = math.sqrt(sum(float((values**2).sum()) for values in dropped))
    assert float((product(spatial, mixing) - weight).norm()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_full_convolutions_become_depthwise_and_pointwise(source, tmp_path):
    compressed = compress(source, "separable", PLAIN, tmp_path / "s")
    actual = details(compressed)
    assert [row["layer"] for row in actual["separable"]] == ["first", "second", "last"]
    assert all(0 < row["relative_error"] < 1 for row in actual["separable"])
    net = restore_network(network(), compressed)
    assert net.module.first[0].weight.shape == (16, 1, 3, 3)
    assert net.module.first[1].weight.shape == (24, 16, 1, 1)
    assert net.module.stem[0].weight.shape == (16, 3, 3, 3)  # fewer channels than min_channels
    macs = {"stem": 256 * 3 * 16 * 9, "first": 256 * 16 * (9 + 24), "second": 256 * 24 * (9 + 16)}
    macs |= {"depthwise": 256 * 16 * 9, "last": 16 * 64 * 9 + 64 * 16 * 32, "classifier": 128}
    assert actual["flops_after"] == 2 * sum(macs.values()) < actual["flops_before"] / 3
    assert actual["parameters_after"] == sum(p.numel() for p in net.module.parameters())
    assert compressed.record.bin_bytes < source.record.bin_bytes / 3
    images = Patterns().images[:4]
    assert outputs_close(outputs(compressed, images), network_outputs(net, images))


def separable():
    """A network whose full convolution is separable already, and has a stride and a bias."""
    compressed = network()
    last = compressed.module.last
    with torch.no_grad():
        last.weight.copy_(torch.einsum("oi,ixy->oixy", torch.randn(32, 16), torch.randn(16, 3, 3)))
    return compressed


@pytest.mark.slow
def test_separable_convolution_is_replaced_exactly(tmp_path):
    source = parent(tmp_path / "source", separable)
    settings = PLAIN | {"max_error": 0.01}
    compressed = compress(source, "separable", settings, tmp_path / "s", make=separable)
    (row,) = details(compressed)["separable"]  # the others are farther off than max_error
    assert row["layer"] == "last"
    assert row["relative_error"] < 1e-5
    images = Patterns().images[:4]
    assert outputs_close(outputs(compressed, images), outputs(source, images))


@pytest.mark.slow
def test_higher_rank_has_a_smaller_error(source, tmp_path):
    errors = []
    for rank in (1, 2, 3):
        settings = PLAIN | {"rank": rank, "layers": "first"}
        compressed = compress(source, "separable", settings, tmp_path / f"s{rank}")
        (row,) = details(compressed)["separable"]
        errors.append(row["relative_error"])
        images = Patterns().images[:4]
        assert outputs_close(
            outputs(compressed, images),
            network_outputs(restore_network(network(), compressed), images),
        )
    assert errors == sorted(errors, reverse=True)


@pytest.mark.slow
def test_layers_are_selected_by_pattern_name_and_width(source, tmp_path):
    for name, settings, layers in (
        ("pattern", {"layer_patterns": "stem|last"}, ["stem.0", "last"]),
        ("ignored", {"ignored_names": "first,last"}, ["second"]),
        ("wide", {"min_channels": 20}, ["second"]),
    ):
        compressed = compress(source, "separable", PLAIN | settings, tmp_path / name)
        assert [row["layer"] for row in details(compressed)["separable"]] == layers


class Padded(nn.Conv2d):
    """Pads to one side, as TensorFlow does."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 2, 0, 2)))


class Scaled(nn.Conv2d):
    """Is more than a convolution of its weights."""

    def forward(self, x):
        return 2 * super().forward(x)


def with_layer(layer):
    def make():
        torch.manual_seed(0)
        compressed = network()
        compressed.module.second = layer(24, 16, 3, padding=0 if layer is Padded else 1)
        return compressed

    return make


@pytest.mark.slow
def test_subclass_keeps_its_padding(tmp_path):
    make = with_layer(Padded)
    source = parent(tmp_path / "source", make)
    settings = PLAIN | {"layers": "second", "rank": 5}
    compressed = compress(source, "separable", settings, tmp_path / "s", make=make)
    net, images = restore_network(make(), compressed), Patterns().images[:4]
    assert isinstance(net.module.second[0], Padded)
    assert outputs_close(outputs(compressed, images), network_outputs(net, images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": "classifier"}, "layers: classifier"),
        ({"layers": "depthwise"}, "layers: depthwise .* groups"),
        ({"layers": "first", "rank": 9}, "layers: first .* rank 9"),
        ({"layers": "frist"}, "layers: .*'frist'"),
        ({"layer_patterns": "zz"}, "layers: .*'zz'"),
        ({"min_channels": 99}, "Residual"),
    ],
)
def test_unsuitable_layers_raise(source, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        compress(source, "separable", PLAIN | settings, tmp_path / "s")


@pytest.mark.slow
def test_layer_that_is_not_a_plain_convolution_raises(tmp_path):
    make = with_layer(Scaled)
    source = parent(tmp_path / "source", make)
    with pytest.raises(InputError, match=r"second \(Scaled\)") as caught:
        compress(source, "separable", PLAIN, tmp_path / "s", make=make)
    assert "ignored_names=second" in caught.value.hint


@pytest.mark.slow
def test_interrupted_step_gives_the_same_weights(source, tmp_path):
    settings = {"epochs": 3, "feature": 1, "feature_layers": "last"}
    uninterrupted = compress(source, "separable", settings, tmp_path / "whole")
    stopping = StoppingProgress("retraining, epoch 3")
    with pytest.raises(KeyboardInterrupt):
        compress(source, "separable", settings, tmp_path / "again", progress=stopping)
    again = compress(source, "separable", settings, tmp_path / "again")
    assert again.record.network_sha256 == uninterrupted.record.network_sha256
    assert again.bin.read_bytes() == uninterrupted.bin.read_bytes()
