"""Graphs with an operation that not every compiler takes."""

import numpy as np
import openvino as ov
from openvino import opset15 as op
from openvino import opset16

from tests.helpers.graphs import constant


def with_segments(static=True, count=1):
    """[8, 16] -> a product -> SegmentMax over pairs of rows -> a product; ``count`` times."""
    rng = np.random.default_rng(0)
    rows = 8 if static else -1
    x = op.parameter([rows, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("?C"))
    h = op.relu(op.matmul(x, constant(rng, 16, 16), False, True, name="before"))
    for index in range(count):
        ids = op.constant(np.repeat(np.arange(4), 2).astype(np.int32))
        largest = opset16.segment_max(h, ids, op.constant(np.int32(8)), fill_mode="ZERO")
        largest.set_friendly_name(f"largest.{index}")
        h = op.relu(op.matmul(largest, constant(rng, 16, 16), False, True, name=f"after.{index}"))
    h.output(0).set_names({"y"})
    return ov.Model([op.result(h)], [x], "segments")


def branching():
    """[1, 8] -> two branches that join, one of them through a boolean."""
    x = op.parameter([1, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    left = op.sigmoid(x, name="left")
    positive = op.greater(x, op.constant(np.float32(0)), name="positive")
    right = op.select(positive, left, op.constant(np.zeros((1, 8), np.float32)), name="right")
    split = op.split(right, op.constant(np.int32(1)), 2, name="split")
    joined = op.concat([split.output(1), split.output(0)], 1, name="joined")
    y = op.add(joined, left, name="sum")
    y.output(0).set_names({"y"})
    return ov.Model([op.result(y)], [x], "branching")
