"""Channel pruning: the layers become smaller, and the smaller network is what was saved."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from ovtool.compression.method import MethodContext, MethodInputs
from ovtool.compression.methods import prune_channels
from ovtool.compression.networks import restore_network
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.progress import SILENT
from tests.compression.samples import StoppingProgress, outputs
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

PLAIN = {"epochs": 0}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return parent(tmp_path_factory.mktemp("residual") / "residual")


def shapes(compressed):
    net = restore_network(network(), compressed)
    return {n: tuple(p.shape) for n, p in net.module.named_parameters() if p.ndim > 1}


@pytest.mark.slow
@pytest.mark.parametrize("importance", ["l1", "l2", "taylor"])
def test_pruned_network_and_graph_agree(source, tmp_path, importance):
    settings = PLAIN | {"ratio": 0.5, "importance": importance}
    compressed = compress(source, "prune-channels", settings, tmp_path / "half")
    assert shapes(compressed) == {
        "stem.0.weight": (8, 3, 3, 3),
        "first.weight": (12, 8, 3, 3),
        "second.weight": (8, 12, 3, 3),  # what is added to the stem's goes with it
        "depthwise.weight": (8, 1, 3, 3),
        "last.weight": (16, 8, 3, 3),
        "classifier.weight": (4, 16),  # its outputs stay
    }
    actual = details(compressed)
    assert actual["channels"]["first"] == [24, 12]
    assert actual["parameters_after"] == sum(
        p.numel() for p in restore_network(network(), compressed).module.parameters()
    )
    assert actual["flops_after"] < 0.3 * actual["flops_before"]
    assert compressed.record.bin_bytes < 0.4 * source.record.bin_bytes
    images = Patterns().images[:4]
    assert outputs_close(
        outputs(compressed, images), network_outputs(restore_network(network(), compressed), images)
    )


@pytest.mark.slow
def test_flops_are_counted_by_hand(source, tmp_path):
    actual = details(compress(source, "prune-channels", PLAIN | {"ratio": 0.5}, tmp_path / "half"))

    def macs(stem, first, last):
        full = 256 * 9 * (3 * stem + 2 * stem * first + stem)
        return full + 64 * 9 * stem * last + last * 4

    assert actual["flops_before"] == 2 * macs(16, 24, 32)
    assert actual["flops_after"] == 2 * macs(8, 12, 16)


@pytest.mark.slow
def test_channels_of_smallest_norm_are_removed(source, tmp_path):
    weak = [1, 5, 7]

    def make():
        compressed = network()
        with torch.no_grad():
            for name in ("first.weight", "norm.weight"):
                compressed.module.get_parameter(name)[weak] *= 1e-3
            compressed.module.second.weight[:, weak] *= 1e-3
        return compressed

    weakened = parent(tmp_path / "weak", make)
    for importance in ("l1", "l2", "taylor", "bn_scale"):
        settings = PLAIN | {"ratio": 0.125, "importance": importance}
        compressed = compress(
            weakened, "prune-channels", settings, tmp_path / importance, make=make
        )
        history = {name: places for name, _, places in details(compressed)["pruning_history"]}
        assert history["first"] == weak


@pytest.mark.slow
def test_ratio_of_flops_is_removed(source, tmp_path):
    settings = PLAIN | {"ratio": 0.4, "ratio_of": "flops", "ranking": "network"}
    actual = details(compress(source, "prune-channels", settings, tmp_path / "flops"))
    removed = 1 - actual["flops_after"] / actual["flops_before"]
    assert 0.4 <= removed < 0.55
    assert actual["ratio_of_channels"] < 0.4  # for the arithmetic falls with its square


@pytest.mark.slow
def test_ignored_layers_and_multiples(source, tmp_path):
    settings = PLAIN | {"ratio": 0.3, "round_to": 8, "ignored_names": "last"}
    compressed = compress(source, "prune-channels", settings, tmp_path / "eights")
    left = shapes(compressed)
    assert left["last.weight"][0] == 32
    assert left["first.weight"][:2] == (16, 8)


@pytest.mark.slow
def test_several_steps_with_training_between(source, tmp_path):
    settings = {"ratio": 0.5, "steps": 2, "epochs": 2, "step_epochs": 1, "learning_rate": 0.01}
    compressed = compress(source, "prune-channels", settings, tmp_path / "steps")
    actual = details(compressed)
    assert shapes(compressed)["first.weight"] == (12, 8, 3, 3)
    assert [len(t["epochs"]) for t in actual["training_between"]] == [1]
    losses = [epoch["loss"] for epoch in actual["training"]["epochs"]]
    assert losses[-1] < actual["training_between"][0]["epochs"][0]["loss"]
    images = Patterns().images[:4]
    assert outputs_close(
        outputs(compressed, images), network_outputs(restore_network(network(), compressed), images)
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", ["retraining after step 1, epoch 2", "retraining, epoch 2"])
def test_interrupted_step_gives_the_same_weights(source, tmp_path, words):
    settings = {"ratio": 0.5, "steps": 2, "epochs": 3, "step_epochs": 2, "soft": 1}
    uninterrupted = compress(source, "prune-channels", settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        compress(
            source, "prune-channels", settings, tmp_path / "again", progress=StoppingProgress(words)
        )
    assert list(tmp_path.glob(".again.*.part/*.pt"))
    again = compress(source, "prune-channels", settings, tmp_path / "again")
    assert again.record.network_sha256 == uninterrupted.record.network_sha256
    assert again.bin.read_bytes() == uninterrupted.bin.read_bytes()
    assert not list(tmp_path.glob(".again.*"))


@pytest.mark.slow
def test_pruning_twice_restores_both(source, tmp_path):
    once = compress(source, "prune-channels", PLAIN, tmp_path / "once")
    twice = compress(
        once,
        "prune-channels",
        PLAIN,
        tmp_path / "twice",
        make=lambda: restore_network(network(), once),
    )
    assert shapes(twice)["first.weight"][0] < shapes(once)["first.weight"][0] < 24
    images = Patterns().images[:4]
    assert outputs_close(
        outputs(twice, images), network_outputs(restore_network(network(), twice), images)
    )


def test_frozen_parameters_stay_frozen():
    net = network()
    net.module.first.weight.requires_grad_(False)
    cut = prune_channels._ChannelPruner(net, prune_channels.PruneChannelsSettings(), 0.5, 1, None)
    cut.step()
    assert net.module.first.weight.shape[0] == 12
    frozen = [n for n, p in net.module.named_parameters() if not p.requires_grad]
    assert frozen == ["first.weight"]


class FixedWidth(Residual):
    """A network with a channel count in its code."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.classifier(self.last(x).reshape(len(x), 32, -1).mean(2))


class Both(Residual):
    """A network with a middle layer as second output."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.classifier(self.last(x).mean((2, 3))), x


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Residual, {"ignored_patterns": "."}, "^prune-channels .* Residual$"),
        (Residual, {"ignored_names": "frist"}, "ignored: .*'frist'"),
        pytest.param(
            Residual, {"ratio_of": "flops", "ratio": 0.998}, "99.8%", marks=pytest.mark.slow
        ),
        (FixedWidth, {}, "torch-pruning .* FixedWidth"),
        (Both, {}, "Both from"),
    ],
)
def test_unsupported_networks_raise(tmp_path, kind, settings, message):
    def make():
        return network(kind)

    before = parent(tmp_path / "before", make)
    with pytest.raises(InputError, match=message) as caught:
        compress(before, "prune-channels", PLAIN | settings, tmp_path / "after", make=make)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "after").exists()


@pytest.mark.slow
def test_ignored_output_keeps_its_channels(tmp_path):
    def make():
        return network(Both)

    settings = PLAIN | {"ignored_names": "stem", "ratio": 0.5}
    compressed = compress(
        parent(tmp_path / "b", make), "prune-channels", settings, tmp_path / "c", make=make
    )
    assert [port.shape[1] for port in compressed.record.outputs] == [4, 16]
    assert details(compressed)["channels"] == {"last": [32, 16]}


def test_missing_library_names_the_extra(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingDependencyError, match="prune-channels") as caught:
        compress(source, "prune-channels", PLAIN, tmp_path / "x")
    assert caught.value.hint == "pip install 'ovtool[pruning]'"


def test_taylor_uses_gradients_of_the_mean_loss():
    net = network()
    data = Patterns(24)
    settings = prune_channels.PruneChannelsSettings(
        taylor_samples=10, batch_size=4, importance="taylor"
    )

    inputs = MethodInputs(training=data)
    context = MethodContext(None, settings, None, inputs, None, SILENT)
    prune_channels._gradient_function(context)(net)
    got = net.module.first.weight.grad.clone()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))[:10]
    same = network().module
    scores = same(torch.from_numpy(data.images)[order])
    nn.functional.cross_entropy(scores, torch.from_numpy(data.labels)[order]).backward()
    assert np.allclose(got, same.first.weight.grad, atol=1e-6)
