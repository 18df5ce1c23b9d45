"""Training of shared weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ovtool.compression import shared_weights
from ovtool.compression.method import MethodInputs, MissingInputError
from ovtool.compression.methods.weight_sharing import WeightSharingSettings, cluster_weights
from ovtool.compression.pipeline import apply_method
from ovtool.core import variant
from ovtool.datasets.samples import Sample
from ovtool.models.network import Network
from tests.compression.samples import compress, layer_weights, run_graph
from tests.helpers.graphs import save


class Labelled:
    """Pictures of four classes, each brightest in its own corner."""

    reference, labelled, notes = "corners", True, ()

    def __init__(self, count=96):
        rng = np.random.default_rng(5)
        self._rows = rng.standard_normal((count, 3, 8, 8)).astype(np.float32)
        for index in range(count):
            y, x = divmod(index % 4, 2)
            self._rows[index, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] += 1

    def __len__(self):
        return len(self._rows)

    def __iter__(self):
        for index, row in enumerate(self._rows):
            yield Sample({"x": row}, index % 4, f"row {index}")


class Net(torch.nn.Module):
    """A convolution whose normalization is merged, a grouped one, a product; zeros in the first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(16)
        self.grouped = torch.nn.Conv2d(16, 32, 3, groups=4, stride=2)
        self.last = torch.nn.Linear(32 * 9, 4)
        with torch.no_grad():
            self.first.weight[:, 1] = 0
            self.norm.weight.uniform_(0.5, 2)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        h = torch.relu(self.norm(self.first(x)))
        return self.last(torch.relu(self.grouped(h)).flatten(1))


def network():
    return Network(Net().eval(), {"x": torch.zeros(2, 3, 8, 8)}, False, "net")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    model = network().to_openvino()
    model.outputs[0].get_tensor().set_names({"y"})
    return save(tmp_path_factory.mktemp("net") / "net", model)


def training(parent, method, settings, out, **options):
    inputs = MethodInputs(training=Labelled(), network=network)
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, **settings}
    return apply_method(parent, method, settings, inputs, out=out, name=out.name, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings", "most"),
    [("weight-sharing", {"bits": 3}, 8), ("hashed-weights", {"ratio": 0.01}, 12)],
)
def test_trained_values_are_in_the_network_and_the_graph(trained, tmp_path, method, settings, most):
    compressed = training(trained, method, settings, tmp_path / "s")
    details = compressed.record.steps[-1].details
    assert len(details["training"]["epochs"]) == 2
    assert details["shared_layers"] == 3
    fresh = network()
    before = {n: p.clone() for n, p in fresh.module.named_parameters() if p.ndim > 1}
    fresh.load(compressed.folder / variant.NETWORK)
    for name, weight in fresh.module.named_parameters():
        if weight.ndim > 1:
            assert len(weight.unique()) <= most
            assert not torch.equal(weight, before[name])
    if method == "weight-sharing":
        assert not fresh.module.first.weight[:, 1].any(), "zeros stay"
        assert fresh.module.first.weight[:, 0].all()
    rows = np.random.default_rng(2).standard_normal((2, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = fresh.module(torch.from_numpy(rows)).numpy()
    assert run_graph(compressed.xml, rows) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    stored = {row["type"]: row["layers"] for row in details["weights"]}
    assert sum(stored.values()) == 3
    assert "f32" not in stored


@pytest.mark.slow
def test_training_changes_values_but_not_indices(trained, tmp_path):
    untrained = training(trained, "weight-sharing", {"learning_rate": 1e-12}, tmp_path / "a")
    compressed = training(trained, "weight-sharing", {}, tmp_path / "b")
    a, b = (load_file(v.folder / variant.NETWORK) for v in (untrained, compressed))
    for name in ("first.weight", "grouped.weight", "last.weight"):
        pairs = {*zip(a[name].flatten().tolist(), b[name].flatten().tolist(), strict=True)}
        assert len(pairs) == len(a[name].unique()) == len({y for _, y in pairs})
        assert pairs != {(x, x) for x, _ in pairs}


def test_gradient_of_a_value_is_the_sum_over_its_weights(tmp_path):
    module = torch.nn.Linear(6, 2, bias=False)
    values = module.weight.detach().numpy().copy()
    values[0, :2] = 0
    table = cluster_weights(values, WeightSharingSettings(clusters=3))
    shared_weights.tie(module, table)
    x = torch.arange(6.0).reshape(1, 6) + 1
    module(x).sum().backward()
    by_weight = np.tile(x.numpy(), (2, 1))
    sums = np.bincount(table.indices.ravel(), by_weight.ravel(), len(table.values))
    sums[0] = 0  # zero is held
    assert module.parametrizations.weight.original.grad.numpy() == pytest.approx(sums)


@pytest.mark.slow
def test_ignored_layers_stay_in_float(trained, tmp_path):
    last = list(layer_weights(trained))[-1]
    compressed = training(trained, "weight-sharing", {"ignored_names": last}, tmp_path / "s")
    weights = compressed.record.steps[-1].details["weights"]
    assert {row["type"]: row["layers"] for row in weights} == {"f32": 1, "u4": 2}


def test_training_needs_data_and_a_network(conv, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "weight-sharing", {"epochs": 1}, None, out=tmp_path / "s", name="s")
    assert caught.value.need == "training"
