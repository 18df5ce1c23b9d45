"""A network with outliers: one channel of its activations is far above the rest."""

import numpy as np
import openvino as ov
from openvino import opset15 as op

from ovtool.evaluation.evaluator import GraphEvaluator
from ovtool.evaluation.metrics import MetricRequest
from tests.compression.samples import Listed, run_graph
from tests.helpers.graphs import constant, save

HIGH = 1000.0
CLASSES = 4


def outliers(kind, bias=0.0, seed=0):
    """[batch, 3, 4, 4] -> conv -> a second layer, convolution or matrix product -> classes.

    One channel that the second layer reads is near ``HIGH`` where the others are near 1, and has
    weights so much smaller: in float it is one of many, in 8 bits with one scale the others vanish.
    """
    rng = np.random.default_rng(seed)
    x = op.parameter([-1, 3, 4, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    h = op.convolution(x, constant(rng, 16, 3, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1], name="first")
    high = np.where(np.arange(16) == 0, HIGH, 0.1).astype(np.float32)
    h = op.relu(op.add(h, op.constant(high.reshape(1, 16, 1, 1))))
    share = np.where(np.arange(16) == 0, 1 / HIGH, 1)
    if kind == "conv":
        kernels = rng.standard_normal((16, 16, 3, 3)) / 12 * share[None, :, None, None]
        second = op.constant(kernels.astype(np.float32))
        h = op.relu(op.convolution(h, second, [1, 1], [1, 1], [1, 1], [1, 1], name="second"))
    else:
        h = op.transpose(h, op.constant(np.array([0, 2, 3, 1])))
        rows = op.constant((rng.standard_normal((16, 16)) / 4 * share).astype(np.float32))
        h = op.relu(op.matmul(h, rows, False, True, name="second"))
    h = op.reshape(h, op.constant(np.array([0, 64])), special_zero=True)
    h = op.matmul(h, constant(rng, CLASSES, 64), False, True, name="classifier")
    h = op.add(h, op.constant(np.float32(bias) * np.ones((1, CLASSES), np.float32)))
    h.output(0).set_names({"scores"})
    return ov.Model([op.result(h)], [x], "outliers")


def saved(folder, kind, **fields):
    """The network as a variant, with a bias that lets each class be the highest now and then."""
    rows = np.stack([sample.inputs["x"] for sample in pictures(100, 7)])
    scores = run_graph(outliers(kind), rows)
    return save(folder, outliers(kind, -scores.mean(0)), **fields)


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    return Listed(list(rng.uniform(-1, 1, (count, 3, 4, 4)).astype(np.float32)))


def evaluator(variant, count=100):
    return GraphEvaluator(pictures(count, 5), variant, MetricRequest("agreement"))
