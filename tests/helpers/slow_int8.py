"""Pairs of networks, in f32 and in INT8, in which INT8 gains little for a planted cause."""

from functools import partial

import numpy as np
import openvino as ov
from openvino import opset15 as op

from tests.helpers.graphs import constant, quantized


def chain(width, size, depth, int8=(), zero_points=False):
    """[1, width, size, size] -> ``depth`` convolutions; ``int8`` has the indices to quantize."""
    rng = np.random.default_rng(0)
    x = _input(width, size)
    h = x
    for index in range(depth):
        kernels = constant(rng, width, width, 3, 3)
        if index in int8:
            h = quantized(h, 4.0)
            kernels = _shifted(rng, width) if zero_points else quantized(kernels, 1.0, levels=255)
        h = op.convolution(h, kernels, [1, 1], [1, 1], [1, 1], [1, 1])
        h.set_friendly_name(f"conv{index}")
        h = op.relu(op.add(h, constant(rng, 1, width, 1, 1)))
    return _model(h, x)


def softmaxes(depth, *, int8):
    """[1, 16, 96, 96] -> 1x1 convolution -> ``depth`` times softmax and transpose -> the same."""
    rng = np.random.default_rng(0)
    x = _input(16, 96)
    h = x
    for index in range(2):
        kernels = constant(rng, 16, 16, 1, 1)
        if int8:
            h, kernels = quantized(h, 4.0), quantized(kernels, 1.0, levels=255)
        h = op.convolution(h, kernels, [1, 1], [0, 0], [0, 0], [1, 1])
        h.set_friendly_name(f"conv{index}")
        for _ in range(depth if index == 0 else 0):
            h = op.transpose(op.softmax(h, 1), op.constant(np.array([0, 1, 3, 2])))
    return _model(h, x)


def _input(width, size):
    x = op.parameter([1, width, size, size], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    return x


def _model(h, x):
    h.output(0).set_names({"y"})
    return ov.Model([op.result(h)], [x], "net")


def _shifted(rng, width):
    """Weights in unsigned 8 bits, with a zero point of each output channel."""
    values = rng.integers(0, 255, (width, width, 3, 3)).astype(np.uint8)
    points = rng.integers(90, 160, (width, 1, 1, 1)).astype(np.uint8)
    centered = op.subtract(op.convert(op.constant(values), "f32"),
                           op.convert(op.constant(points), "f32"))  # fmt: skip
    return op.multiply(centered, op.constant(np.float32(1e-3)))


PLANTED = {
    "weights-zero-points": (
        partial(chain, 32, 24, 3),
        partial(chain, 32, 24, 3, range(3), zero_points=True),
    ),
    "float-island": (partial(chain, 32, 24, 5), partial(chain, 32, 24, 5, (0, 2, 4))),
    "small-layers": (partial(chain, 8, 6, 24), partial(chain, 8, 6, 24, range(24))),
    "memory-bound": (partial(softmaxes, 4, int8=False), partial(softmaxes, 4, int8=True)),
}
"""Functions that return a pair of networks, by the planted cause."""
