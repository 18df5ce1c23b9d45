"""Compression that graphs have already, detected from their operations and constants."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph.quantization import (
    NONE,
    count_low_bit_layers,
    detect_compression,
    is_quantized,
)
from tests.helpers.graphs import attention, convolutional, embedding, fully_connected, quantized
from tests.helpers.quantized_models import save_mlp, write_dynamic, write_qdq

ROWS = np.arange(32 * 64, dtype=np.float32).reshape(32, 64)


def product(weights, before=lambda x: x):
    x = op.parameter([-1, 64], ov.Type.f32)
    return ov.Model([op.result(op.matmul(before(x), weights, False, True, name="dense"))], [x])


def scaled(stored, kind="f32"):
    return op.multiply(op.convert(stored, kind), op.constant(np.ones((32, 1), kind[0] + "4")))


def codes(kind):
    return op.constant((ROWS % 2).astype(np.uint8), dtype=getattr(ov.Type, kind))


@pytest.mark.parametrize("graph", [convolutional, embedding, fully_connected])
def test_graphs_in_float_are_not_compressed(graph):
    compression = detect_compression(graph())
    assert compression.label == NONE
    assert not compression.quantized


def test_attention_in_float_is_not_compressed():
    assert detect_compression(attention(fused=False)).label == NONE


def test_weights_in_16_bits_are_not_compressed():
    graph = product(op.convert(op.constant(ROWS.astype(np.float16)), "f32"))
    assert detect_compression(graph).label == NONE


@pytest.mark.parametrize(
    ("kind", "label"),
    [("i8", "int8"), ("u8", "int8"), ("u4", "int4"), ("i4", "int4"), ("u2", "int2")],
)
def test_weights_in_few_bits_are_named(kind, label):
    compression = detect_compression(product(scaled(codes(kind))))
    assert compression.label == f"weights {label}"
    assert not is_quantized(compression.label)
    assert not compression.quantized


def test_tables_of_shared_weights_are_a_codebook():
    table = op.constant(np.array([-1, 1], np.float32))
    rows = op.gather(table, op.convert(codes("u8"), "i32"), op.constant(np.int32(0)))
    assert detect_compression(product(rows)).label == "weights codebook"


def test_quantized_layers_have_quantized_data_and_weights():
    compression = detect_compression(convolutional(int8=("conv0", "classifier")))
    assert compression.label == "int8"
    assert compression.quantized == {"conv0", "classifier"}
    assert compression.products == 3


def test_a_layer_with_quantized_weights_alone_is_not_quantized():
    compression = detect_compression(product(quantized(op.constant(ROWS), 1.0, levels=255)))
    assert compression.label == "weights int8"
    assert not compression.quantized


def test_values_that_are_moved_stay_quantized():
    def before(x):
        rows = op.reshape(quantized(x, 1.0), op.constant(np.array([-1, 8, 8])), special_zero=False)
        swapped = op.transpose(op.relu(rows), op.constant(np.array([0, 2, 1])))
        return op.reshape(swapped, op.constant(np.array([-1, 64])), special_zero=False)

    assert detect_compression(product(scaled(codes("i8")), before)).quantized == {"dense"}
    unmoved = product(scaled(codes("i8")), lambda x: op.sigmoid(quantized(x, 1.0)))
    assert not detect_compression(unmoved).quantized


def test_integer_images_are_not_quantized():
    image = op.parameter([1, 64], ov.Type.u8)
    scores = op.matmul(op.convert(image, "f32"), op.constant(ROWS), False, True)
    assert detect_compression(ov.Model([op.result(scores)], [image])).label == NONE


def test_more_levels_are_more_bits():
    wide = product(scaled(codes("i8")), lambda x: quantized(x, 1.0, levels=65536))
    assert detect_compression(wide).label == "int16"


def test_quantized_onnx_files_are_detected(tmp_path):
    source = save_mlp(tmp_path / "mlp.onnx")
    files = {
        NONE: source,
        "int8": write_qdq(source, tmp_path / "qdq.onnx"),
        "int8 dynamic": write_dynamic(source, tmp_path / "dynamic.onnx"),
    }
    for label, path in files.items():
        compression = detect_compression(ov.Core().read_model(path))
        assert compression.label == label.split()[0]
        assert len(compression.quantized) == (0 if label == NONE else 3)
        assert compression.products == 3


def test_layers_with_weights_in_few_bits_are_counted():
    counted = count_low_bit_layers(product(scaled(codes("u4"))))
    assert (counted.layers, counted.low_bit, counted.types) == (1, 1, ("int4",))
    assert count_low_bit_layers(convolutional(int8=("conv0",))).low_bit == 1
