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
