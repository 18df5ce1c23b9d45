"""Geometries of operations in graphs."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph.flops import count_flops
from ovtool.graph.geometry import Geometry, compute_geometries


def array(*shape):
    return op.constant(np.ones(shape, np.float32))


def sizes(make, *shape):
    x = op.parameter(list(shape), ov.Type.f32)
    node = make(x)
    model = ov.Model([op.result(node)], [x])
    (geometry,) = compute_geometries(model).values()
    (flops,) = count_flops(model).values()
    return geometry, flops


def convolution(weights, stride=1, pad=0):
    ones = [1, 1]
    return lambda x: op.convolution(x, array(*weights), [stride] * 2, [pad] * 2, [pad] * 2, ones)


def grouped(weights):
    return lambda x: op.group_convolution(x, array(*weights), [1, 1], [1, 1], [1, 1], [1, 1])


def transposed(weights):
    return lambda x: op.convolution_backprop_data(
        x, array(*weights), [2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1]
    )


def grouped_transposed(weights):
    return lambda x: op.group_convolution_backprop_data(
        x, array(*weights), [2, 2], None, [0, 0], [0, 0], [1, 1]
    )


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (
            convolution((64, 9, 7, 7)),
            (1, 9, 25, 25),
            Geometry("convolution", 361, 9, 64, 49, 1, 64 * 9 * 49),
        ),
        (convolution((32, 3, 3, 3), 2, 1), (2, 3, 8, 8), Geometry("stem", 32, 3, 32, 9, 4, 864)),
        (convolution((6, 5, 1, 1)), (2, 5, 4, 4), Geometry("pointwise", 32, 5, 6, weights=30)),
        (grouped((8, 1, 1, 3, 3)), (1, 8, 5, 5), Geometry("depthwise", 25, 1, 8, 9, 1, 72)),
        (grouped((2, 4, 3, 3, 3)), (1, 6, 5, 5), Geometry("grouped", 50, 3, 4, 9, 1, 216)),
        (transposed((6, 5, 2, 2)), (1, 6, 4, 4), Geometry("convolution", 16, 6, 5, 4, 4, 120)),
        (
            grouped_transposed((2, 3, 4, 2, 2)),
            (1, 6, 4, 4),
            Geometry("grouped", 32, 3, 4, 4, 4, 96),
        ),
        (
            lambda x: op.matmul(x, array(20, 30), False, False),
            (2, 5, 20),
            Geometry("product", 10, 20, 30, weights=600),
        ),
        (
            lambda x: op.matmul(x, array(30, 20), False, True),
            (7, 20),
            Geometry("product", 7, 20, 30, weights=600),
        ),
        (
            lambda x: op.matmul(array(30, 20), x, False, False),
            (20, 7),
            Geometry("product", 7, 20, 30, weights=600),
        ),
        (lambda x: op.matmul(x, x, False, True), (2, 4, 8, 16), Geometry("attention", 8, 16, 8)),
        (
            lambda x: op.scaled_dot_product_attention(x, x, x),
            (1, 4, 8, 16),
            Geometry("attention", 8, 16, 8),
        ),
    ],
)
def test_geometry(make, shape, expected):
    geometry, flops = sizes(make, *shape)
    assert geometry == expected
    if expected.kind not in ("attention", "depthwise"):
        expected_flops = 2 * geometry.rows * geometry.inputs * geometry.outputs * geometry.kernel
        assert flops == expected_flops


def test_decompressed_weights_are_weights():
    scaled = op.multiply(op.convert(op.constant(np.ones((4, 8), np.int8)), "f32"), array(4, 1))
    geometry, _ = sizes(lambda x: op.matmul(x, scaled, False, True), 3, 8)
    assert geometry == Geometry("product", 3, 8, 4, weights=32)


def test_state_with_a_constant_initial_value_is_not_a_weight():
    geometry, _ = sizes(lambda x: op.matmul(x, op.read_value(array(8, 4), "s"), False, False), 3, 8)
    assert geometry == Geometry("attention", 3, 8, 4)


def test_recurrent_cell_is_the_product_of_a_step():
    def cell(x):
        state = array(2, 16)
        return op.gru_cell(x, state, array(48, 8), array(48, 16), array(48), 16)

    geometry, _ = sizes(cell, 2, 8)
    assert geometry == Geometry("product", 2, 24, 48, weights=48 * 24)


def test_dynamic_shapes_are_omitted():
    x = op.parameter([-1, 8], ov.Type.f32)
    model = ov.Model([op.result(op.matmul(x, array(8, 4), False, False))], [x])
    assert compute_geometries(model) == {}
