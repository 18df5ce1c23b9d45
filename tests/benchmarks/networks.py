"""Networks of known kinds, seeded: tiny, of a few hundred microseconds, bound by memory."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from tests.models import constant, fully_connected, save


def dense(width, layers, rows=-1, seed=0):
    """[rows, width] -> square matrix products -> [rows, width]."""
    rng = np.random.default_rng(seed)
    x = op.parameter([rows, width], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for index in range(layers):
        h = op.relu(op.matmul(h, constant(rng, width, width), False, True, name=f"fc{index}"))
    h.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NC"))
    return ov.Model([op.result(h)], [x], f"dense{width}")


def convnet(size=64, width=32, layers=4, seed=0):
    """[batch, 3, size, size] -> convolutions of 3x3 -> 10 classes."""
    rng = np.random.default_rng(seed)
    x = op.parameter([-1, 3, size, size], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h, before = x, 3
    for _ in range(layers):
        h = op.convolution(h, constant(rng, width, before, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        h, before = op.relu(h), width
    h = op.reduce_mean(h, op.constant(np.array([2, 3])), keep_dims=False)
    h = op.matmul(h, constant(rng, 10, width), False, True)
    h.output(0).set_names({"scores"})
    x.set_layout(ov.Layout("NCHW"))
    return ov.Model([op.result(h)], [x], "convnet")


def tiny(folder):
    """Four matrix products of 64: some microseconds an inference."""
    return save(folder / "tiny", fully_connected())


def short(folder):
    """A few hundred microseconds an inference."""
    return save(folder / "short", convnet())


def memory_bound(folder):
    """A row times 64 MiB of weights, which no cache of the processor keeps."""
    return save(folder / "memory", dense(2048, 4))
