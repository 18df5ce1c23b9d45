"""Order and shapes of operations, and operations of the compiler."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.graph.operations import (
    count_elements,
    find_constants,
    is_compile_time,
    is_static,
    sort_operations,
)


@pytest.fixture
def graph():
    """x [2, 4] * exp(scale), reshaped to [8]; by name: its nodes."""
    x = op.parameter([2, 4], ov.Type.f32, name="x")
    scale = op.constant(np.ones(4, np.float32), name="scale")
    factor = op.exp(scale, name="factor")
    product = op.multiply(x, factor, name="product")
    shape = op.constant(np.array([8]), name="shape")
    flat = op.reshape(product, shape, False, name="flat")
    return ov.Model([op.result(flat, name="y")], [x], "graph")


def nodes(model):
    return {node.get_friendly_name(): node for node in model.get_ordered_ops()}


def test_operations_are_sorted_by_their_dependence_on_inputs(graph):
    operations, fixed = sort_operations(graph)
    assert [node.get_friendly_name() for node in operations] == ["product", "flat"]
    names = {node.get_name(): name for name, node in nodes(graph).items()}
    assert {names[name] for name in fixed} == {"scale", "factor", "shape"}


def test_compiler_computes_what_depends_on_constants(graph):
    known = set()
    for name, node in nodes(graph).items():
        if is_compile_time(node, known):
            known.add(name)
    assert known == {"scale", "factor", "shape"}


def test_shape_of_an_input_is_computed_by_the_compiler_if_static():
    for size, expected in ((2, True), (-1, False)):
        shape = op.shape_of(op.parameter([size, 4], ov.Type.f32))
        assert is_compile_time(shape, set()) is expected
        assert is_static(shape.input_value(0).get_node()) is expected


def test_random_values_are_not_computed_by_the_compiler():
    noise = op.random_uniform(np.array([2]), np.float32(0), np.float32(1), "f32")
    sources = {value.get_node().get_friendly_name() for value in noise.input_values()}
    assert not is_compile_time(noise, sources)


def test_constants_of_a_value_exclude_shapes(graph):
    flat = nodes(graph)["flat"].output(0)
    assert [node.get_friendly_name() for node in find_constants(flat)] == ["scale"]


def test_elements_of_a_scalar_and_of_an_empty_shape():
    assert [count_elements(shape) for shape in ([], [3, 4], [3, 0])] == [1, 12, 0]
