import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op
from safetensors.torch import load_file

from ovtool.compression import shared_weights
from ovtool.compression.method import MethodInputs, MissingInputError
from ovtool.compression.methods.weight_sharing import WeightSharingSettings, cluster_weights
from ovtool.compression.pipeline import apply_method
from ovtool.core import variant
from ovtool.core.errors import InputError
from ovtool.datasets.samples import Sample
from ovtool.graph.weights import find_weights
from ovtool.models.network import Network
from tests.compression.samples import compress, decode_weights, run_graph
from tests.helpers.graphs import embedding, save


def plain(variant_or_model):
    model = getattr(variant_or_model, "xml", variant_or_model)
    model = ov.Core().read_model(model) if not isinstance(model, ov.Model) else model
    return {stored.name: stored for stored in find_weights(model)}


@pytest.mark.parametrize(
    ("settings", "most", "kind"),
    [
        ({"bits": 1}, 2, "u1"),
        ({"clusters": 4}, 4, "u2"),
        ({}, 16, "u4"),
        ({"bits": 6, "start": "density"}, 64, "u8"),
    ],
)
def test_engine_reads_the_codebook_values(conv, pictures, tmp_path, settings, most, kind):
    compressed = compress(conv, "weight-sharing", settings, None, out=tmp_path / "s", name="s")
    before, after = plain(conv), ov.Core().read_model(compressed.xml)
    expected = {}
    for name, values in decode_weights(after).items():
        expected[name] = cluster_weights(
            before[name].values(), WeightSharingSettings(**settings)
        ).weights()
        assert np.array_equal(values, expected[name])
        assert len(np.unique(values)) <= most
    # The whole model too: the same as one with these weights written out.
    model = ov.Core().read_model(conv.xml)
    for name, stored in plain(model).items():
        stored.replace(op.constant(expected[name]))
    rows = np.stack([sample.inputs["x"] for sample in pictures])
    assert run_graph(compressed.xml, rows) == pytest.approx(
        run_graph(model, rows), rel=1e-4, abs=1e-6
    )
    weights = compressed.record.steps[-1].details["weights"]
    assert [row["type"] for row in weights] == [kind]
    bits = weights[0]["bits"]
    count = sum(values.size for values in expected.values())
    assert compressed.record.bin_bytes < count * bits / 8 + 3 * most * 4 + 600
    details = compressed.record.steps[-1].details
    assert details["shared_layers"] == 3
    assert details["storage"]["distinct_most"] <= most


def test_embeddings_are_shared_and_layers_that_would_grow_are_skipped(tmp_path):
    parent = save(tmp_path / "text", embedding())
    compressed = compress(parent, "weight-sharing", {"bits": 8}, None, out=tmp_path / "s", name="s")
    details = compressed.record.steps[-1].details
    assert (details["shared_layers"], details["layers_that_would_not_shrink"]) == (1, 1)
    assert sorted(row["type"] for row in details["weights"]) == ["f32", "u8"]


def test_shared_weights_cannot_be_shared_again(conv, tmp_path):
    once = compress(conv, "weight-sharing", {}, None, out=tmp_path / "s", name="s")
    with pytest.raises(InputError, match=r"weight-sharing .* s$"):
        compress(once, "weight-sharing", {}, None, out=tmp_path / "t", name="t")


def test_bits_and_clusters_are_exclusive(conv, tmp_path):
    with pytest.raises(InputError, match="bits and clusters"):
        compress(
            conv, "weight-sharing", {"bits": 2, "clusters": 4}, None, out=tmp_path / "s", name="s"
        )


some = st.lists(st.floats(-4, 4, width=32, allow_subnormal=False) | st.just(0.0), min_size=1)


@given(some, st.integers(2, 9), st.sampled_from(["linear", "density", "random"]))
def test_codebook_keeps_zeros_and_few_distinct_values(actual, clusters, start):
    values = np.array(actual, np.float32)
    table = cluster_weights(values, WeightSharingSettings(clusters=clusters, start=start))
    assert len(table.values) <= clusters
    assert ((table.weights() == 0) | (values != 0)).all()
    if len(np.unique(values)) <= clusters:
        assert np.array_equal(table.weights(), values)


def test_pruned_zeros_stay_and_reduce_the_coded_size(tmp_path, conv):
    model = ov.Core().read_model(conv.xml)
    for stored in list(find_weights(model)):
        values = stored.values()
        sparse = np.where(np.abs(values) < np.quantile(np.abs(values), 0.9), 0, values)
        stored.replace(op.constant(sparse))
    parent = save(tmp_path / "sparse", model)
    compressed = compress(parent, "weight-sharing", {}, None, out=tmp_path / "s", name="s")
    storage = compressed.record.steps[-1].details["storage"]
    assert storage["nonzero_pct"] == pytest.approx(10, abs=0.5)
    assert storage["coded_mib"] < compressed.model_mib - 0.25 * storage["parameters"] / 8 / 2**20


class Labelled:
    """Pictures of four classes, each brightest in its own corner."""

    reference, labelled = "corners", True

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
    last = list(plain(trained))[-1]
    compressed = training(trained, "weight-sharing", {"ignored_names": last}, tmp_path / "s")
    weights = compressed.record.steps[-1].details["weights"]
    assert {row["type"]: row["layers"] for row in weights} == {"f32": 1, "u4": 2}


def test_training_needs_data_and_a_network(conv, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "weight-sharing", {"epochs": 1}, None, out=tmp_path / "s", name="s")
    assert caught.value.need == "training"


def test_shared_weights_cannot_be_quantized(conv, pictures, tmp_path):
    shared = compress(
        conv, "weight-sharing", {"min_weights": 1}, None, out=tmp_path / "s", name="s"
    )
    with pytest.raises(InputError, match=r"\d layers") as caught:
        compress(shared, "int8", {}, pictures, out=tmp_path / "q", name="q")
    assert caught.value.hint
