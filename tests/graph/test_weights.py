"""Weights of layers, and the types that store them."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph.weights import TypeShare, classify_codebook, count_weight_types, find_weights
from tests.helpers.graphs import convolutional, embedding, fully_connected

VALUES = np.arange(32, dtype=np.float32).reshape(4, 8)


def product(weights, *, transposed):
    x = op.parameter([-1, 8 if transposed else 4], ov.Type.f32)
    return ov.Model([op.result(op.matmul(x, weights, False, transposed))], [x], "product")


@pytest.mark.parametrize(("transposed", "axes"), [(True, (0,)), (False, (1,))])
def test_plain_weights_have_values_and_channel_axes(transposed, axes):
    (weights,) = find_weights(product(op.constant(VALUES), transposed=transposed))
    assert weights.plain
    assert np.array_equal(weights.values(), VALUES)
    assert weights.channel_axes == axes


def test_decompression_is_on_the_path():
    stored = op.constant(VALUES.astype(np.int8))
    scaled = op.multiply(op.convert(stored, "f32"), op.constant(np.float32(0.5)))
    (weights,) = find_weights(product(scaled, transposed=True))
    assert [node.get_type_name() for node in weights.path] == ["Multiply", "Convert"]
    assert weights.constant.get_element_type() == ov.Type.i8
    assert not weights.plain


def test_indices_of_a_codebook_are_the_weights():
    table = op.constant(np.array([-1, 0, 1], np.float32))
    indices = op.constant((VALUES % 3).astype(np.uint8))
    node = op.gather(table, op.convert(indices, "i32"), op.constant(np.int32(0)))
    assert classify_codebook(node) == "stored"
    (weights,) = find_weights(product(node, transposed=True))
    assert weights.constant.get_element_type() == ov.Type.u8


@pytest.mark.parametrize("index", [-1, [0, 0, 1]])
def test_items_of_a_computed_tensor_are_no_codebook(index):
    x = op.parameter([-1, 4, 8], ov.Type.f32)
    node = op.gather(x, op.constant(np.array(index)), op.constant(np.int32(1)))
    assert classify_codebook(node) is None
    y = op.matmul(node, op.constant(VALUES), False, True)
    (weights,) = find_weights(ov.Model([op.result(y)], [x], "pick"))
    assert weights.values().tolist() == VALUES.tolist()


def test_computed_indices_into_a_computed_table_are_no_codebook():
    x = op.parameter([-1, 3], ov.Type.f32)
    indices = op.add(op.constant(np.zeros(64, np.int64)), op.constant(np.int64(1)))
    assert classify_codebook(op.gather(x, indices, op.constant(np.int32(1)))) is None


def test_replaced_weights_are_read_by_the_layer():
    model = product(op.constant(VALUES), transposed=True)
    (weights,) = find_weights(model)
    weights.replace(op.constant(2 * VALUES))
    (weights,) = find_weights(model)
    assert np.array_equal(weights.values(), 2 * VALUES)


def test_small_table_is_not_an_embedding():
    types = [weights.layer.get_type_name() for weights in find_weights(embedding())]
    assert types == ["Gather", "MatMul"]
    rows = op.gather(op.constant(VALUES), op.parameter([-1], ov.Type.i64), op.constant(np.int32(0)))
    model = ov.Model([op.result(rows)], [rows.input_value(1).get_node()], "table")
    assert list(find_weights(model)) == []


def test_weights_are_counted_by_type():
    counts = count_weight_types(fully_connected())
    assert counts.shares == (TypeShare("f32", 32, 4, 4 * 64 * 64, 100.0),)
    assert counts.quantized_activations == 0


def test_quantizers_of_activations_are_counted():
    assert (
        count_weight_types(convolutional(int8=("conv0", "classifier"))).quantized_activations == 2
    )
