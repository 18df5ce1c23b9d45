import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.compression.methods.weight_sharing import WeightSharingSettings, cluster_weights
from ovtool.core.errors import InputError
from ovtool.graph.weights import find_weights
from tests.compression.samples import compress, decode_weights, layer_weights, run_graph
from tests.helpers.graphs import embedding, save


@pytest.mark.slow
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
    before, after = layer_weights(conv), ov.Core().read_model(compressed.xml)
    expected = {}
    for name, values in decode_weights(after).items():
        expected[name] = cluster_weights(
            before[name].values(), WeightSharingSettings(**settings)
        ).weights()
        assert np.array_equal(values, expected[name])
        assert len(np.unique(values)) <= most
    # The whole model too: the same as one with these weights written out.
    model = ov.Core().read_model(conv.xml)
    for name, stored in layer_weights(model).items():
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
