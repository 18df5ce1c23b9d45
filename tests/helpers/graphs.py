"""Small real networks, seeded, as saved variants."""

import numpy as np
import openvino as ov
from openvino import opset15 as op
from openvino.op.util import Variable, VariableInfo

from ovtool.core import variant
from ovtool.core.ports import ports
from ovtool.core.variant import Source


def constant(rng, *shape):
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return op.constant((rng.standard_normal(shape) * scale).astype(np.float32))


def quantized(node, limit, levels=256):
    """The values of a node as INT8 holds them: 256 levels for activations, 255 for weights."""
    high = limit if levels % 2 else limit * 127 / 128
    low, high = (op.constant(np.float32(v)) for v in (-limit, high))
    return op.fake_quantize(node, low, high, low, high, levels)


def convolutional(batch=-1, seed=0, int8=()):
    """[batch, 3, 16, 16] -> two convolutions -> 10 classes; ``int8`` names layers to quantize."""
    rng = np.random.default_rng(seed)
    x = op.parameter([batch, 3, 16, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for index, (before, after) in enumerate([(3, 32), (32, 32)]):
        kernels = constant(rng, after, before, 3, 3)
        if f"conv{index}" in int8:
            h, kernels = quantized(h, 4.0), quantized(kernels, 1.0, levels=255)
        h = op.convolution(h, kernels, [1, 1], [1, 1], [1, 1], [1, 1])
        h.set_friendly_name(f"conv{index}")
        h = op.relu(op.add(h, constant(rng, 1, after, 1, 1)))
    h = op.reduce_mean(h, op.constant(np.array([2, 3])), keep_dims=False)
    rows = constant(rng, 10, 32)
    if "classifier" in int8:
        h, rows = quantized(h, 4.0), quantized(rows, 1.0, levels=255)
    h = op.matmul(h, rows, False, True)
    h.set_friendly_name("classifier")
    h.output(0).set_names({"scores"})
    x.set_layout(ov.Layout("NCHW"))
    return ov.Model([op.result(h)], [x], "small")


def fully_connected(seed=0):
    """[batch, 64] -> four matrix products -> [batch, 64]."""
    rng = np.random.default_rng(seed)
    x = op.parameter([-1, 64], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for index in range(4):
        h = op.relu(op.matmul(h, constant(rng, 64, 64), False, True, name=f"fc{index}"))
    h.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NC"))
    return ov.Model([op.result(h)], [x], "dense")


ROWS = 50
"""Of the vocabulary of :func:`embedding`."""


def embedding(seed=0):
    """ids, mask [batch, length] -> rows of a table, their mean where the mask is 1 -> 8 classes."""
    rng = np.random.default_rng(seed)
    ids, mask = (op.parameter([-1, -1], ov.Type.i64, name=name) for name in ("ids", "mask"))
    for port in (ids, mask):
        port.output(0).set_names({port.get_friendly_name()})
        port.set_layout(ov.Layout("NC"))
    rows = op.gather(constant(rng, ROWS, 32), op.convert(ids, "i32"), op.constant(np.int32(0)))
    shown = op.unsqueeze(op.convert(mask, "f32"), op.constant(np.int32(2)))
    length = op.constant(np.int32(1))
    total = op.reduce_sum(op.multiply(rows, shown), length, keep_dims=False)
    count = op.maximum(op.reduce_sum(shown, length, keep_dims=False), op.constant(np.float32(1)))
    h = op.matmul(op.divide(total, count), constant(rng, 8, 32), False, True)
    h.output(0).set_names({"scores"})
    return ov.Model([op.result(h)], [ids, mask], "text")


def attention(fused):
    """[1, 24, 64] -> a transformer block; attention as one operation or as two products."""
    rng = np.random.default_rng(0)

    def linear(x, name, before, after):
        h = op.matmul(x, constant(rng, after, before), False, True, name=f"{name}/product")
        return op.add(h, constant(rng, 1, 1, after), name=f"{name}/bias")

    def heads(x):
        h = op.reshape(x, op.constant(np.array([0, 0, 4, 16])), special_zero=True)
        return op.transpose(h, op.constant(np.array([0, 2, 1, 3])))

    x = op.parameter([1, 24, 64], ov.Type.f32, name="x")
    q, k, v = (heads(linear(x, name, 64, 64)) for name in "qkv")
    if fused:
        h = op.scaled_dot_product_attention(q, k, v, name="attention")
    else:
        scores = op.matmul(q, k, False, True, name="scores")
        scores = op.softmax(op.multiply(scores, op.constant(np.float32(0.25))), -1)
        h = op.matmul(scores, v, False, False, name="weighted")
    h = op.transpose(h, op.constant(np.array([0, 2, 1, 3])))
    h = op.reshape(h, op.constant(np.array([0, 0, 64])), special_zero=True)
    h = op.add(linear(h, "out", 64, 64), x)
    h = linear(op.gelu(linear(h, "up", 64, 128), "erf"), "down", 128, 64)
    return ov.Model([op.result(h)], [x], "block")


def _variable(name, *shape):
    info = VariableInfo()
    info.data_shape, info.data_type, info.variable_id = (
        ov.PartialShape(list(shape)),
        ov.Type.f32,
        name,
    )
    return Variable(info)


def accumulating():
    """x [1, 4] -> h + x, which becomes the state h; h is 0 at first."""
    x = op.parameter([1, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = _variable("h", 1, 4)
    y = op.add(x, op.read_value(op.constant(np.zeros((1, 4), np.float32)), h))
    y.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NC"))
    return ov.Model([op.result(y)], [op.assign(y, h)], [x], "accumulating")


RECURRENT = {
    name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    for seed, (name, shape) in enumerate(
        {"input": (8, 16), "recurrent": (16, 16), "scores": (16, 5)}.items()
    )
}


def recurrent():
    """x [1, 8] -> tanh(x @ input + h @ recurrent), which becomes the state h -> h @ scores."""
    x = op.parameter([1, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    h = _variable("h", 1, 16)
    before = op.read_value(op.constant(np.zeros((1, 16), np.float32)), h)
    weights = {name: op.constant(values) for name, values in RECURRENT.items()}
    sums = (op.matmul(x, weights["input"], False, False),
            op.matmul(before, weights["recurrent"], False, False))  # fmt: skip
    after = op.tanh(op.add(*sums))
    y = op.matmul(after, weights["scores"], False, False)
    y.output(0).set_names({"y"})
    return ov.Model([op.result(y)], [op.assign(after, h)], [x], "recurrent")


def growing():
    """x [1, 1, 4] -> the sum of all rows so far, which are the state."""
    x = op.parameter([1, 1, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    rows = _variable("rows", 1, -1, 4)
    before = op.read_value(op.constant(np.zeros((1, 0, 4), np.float32)), rows)
    after = op.concat([before, x], 1)
    y = op.reduce_sum(after, op.constant(np.array([1])), keep_dims=False)
    y.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NTC"))
    return ov.Model([op.result(y)], [op.assign(after, rows)], [x], "growing")


def save(folder, model, **fields):
    def describe(_):
        return {
            "name": folder.name,
            "source": Source(kind="test", reference=folder.name),
            "batch": "dynamic",
            **ports(model),
            **fields,
        }

    return variant.save(folder, model, describe)
