"""Codebooks in arrays and in graphs."""

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.compression import codebook
from ovtool.compression.codebook import Codebook, write_codebook
from ovtool.graph.weights import find_weights
from tests.compression.samples import run_graph


@given(st.sampled_from([1, 2, 4]), st.data())
def test_packed_values_are_read_back(bits, data):
    from ovtool.graph import storage

    values = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40)))
    packed = codebook.low_bit_constant(values, f"u{bits}", "packed").data.view(np.uint8)
    assert packed.nbytes == -(-len(values) * bits // 8)
    assert storage.unpack_bits(packed, bits, len(values)).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("entries", "kind", "bits"),
    [(2, "u1", 1), (3, "u2", 2), (4, "u2", 2), (5, "u4", 4), (16, "u4", 4), (17, "u8", 8),
     (256, "u8", 8), (257, "u16", 16), (1 << 16, "u16", 16), ((1 << 16) + 1, "i32", 32)],
)  # fmt: skip
def test_index_type_is_the_narrowest_that_holds_the_entries(entries, kind, bits):
    table = Codebook(np.zeros(entries, np.float32), np.zeros((2, 5), np.int64))
    assert table.index_type == kind
    assert table.stored_bits == 10 * bits + 32 * entries
    assert replace(table, compute=lambda _: None).stored_bits == 32 * entries


@pytest.mark.parametrize("halved", [False, True])
def test_written_codebook_is_what_the_layer_computes(halved):
    rng = np.random.default_rng(0)
    x = op.parameter([2, 6], ov.Type.f32, name="x")
    weights = op.constant(rng.standard_normal((4, 6)).astype(np.float16 if halved else np.float32))
    product = op.matmul(x, op.convert(weights, "f32") if halved else weights, False, True)
    model = ov.Model([op.result(product)], [x], "product")
    (stored,) = find_weights(model)
    values = np.array([0, -1.5, 2.0], np.float32)
    table = Codebook(values, rng.integers(0, 3, (4, 6)))
    scale = np.array([[1], [2], [3], [4]], np.float32)
    write_codebook(stored, table, scale)
    rows = rng.standard_normal((2, 6)).astype(np.float32)
    expected = rows @ (table.weights() * scale).T
    assert run_graph(model, rows) == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(table.weights(), values[table.indices])
