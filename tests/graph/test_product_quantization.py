import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph.product_quantization import read_quantization
from tests.helpers.graphs import constant, convolutional, quantized
from tests.helpers.slow_int8 import chain


def test_an_int8_layer_has_the_bits_of_both_operands():
    products = read_quantization(convolutional(int8=("conv0",))).products
    assert (products["conv0"].data_bits, products["conv0"].weight_bits) == (8, 8)
    assert products["conv0"].bits == 8
    assert products["conv1"].bits is None
    assert not products["conv0"].zero_points


def test_zero_points_of_the_weights_are_seen():
    products = read_quantization(chain(4, 4, 1, (0,), zero_points=True)).products
    assert products["conv0"].bits == 8
    assert products["conv0"].zero_points


@pytest.mark.parametrize(("levels", "bits"), [(16, 4), (255, 8), (256, 8), (65536, 16)])
def test_bits_follow_the_levels(levels, bits):
    x = op.parameter([1, 4], ov.Type.f32, name="x")
    weights = quantized(constant(np.random.default_rng(0), 4, 4), 1.0, levels=255)
    y = op.matmul(quantized(x, 4.0, levels), weights, False, True, name="y")
    product = read_quantization(ov.Model([op.result(y)], [x], "net")).products["y"]
    assert product.data_bits == bits
    assert product.bits == max(8, bits)


def test_an_operation_after_the_quantizer_is_named():
    x = op.parameter([1, 4], ov.Type.f32, name="x")
    rows = constant(np.random.default_rng(0), 4, 4)
    y = op.matmul(op.sigmoid(quantized(x, 4.0)), rows, False, True, name="y")
    graph = read_quantization(ov.Model([op.result(y)], [x], "net"))
    product = graph.products["y"]
    assert (product.between, product.data_bits, product.weight_bits) == (("Sigmoid",), None, None)
    assert [graph.types[name] for name in graph.rounding] == ["FakeQuantize"]


def test_a_product_of_two_activations_has_no_weights():
    x = op.parameter([1, 4, 4], ov.Type.f32, name="x")
    y = op.matmul(quantized(x, 4.0), x, False, True, name="y")
    z = op.matmul(quantized(x, 4.0), quantized(x, 2.0), False, True, name="z")
    products = read_quantization(ov.Model([op.result(y), op.result(z)], [x], "net")).products
    assert not products["y"].has_weights
    assert (products["y"].bits, products["z"].bits) == (None, 8)
