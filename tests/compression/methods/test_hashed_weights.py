"""Hashed weights: the hash in arrays and in the graph, the values, and what is stored."""

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.compression.methods.hashed_weights import PositionHash, hash_weights
from tests.compression.samples import compress, decode_weights, run_graph
from tests.helpers.graphs import save


@given(st.integers(1, 400), st.floats(0.01, 0.9), st.integers(0, 5))
def test_hash_depends_on_positions_only_and_values_are_means(count, ratio, seed):
    values = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    table, other = hash_weights(values, ratio, seed), hash_weights(values + 1, ratio, seed)
    assert len(table.values) == max(1, round(count * ratio))
    assert np.array_equal(table.indices, other.indices)
    for bucket in np.unique(table.indices):
        assert table.values[bucket] == pytest.approx(
            values[table.indices == bucket].mean(), abs=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "buckets"), [(40_000, 100), (80_000, 100), (3_000_000, 90_000)])
def test_hash_is_uniform_and_separates_neighbors(count, buckets):
    indices = PositionHash.seeded(buckets, 0).hash_positions(count)
    expected = count / buckets
    chi = (np.square(np.bincount(indices, minlength=buckets) - expected) / expected).sum()
    assert abs(chi - (buckets - 1)) < 6 * np.sqrt(2 * buckets), "chi-squared, six deviations"
    for step in (1, 3, 9, 288):
        equal = (indices[step:] == indices[:-step]).mean()
        assert abs(equal - 1 / buckets) < 6 * np.sqrt(1 / buckets / count)


@pytest.mark.parametrize(
    ("shape", "buckets"), [((7, 11), 5), ((500, 300), 1000), ((1000, 3, 70), 60_000)]
)
def test_graph_computes_the_same_buckets(shape, buckets):
    position_hash = PositionHash.seeded(buckets, 3)
    model = ov.Model([op.result(position_hash.operations(shape))], [], "indices")
    actual = ov.Core().compile_model(model, "CPU")({})[0]
    assert actual.shape == shape
    assert np.array_equal(actual.ravel(), position_hash.hash_positions(actual.size))


@pytest.mark.slow
def test_large_layer_stores_no_indices_and_runs_like_plain_weights(tmp_path):
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 256], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    weights = rng.standard_normal((512, 256)).astype(np.float32)
    h = op.matmul(x, op.constant(weights), False, True, name="product")
    h.output(0).set_names({"y"})
    parent = save(tmp_path / "wide", ov.Model([op.result(h)], [x], "wide"))
    compressed = compress(
        parent, "hashed-weights", {"ratio": 1 / 64}, None, out=tmp_path / "h", name="h"
    )
    assert compressed.record.bin_bytes < 512 * 256 / 64 * 4 + 500
    assert compressed.model_mib < parent.model_mib / 16
    details = compressed.record.steps[-1].details
    assert (details["table_values"], details["shared_weights"]) == (2048, 512 * 256)
    assert details["storage"]["parameters"] == 2048, "stored values only"
    rows = rng.standard_normal((3, 256)).astype(np.float32)
    shared = hash_weights(weights, 1 / 64, 0).weights()
    assert run_graph(compressed.xml, rows) == pytest.approx(rows @ shared.T, rel=1e-3, abs=1e-3)
    compiled = ov.Core().compile_model(compressed.xml, "CPU")
    kinds = {o.get_rt_info()["layerType"].astype(str)
             for o in compiled.get_runtime_model().get_ops()}  # fmt: skip
    assert kinds.isdisjoint({"Range", "Gather", "Eltwise", "Math"}), "folded during compilation"


@pytest.mark.slow
def test_small_layer_stores_indices_if_they_are_smaller(conv, tmp_path):
    compressed = compress(
        conv, "hashed-weights", {"ratio": 1 / 64}, None, out=tmp_path / "h", name="h"
    )
    details = compressed.record.steps[-1].details
    assert details["shared_weights"] == 3 * 32 * 9 + 32 * 32 * 9 + 320
    assert details["table_values"] == sum(round(n / 64) for n in (864, 9216, 320))
    assert {row["type"] for row in details["weights"]} == {"u4", "u8"}
    for values in decode_weights(ov.Core().read_model(compressed.xml)).values():
        assert len(np.unique(values)) <= max(1, round(values.size / 64))


def test_keep_spread_restores_the_standard_deviation():
    weights = np.random.default_rng(3).normal(0, 0.1, (100, 64)).astype(np.float32)
    mean, spread = (
        hash_weights(weights, 1 / 64, 0, keep_spread=keep).weights() for keep in (False, True)
    )
    assert mean.std() < 0.03
    assert spread.std() == pytest.approx(0.1, rel=0.2)
    assert np.corrcoef(mean.ravel(), spread.ravel())[0, 1] == pytest.approx(1)
