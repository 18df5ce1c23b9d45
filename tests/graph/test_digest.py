"""Hash of what a graph computes."""

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from ovtool.graph.digest import graph_sha256


def graph(name="x", factor=2.0, shape=(1, 4), axis=1, label="a"):
    x = ops.parameter(list(shape), np.float32, name=label)
    x.output(0).set_names({name})
    y = ops.multiply(x, np.full((4,), factor, np.float32), name=f"{label} product")
    return ov.Model([ops.softmax(y, axis)], [x], f"model {label}")


def conditional(value):
    condition, x = ops.parameter([], bool), ops.parameter([2], np.float32)
    node = ops.if_op(condition.output(0))
    for body, number in (("then", 1.0), ("else", value)):
        inner = ops.parameter([2], np.float32)
        result = ops.result(ops.add(inner, np.float32(number)))
        model = ov.Model([result], [inner])
        (node.set_then_body if body == "then" else node.set_else_body)(model)
        if body == "then":
            first, first_result = inner, result
    node.set_input(x.output(0), first, inner)
    out = node.set_output(first_result, result)
    return ov.Model([out], [condition, x])


def test_names_of_operations_have_no_effect():
    assert graph_sha256(graph()) == graph_sha256(graph(label="b"))


def test_values_shapes_attributes_bodies_and_input_names_have_an_effect():
    graphs = [graph(), graph("y"), graph(factor=3), graph(shape=(2, 4)), graph(axis=0)]
    graphs += [conditional(1.0), conditional(2.0)]
    assert len({graph_sha256(g) for g in graphs}) == len(graphs)
