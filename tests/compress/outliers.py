"""A network that INT8 ruins by one layer: a channel of its activations is far above the others."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from ovtool.api.judge import GraphJudge
from tests.models import constant, save

from .networks import Listed

FACTOR = 3000.0
CLASSES = 10


def outliers(kind, factor=FACTOR, seed=0):
    """[batch, 3, 4, 4] -> conv -> a second layer, convolution or matrix product -> 10 classes.

    The second layer reads a channel that is ``factor`` times what the others are, with weights so
    much smaller: in float the factor changes nothing, in 8 bits with one scale the others are lost.
    """
    rng = np.random.default_rng(seed)
    x = op.parameter([-1, 3, 4, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    scale = np.ones(16, np.float32)
    scale[0] = factor
    kernels = (rng.standard_normal((16, 3, 3, 3)) / np.sqrt(27)).astype(np.float32)
    first = op.constant(kernels * scale[:, None, None, None])
    h = op.convolution(x, first, [1, 1], [1, 1], [1, 1], [1, 1], name="first")
    h = op.relu(op.add(h, constant(rng, 1, 16, 1, 1)))
    if kind == "conv":
        kernels = (rng.standard_normal((16, 16, 3, 3)) / np.sqrt(144)).astype(np.float32)
        second = op.constant(kernels / scale[None, :, None, None])
        h = op.convolution(h, second, [1, 1], [1, 1], [1, 1], [1, 1], name="second")
        h = op.relu(op.add(h, constant(rng, 1, 16, 1, 1)))
        h = op.reshape(h, op.constant(np.array([0, 256])), special_zero=True)
    else:
        h = op.transpose(h, op.constant(np.array([0, 2, 3, 1])))
        rows = (rng.standard_normal((16, 16)) / 4).astype(np.float32)
        h = op.relu(op.matmul(h, op.constant(rows / scale), False, True, name="second"))
        h = op.reshape(h, op.constant(np.array([0, 256])), special_zero=True)
    h = op.matmul(h, constant(rng, CLASSES, 256), False, True, name="classifier")
    h.output(0).set_names({"scores"})
    return ov.Model([op.result(h)], [x], "outliers")


def saved(folder, kind, **fields):
    return save(folder, outliers(kind), **fields)


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    return Listed(list(rng.standard_normal((count, 3, 4, 4)).astype(np.float32)))


def judge(variant, count=100):
    return GraphJudge(pictures(count, 5), variant, "agreement")
