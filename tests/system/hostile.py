"""Models whose constants crash, block or exhaust OpenVINO 2026.4."""

import numpy as np
import openvino as ov
from openvino import opset8 as op


def _write(folder, outputs, inputs):
    folder.mkdir(parents=True)
    xml = folder / f"{folder.name}.xml"
    ov.save_model(ov.Model(outputs, inputs, folder.name), xml, compress_to_fp16=False)
    return xml


def _input(*shape):
    return op.parameter(list(shape), np.float32, name="x")


def write_out_of_range(folder):
    """GatherND with an index far outside of its data: a segmentation fault."""
    x = _input(4, 4)
    return _write(folder, [op.gather_nd(x, op.constant(np.array([[10**9, 0]])))], [x])


def write_negative_index(folder):
    """ScatterElementsUpdate below the start of its data: heap corruption."""
    x = _input(4, 4)
    indices = op.constant(np.full((2, 4), -5))
    updates = op.constant(np.ones((2, 4), np.float32))
    scattered = op.scatter_elements_update(x, indices, updates, op.constant(np.int64(0)))
    return _write(folder, [scattered], [x])


def write_huge_padding(folder):
    """Convolution with a padding of 10**9: hours of computing."""
    x = _input(1, 1, 4, 4)
    kernel = op.constant(np.ones((1, 1, 3, 3), np.float32))
    pads = [10**9, 0]
    return _write(folder, [op.convolution(x, kernel, [10**9, 1], pads, pads, [1, 1])], [x])


def write_huge_range(folder):
    """Range with 10**10 values: 40 GB."""
    x = _input(4, 4)
    start, stop, step = (op.constant(np.float32(value)) for value in (0, 1e10, 1))
    numbers = op.range(start, stop, step, "f32")
    total = op.reduce_sum(numbers, op.constant([0]), keep_dims=False)
    return _write(folder, [op.add(x, total)], [x])
