"""Small real networks, seeded, as saved variants."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from ovtool import variant
from ovtool.variant import Source


def constant(rng, *shape):
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return op.constant((rng.standard_normal(shape) * scale).astype(np.float32))


def convolutional(batch=-1, seed=0):
    """[batch, 3, 16, 16] -> two convolutions -> 10 classes."""
    rng = np.random.default_rng(seed)
    x = op.parameter([batch, 3, 16, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = x
    for index, (before, after) in enumerate([(3, 32), (32, 32)]):
        h = op.convolution(h, constant(rng, after, before, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        h.set_friendly_name(f"conv{index}")
        h = op.relu(op.add(h, constant(rng, 1, after, 1, 1)))
    h = op.reduce_mean(h, op.constant(np.array([2, 3])), keep_dims=False)
    h = op.matmul(h, constant(rng, 10, 32), False, True)
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


def save(folder, model, **fields):
    def describe(_):
        return {
            "name": folder.name,
            "source": Source(kind="test", reference=folder.name),
            "batch": "dynamic",
            **variant.ports(model),
            **fields,
        }

    return variant.save(folder, model, describe)
