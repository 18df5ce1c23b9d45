"""Networks of known kinds, seeded: tiny, of a few hundred microseconds, bound by memory."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from tests.helpers.graphs import constant, fully_connected, save


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


def resnet(size=64, width=32, blocks=(2, 2, 2), classes=100, seed=0):
    """[batch, 3, size, size] -> residual blocks (He et al. 2016) -> classes."""
    rng = np.random.default_rng(seed)

    def convolved(h, before, after, kernel, stride):
        pad = [kernel // 2] * 2
        kernels = constant(rng, after, before, kernel, kernel)
        product = op.convolution(h, kernels, [stride] * 2, pad, pad, [1, 1])
        return op.add(product, constant(rng, 1, after, 1, 1))

    x = op.parameter([-1, 3, size, size], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = op.relu(convolved(x, 3, width, 7, 2))
    h = op.max_pool(h, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    before = width
    for stage, count in enumerate(blocks):
        after = width * 2**stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            inner = op.relu(convolved(h, before, after, 3, stride))
            inner = convolved(inner, after, after, 3, 1)
            if stride != 1 or before != after:
                h = convolved(h, before, after, 1, stride)
            h, before = op.relu(op.add(inner, h)), after
    h = op.reduce_mean(h, op.constant(np.array([2, 3])), keep_dims=False)
    h = op.matmul(h, constant(rng, classes, before), False, True)
    h.output(0).set_names({"scores"})
    x.set_layout(ov.Layout("NCHW"))
    return ov.Model([op.result(h)], [x], "resnet")


def transformer(width=256, layers=4, length=128, heads=4, seed=0):
    """[batch, length, width] -> encoder layers (Vaswani et al. 2017) -> the same."""
    rng = np.random.default_rng(seed)

    def linear(h, before, after):
        product = op.matmul(h, constant(rng, after, before), False, True)
        return op.add(product, constant(rng, 1, 1, after))

    def split(h):
        h = op.reshape(h, op.constant(np.array([0, 0, heads, width // heads])), special_zero=True)
        return op.transpose(h, op.constant(np.array([0, 2, 1, 3])))

    def normalized(h):
        h = op.mvn(h, op.constant(np.array([2])), True, 1e-5, "inside_sqrt")
        return op.add(op.multiply(h, constant(rng, 1, 1, width)), constant(rng, 1, 1, width))

    x = op.parameter([-1, length, width], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for _ in range(layers):
        q, k, v = (split(linear(h, width, width)) for _ in range(3))
        a = op.scaled_dot_product_attention(q, k, v)
        a = op.transpose(a, op.constant(np.array([0, 2, 1, 3])))
        a = op.reshape(a, op.constant(np.array([0, 0, width])), special_zero=True)
        h = normalized(op.add(h, linear(a, width, width)))
        f = op.gelu(linear(h, width, 4 * width), "erf")
        h = normalized(op.add(h, linear(f, 4 * width, width)))
    h.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NTC"))
    return ov.Model([op.result(h)], [x], "transformer")
