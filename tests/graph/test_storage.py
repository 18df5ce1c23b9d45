import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph import huffman
from ovtool.graph.storage import load_storage, measure_storage
from tests.compression.samples import compress
from tests.helpers.graphs import embedding, save


def measure(variant):
    return measure_storage(variant.xml, ov.Core().read_model(variant.xml))


def two_layers(tmp_path, weights):
    """Two layers with the same weights, which are stored once."""
    x = op.parameter([1, weights.shape[1]], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for _ in range(2):
        h = op.matmul(h, op.constant(weights), False, True)
    h.output(0).set_names({"y"})
    return save(tmp_path / "two", ov.Model([op.result(h)], [x], "two"))


def test_counts_and_coded_size(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.choice([0.0, 0.5, -1.5], (64, 64), p=[0.7, 0.2, 0.1]).astype(np.float32)
    variant = two_layers(tmp_path, weights)
    assert variant.record.bin_bytes < 1.1 * weights.nbytes, "stored once"
    storage = measure(variant)
    assert (storage.parameters, storage.distinct_weights, storage.distinct_most) == (4096, 3, 3)
    assert storage.nonzero_pct == pytest.approx(100 * (weights != 0).mean(), abs=1e-3)
    counts = np.unique(weights, return_counts=True)[1]
    dense = huffman.compute_coded_bits(counts, 32, 1e9)
    places = np.flatnonzero(weights)
    nonzero_counts = np.unique(weights[weights != 0], return_counts=True)[1]
    coded = huffman.compute_sparse_bits(places, nonzero_counts, 32, dense)
    size = variant.record.xml_bytes + variant.record.bin_bytes
    assert storage.coded_mib * 2**20 == pytest.approx(size - weights.nbytes + coded / 8, abs=1)


def test_counting_in_parts_gives_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    weights = rng.choice([0.0, 0.5, -1.5], (64, 64), p=[0.7, 0.2, 0.1]).astype(np.float32)
    parent = two_layers(tmp_path, weights)
    variant = compress(parent, "fp16", {}, None, out=tmp_path / "half", name="half")
    whole = measure(variant)
    monkeypatch.setattr("ovtool.graph.storage._CHUNK", 100)
    assert measure(variant) == whole
    assert whole.distinct_weights == 3


def test_incompressible_weights_keep_their_size(conv):
    storage = measure(conv)
    assert storage.parameters == 3 * 32 * 9 + 32 * 32 * 9 + 320 + 2 * 32
    assert storage.coded_mib == conv.model_mib
    assert storage.nonzero_pct == 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("fp16", {}),
        ("weights", {"mode": "int8_sym"}),
        ("weights", {"mode": "int8_asym"}),
        ("weights", {"mode": "int4_asym", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "int4_sym", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "int3_sym", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "int2_sym", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "nf4", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "fp4", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "fp8_e4m3", "group_size": 32, "all_layers": True}),
        ("weights", {"mode": "mxfp8_e4m3", "all_layers": True}),
        ("weights", {"mode": "cb4", "all_layers": True}),
        ("weight-sharing", {}),
        ("ternary", {"keep_first": False, "keep_last": False}),
        ("binary", {"keep_first": False, "keep_last": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("mode", ""),
)
def test_zeros_equal_those_of_the_compiled_weights(tmp_path, method, settings):
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.6] = 0
    model = ov.Core().read_model(two_layers(tmp_path, weights).xml)
    nodes = [o for o in model.get_ordered_ops() if o.get_type_name() == "MatMul"]
    other = op.constant(rng.permutation(weights))
    nodes[1].input(1).replace_source_output(other.output(0))
    parent = save(tmp_path / "sparse", model)
    variant = compress(parent, method, settings, None, out=tmp_path / "m", name="m")
    zeros = total = 0
    for node in ov.Core().read_model(variant.xml).get_ordered_ops():
        if node.get_type_name() == "MatMul":
            source = ov.Model([op.result(node.input_value(1))], [], "weights")
            values = ov.Core().compile_model(source, "CPU")({})[0]
            zeros, total = zeros + (values == 0).sum(), total + values.size
    storage = load_storage(variant)
    assert storage.parameters == total == 2 * 64 * 64
    assert storage.nonzero_pct == pytest.approx(100 - 100 * zeros / total, abs=1e-3)
    assert storage == measure(variant)


def test_embeddings_are_counted(tmp_path):
    assert measure(save(tmp_path / "text", embedding())).parameters == 50 * 32 + 8 * 32
