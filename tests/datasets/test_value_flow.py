"""How graphs use the values of inputs."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.datasets.synthetic import input_ranges
from ovtool.datasets.value_flow import trace_input
from tests.datasets.test_synthetic import parameter, table, zero


def constant(*values):
    return op.constant(np.array(values if len(values) > 1 else values[0], np.int64))


def rows(indices, count=40):
    return op.gather(table(count), indices, zero())


def use_of(*outputs, ids):
    model = ov.Model([op.result(output) for output in outputs], [ids], "m")
    return trace_input(model.inputs[0]), next(iter(input_ranges(model).values()))


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        (lambda ids: ids, 0, 39),
        (lambda ids: op.add(ids, constant(5)), 0, 34),
        (lambda ids: op.add(constant(5), ids), 0, 34),
        (lambda ids: op.subtract(ids, constant(3)), 3, 42),
        (lambda ids: op.add(ids, constant(0, 10)), 0, 29),
        (lambda ids: op.multiply(ids, constant(4)), 0, 9),
        (lambda ids: op.floor_mod(ids, constant(100)), 0, 39),
        (lambda ids: op.minimum(ids, constant(1000)), 0, 39),
    ],
)
def test_lookup_after_arithmetic_limits_the_input(change, low, high):
    ids = parameter("ids", shape=(-1, 2))
    use, values = use_of(rows(change(ids)), ids=ids)
    [limit] = use.limits
    assert (limit.minimum, limit.maximum) == (low, high)
    assert (values.minimum, values.maximum, values.unlimited) == (low, high, False)


@pytest.mark.parametrize(
    "use",
    [
        lambda ids: rows(op.floor_mod(ids, constant(40))),
        lambda ids: rows(op.mod(ids, constant(7))),
        lambda ids: rows(op.minimum(op.maximum(ids, constant(0)), constant(39))),
        lambda ids: rows(op.clamp(ids, 0, 39)),
        lambda ids: rows(op.bitwise_and(ids, constant(31))),
        lambda ids: op.equal(ids, constant(3)),
        lambda ids: op.add(op.convert(ids, "f32"), op.constant(np.float32(1))),
    ],
)
def test_values_that_the_graph_bounds_itself_are_unlimited(use):
    ids = parameter("ids", shape=(-1, 2))
    found, values = use_of(use(ids), ids=ids)
    assert (found.limits, found.structural) == ([], False)
    assert values.unlimited


@pytest.mark.parametrize(
    "use",
    [
        lambda ids: op.range(zero(), op.squeeze(ids), constant(1), ov.Type.i64),
        lambda ids: op.reshape(op.constant(np.zeros(4)), ids, special_zero=False),
        lambda ids: op.tile(op.constant(np.zeros(4)), ids),
        lambda ids: rows(op.multiply(ids, ids)),
        lambda ids: op.tile(op.constant(np.zeros(4)), op.multiply(ids, ids)),
    ],
)
def test_shapes_counts_and_unknown_indices_stay_small(use):
    ids = parameter("ids", shape=(1,))
    found, values = use_of(use(ids), ids=ids)
    assert found.structural
    assert (values.minimum, values.maximum, values.unlimited) == (0, 1, False)


def test_one_hot_classes_are_below_the_depth():
    ids = parameter("ids")
    hot = op.one_hot(ids, constant(6), constant(1), constant(0), axis=-1)
    assert use_of(hot, ids=ids)[1].maximum == 5


def test_narrow_integers_take_all_values_unless_they_are_indices():
    image = parameter("image", ov.Type.i8)
    plain = use_of(op.convert(image, "f32"), ids=image)[1]
    assert (plain.minimum, plain.maximum) == (-128, 127)
    index = parameter("index", ov.Type.i8)
    assert use_of(rows(op.convert(index, "i32")), ids=index)[1].maximum == 39
