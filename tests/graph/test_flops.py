"""FLOPs, compared with counts by hand."""

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.graph.flops import compute_cost, count_flops
from tests.helpers.graphs import convolutional, fully_connected

small = st.integers(1, 5)


def parameter(*shape):
    return op.parameter(list(shape), ov.Type.f32)


def weights(*shape):
    return op.constant(np.ones(shape, np.float32))


def named(node, name):
    node.set_friendly_name(name)
    return node


def counted(node, *inputs):
    """FLOPs of the only counted operation of a model."""
    (flops,) = count_flops(ov.Model([op.result(node.output(0))], list(inputs), "m")).values()
    return flops


def conv(x, kernels, stride=1, pad=0, dilation=1):
    n = len(kernels.shape) - 2
    return op.convolution(x, kernels, [stride] * n, [pad] * n, [pad] * n, [dilation] * n)


def test_convolution_by_hand():
    x = parameter(1, 9, 25, 25)
    y = conv(x, weights(64, 9, 7, 7))
    assert list(y.shape) == [1, 64, 19, 19]
    assert counted(y, x) == 20_377_728


def test_mnist_network_by_hand():
    x = parameter(1, 1, 28, 28)
    h = x
    for name, before, after in (("conv1", 1, 5), ("conv2", 5, 10)):
        h = named(conv(h, weights(after, before, 3, 3)), name)
        h = op.avg_pool(h, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True)
    h = op.reshape(h, op.constant(np.array([1, 250])), special_zero=False)
    h = named(op.matmul(h, weights(250, 128), False, False), "fc1")
    h = named(op.matmul(op.relu(h), weights(10, 128), False, True), "fc2")
    cost = compute_cost(ov.Model([op.result(h)], [x], "mnist"))
    assert cost.flops == {"conv1": 60_840, "conv2": 108_900, "fc1": 64_000, "fc2": 2_560}
    assert cost.total == 236_300


@given(*[small] * 6)
def test_stride_padding_dilation_and_batch_count_by_the_output(n, c_in, c_out, stride, pad, dil):
    x = parameter(n, c_in, 24, 12)
    y = conv(x, weights(c_out, c_in, 3, 2), stride, pad, dil)
    positions = n * y.shape[2] * y.shape[3]
    assert counted(y, x) == 2 * positions * c_out * c_in * 3 * 2


@given(small, small, small)
def test_groups_divide_the_channels(groups, c_in, c_out):
    x = parameter(2, groups * c_in, 6, 6)
    one = [1, 1]
    y = op.group_convolution(x, weights(groups, c_out, c_in, 3, 3), one, [0, 0], [0, 0], one)
    assert counted(y, x) == 2 * (2 * groups * c_out * 4 * 4) * c_in * 9


def test_transposed_convolution_counts_as_the_convolution_that_it_transposes():
    x, two, none, one = parameter(1, 8, 5, 5), [2, 2], [0, 0], [1, 1]
    y = op.convolution_backprop_data(x, weights(8, 4, 2, 2), two, None, none, none, one)
    assert list(y.shape) == [1, 4, 10, 10]
    back = conv(parameter(1, 4, 10, 10), weights(8, 4, 2, 2), stride=2)
    assert list(back.shape) == [1, 8, 5, 5]
    assert counted(y, x) == 2 * (8 * 5 * 5) * 4 * 4
    grouped = op.group_convolution_backprop_data(
        x, weights(2, 4, 3, 2, 2), two, None, none, none, one
    )
    assert counted(grouped, x) == 2 * (8 * 5 * 5) * 3 * 4


@given(small, small, small, small, st.booleans(), st.booleans())
def test_matrix_product_in_any_orientation(b, m, n, k, left, right):
    x = parameter(b, 2, *((k, m) if left else (m, k)))
    y = parameter(*((n, k) if right else (k, n)))
    assert counted(op.matmul(x, y, left, right), x, y) == 2 * b * 2 * m * n * k


@pytest.mark.parametrize(
    ("left", "right", "flops"), [([7], [7], 14), ([7], [7, 3], 42), ([3, 7], [7], 42)]
)
def test_products_with_a_vector(left, right, flops):
    x, y = parameter(*left), parameter(*right)
    assert counted(op.matmul(x, y, False, False), x, y) == flops


def test_vector_on_the_left_is_not_transposed():
    x, y = parameter(7), parameter(7, 3)
    assert counted(op.matmul(x, y, True, False), x, y) == 42


def test_attention_is_two_products():
    q, k, v = parameter(1, 4, 10, 8), parameter(1, 4, 6, 8), parameter(1, 4, 6, 5)
    y = op.scaled_dot_product_attention(q, k, v)
    assert counted(y, q, k, v) == 2 * 4 * 10 * 6 * 8 + 2 * 4 * 10 * 6 * 5


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_recurrent_sequence_counts_every_step_and_direction(kind, gates, directions):
    batch, steps, inputs, hidden = 2, 10, 8, 16
    x = parameter(batch, steps, inputs)
    state = weights(batch, directions, hidden)
    states = [state, state] if kind == "lstm" else [state]
    rest = [
        op.constant(np.full(batch, steps)),
        weights(directions, gates * hidden, inputs),
        weights(directions, gates * hidden, hidden),
        weights(directions, gates * hidden),
    ]
    direction = "forward" if directions == 1 else "bidirectional"
    make = getattr(op, f"{kind}_sequence")
    y = make(x, *states, *rest, hidden, direction)
    each = gates * hidden * (inputs + hidden)
    assert counted(y, x) == 2 * batch * steps * directions * each


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_recurrent_cell_is_one_step(kind, gates):
    x, state = parameter(2, 8), weights(2, 16)
    states = [state, state] if kind == "lstm" else [state]
    rest = [weights(gates * 16, 8), weights(gates * 16, 16), weights(gates * 16)]
    if kind == "rnn":
        y = op.rnn_cell(x, *states, *rest, 16, ["tanh"], [], [])
    else:
        y = getattr(op, f"{kind}_cell")(x, *states, *rest, 16)
    assert counted(y, x) == 2 * 2 * gates * 16 * (8 + 16)


def test_small_networks():
    model = convolutional(batch=4)
    assert count_flops(model) == {
        "conv0": 2 * 4 * 32 * 256 * 3 * 9,
        "conv1": 2 * 4 * 32 * 256 * 32 * 9,
        "classifier": 2 * 4 * 10 * 32,
    }
    dense = fully_connected()
    dense.reshape([3, 64])
    assert count_flops(dense) == {f"fc{i}": 2 * 3 * 64 * 64 for i in range(4)}


def test_dynamic_shapes_are_unknown_and_not_zero():
    cost = compute_cost(convolutional())
    assert cost.flops == {}
    assert cost.uncounted == ("conv0", "conv1", "classifier")
    assert cost.total is None


@pytest.mark.parametrize("with_product", [True, False])
def test_branch_with_products_is_unknown_and_not_zero(with_product):
    a, b = parameter(1, 8), parameter(1, 8)
    product = op.matmul(a, weights(8, 8), False, False) if with_product else op.sigmoid(a)
    then, other = ov.Model([op.result(product)], [a], "a"), ov.Model([op.result(b)], [b], "b")
    condition, x = op.parameter([], ov.Type.boolean), parameter(1, 8)
    branch = op.if_op(condition)
    branch.set_then_body(then)
    branch.set_else_body(other)
    branch.set_input(x.output(0), a, b)
    y = branch.set_output(then.get_results()[0], other.get_results()[0])
    cost = compute_cost(ov.Model([op.result(y)], [condition, x], "m"))
    assert cost.uncounted == ((branch.get_friendly_name(),) if with_product else ())
    assert cost.total == (None if with_product else 0)


def test_loop_counts_its_body_in_each_iteration():
    step = parameter(1, 1, 8)
    body = ov.Model([op.result(op.matmul(step, weights(8, 6), False, False))], [step], "step")
    x = op.parameter([1, -1, 8], ov.Type.f32)
    loop = op.tensor_iterator()
    loop.set_body(body)
    loop.set_sliced_input(step, x.output(0), 0, 1, 1, -1, 1)
    y = loop.get_concatenated_slices(body.get_results()[0].output(0), 0, 1, 1, -1, 1)
    model = ov.Model([op.result(y)], [x], "m")
    assert compute_cost(model).total is None, "any number of steps"
    model.reshape([1, 5, 8])
    assert compute_cost(model).flops == {loop.get_friendly_name(): 5 * 2 * 8 * 6}


def repeated(condition, trips):
    """A product in a loop with a condition that is computed, or always true."""
    x, state = parameter(1, 8), parameter(1, 8)
    y = op.matmul(state, weights(8, 8), False, False)
    goes_on = op.constant(True)
    if condition == "computed":
        limit = op.constant(np.float32(9))
        goes_on = op.less(op.reduce_sum(y, op.constant(np.array([0, 1])), keep_dims=False), limit)
    results = [op.result(y), op.result(goes_on)]
    loop = op.loop(op.constant(np.int64(trips)), op.constant(True))
    loop.set_function(ov.Model(results, [state], "body"))
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(state, x.output(0), results[0].output(0))
    last = loop.get_iter_value(results[0].output(0), -1)
    return ov.Model([op.result(last)], [x], "m")


def test_loop_with_a_condition_on_the_data_is_unknown():
    assert compute_cost(repeated("constant", 7)).total == 7 * 2 * 8 * 8
    assert compute_cost(repeated("computed", 7)).total is None


def test_followers_reach_the_next_product():
    model = convolutional(batch=1)
    cost = compute_cost(model).followers
    kinds = {o.get_friendly_name(): o.get_type_name() for o in model.get_ops()}
    assert [kinds[name] for name in cost["conv0"]] == ["Add", "Relu"]
    assert [kinds[name] for name in cost["conv1"]] == ["Add", "Relu", "ReduceMean"]


def test_long_residual_path_has_few_followers():
    x = parameter(1, 8)
    h = x
    for _ in range(40):
        h = op.add(h, op.relu(op.matmul(h, weights(8, 8), False, False)))
    cost = compute_cost(ov.Model([op.result(h)], [x], "m")).followers
    assert max(map(len, cost.values())) < 20
