"""Formulas of products against brute force, and of fused operations against equivalent graphs."""

import itertools
import math

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset15 as ops
from openvino import opset17

from ovtool.graph import flops
from ovtool.graph.counts import analyze
from ovtool.graph.geometry import Geometry, compute_geometries
from tests.graph.test_op_rules import count_node, data, is_rule_limit


@st.composite
def equations(draw):
    """Return an equation of two operands, the extent of each label, and the operands' shapes."""
    sizes = {label: draw(st.integers(1, 4)) for label in "abcde"}
    term = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)
    left, right = draw(term), draw(term)
    labels = sorted({*left, *right})
    kept = draw(st.lists(st.sampled_from(labels), unique=True))
    equation = f"{''.join(left)},{''.join(right)}->{''.join(kept)}"
    return equation, {x: sizes[x] for x in labels}, [[sizes[x] for x in t] for t in (left, right)]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(equations())
def test_einsum_multiplies_once_for_each_index(drawn):
    equation, sizes, shapes = drawn
    node = ops.einsum([data(*shape) for shape in shapes], equation)
    loops = sum(1 for _ in itertools.product(*(range(size) for size in sizes.values())))
    result = count_node(node)
    assert (result.macs, result.other_flops) == (loops, 0)
    expected = np.einsum(equation, *(np.ones(shape) for shape in shapes))
    assert result.output_shape == expected.shape, "same labels as numpy"
    assert expected.sum() == loops, "each product of ones adds 1"


@pytest.mark.parametrize(
    ("equation", "left", "right", "macs"),
    [
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 5), 2 * 3 * 4 * 5),
        ("bij,bjk", (2, 3, 4), (2, 4, 5), 2 * 3 * 4 * 5),
        ("...ij,jk->...ik", (6, 2, 3, 4), (4, 5), 6 * 2 * 3 * 4 * 5),
        ("...ij,...jk->...ik", (6, 2, 3, 4), (2, 4, 5), 6 * 2 * 3 * 4 * 5),
        ("...,...->...", (6, 1, 3), (2, 3), 6 * 2 * 3),
        ("bhwc,hkc->bhwk", (2, 3, 4, 5), (3, 7, 5), 2 * 3 * 4 * 5 * 7),
        ("ii,i->i", (4, 4), (4,), 4),
    ],
)
def test_einsums_by_hand(equation, left, right, macs):
    node = ops.einsum([data(*left), data(*right)], equation)
    assert count_node(node).macs == macs


@pytest.mark.parametrize(
    ("equation", "shape", "sums"),
    [("ij->ji", (3, 4), 0), ("ij->i", (3, 4), 12), ("ii->i", (4, 4), 0), ("ii->", (4, 4), 4)],
)
def test_einsum_of_one_operand_has_no_products(equation, shape, sums):
    node = ops.einsum([data(*shape)], equation)
    result = count_node(node)
    assert (result.macs, result.other_flops) == (0, sums)
    assert flops.compute_cost(ov.Model([node], [node.input_value(0).get_node()], "m")).flops == {}


def test_einsum_of_three_operands_is_unknown_and_not_zero():
    inputs = [data(2, 3), data(3, 4), data(4, 5)]
    node = ops.einsum(inputs, "ij,jk,kl->il")
    assert is_rule_limit(node)
    result = flops.compute_cost(ov.Model([node], inputs, "m"))
    assert result.uncounted == (node.get_friendly_name(),)
    assert result.total is None


def weights(*shape):
    return ops.constant(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("equation", "left", "right", "expected"),
    [
        ("bij,jk->bik", (2, 3, 4), None, Geometry("product", 6, 4, 5, weights=20)),
        ("bihd,bjhd->bhij", (2, 8, 3, 16), (2, 6, 3, 16), Geometry("attention", 8, 16, 6)),
        ("jk,bij->bik", None, (2, 3, 4), Geometry("product", 6, 4, 5, weights=20)),
    ],
)
def test_geometry_of_einsum_is_that_of_its_matrix_product(equation, left, right, expected):
    operands = [data(*shape) if shape else weights(4, 5) for shape in (left, right)]
    node = ops.einsum(operands, equation)
    inputs = [node for node in operands if node.get_type_name() == "Parameter"]
    model = ov.Model([node], inputs, "m")
    (result,) = compute_geometries(model).values()
    assert result == expected
    if result.weights:
        (doubled,) = flops.count_flops(model).values()
        assert doubled == 2 * result.rows * result.inputs * result.outputs


def test_ellipsis_of_both_operands_is_a_batch():
    x = data(6, 2, 3, 4)
    node = ops.einsum([x, weights(2, 4, 5)], "...ij,...jk->...ik")
    (result,) = compute_geometries(ov.Model([node], [x], "m")).values()
    assert result == Geometry("product", 6 * 2 * 3, 4, 5, weights=40)


def test_compiled_einsum_has_its_cost():
    from ovtool.graph import runtime

    x = data(2, 6, 16)
    y = ops.einsum([x, weights(16, 32)], "bij,jk->bik")
    model = ov.Model([ops.result(y)], [x], "m")
    compiled = ov.Core().compile_model(model, "CPU")
    cost = flops.compute_cost(model)
    assert runtime.compute_attributed_share(runtime.read_layers(compiled, cost), cost.flops) == 1.0


def test_grouped_matmul_multiplies_each_row_by_one_group():
    """Ten tokens and three experts have the FLOPs of ten rows by one expert."""
    ends = data(3, kind=np.int32)
    routed = opset17.grouped_matmul(data(10, 8), data(3, 5, 8), ends)
    assert count_node(routed).macs == 10 * 8 * 5
    batched = opset17.grouped_matmul(data(3, 4, 8), data(3, 5, 8))
    assert count_node(batched).macs == 3 * 4 * 8 * 5


def totals(model):
    total = analyze(model).total
    return total.macs, total.other_flops


def outputs(model, seed=0):
    """Outputs of the CPU for random inputs."""
    rng = np.random.default_rng(seed)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = [rng.normal(size=tuple(port.shape)).astype(np.float32) for port in model.inputs]
    return compiled(inputs)[0]


def assert_equivalent(fused, plain):
    """Assert that two graphs have the same outputs and counts."""
    np.testing.assert_allclose(outputs(fused), outputs(plain), rtol=1e-4, atol=1e-5)
    assert totals(fused) == totals(plain)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_counts_as_its_graph(masked):
    def graph(fused):
        q, k, v = data(1, 4, 10, 8), data(1, 4, 6, 8), data(1, 4, 6, 5)
        mask = [data(10, 6)] if masked else []
        if fused:
            node = ops.scaled_dot_product_attention(q, k, v, *mask)
        else:
            scores = ops.matmul(q, k, False, True)
            scores = ops.multiply(scores, np.float32(1 / math.sqrt(8)))
            scores = ops.add(scores, mask[0]) if masked else scores
            node = ops.matmul(ops.softmax(scores, 3), v, False, False)
        return ov.Model([ops.result(node)], [q, k, v, *mask], "m")

    assert_equivalent(graph(True), graph(False))


def test_causal_mask_is_counted():
    q, k, v = data(1, 4, 6, 8), data(1, 4, 6, 8), data(1, 4, 6, 8)
    node = ops.scaled_dot_product_attention(q, k, v, causal=True)
    assert count_node(node).other_flops == 4 * 6 * 6 * (1 + 1 + 5)


def test_scalar_mask_is_not_counted():
    q, k, v = data(1, 4, 10, 8), data(1, 4, 6, 8), data(1, 4, 6, 8)
    nothing, scale = ops.constant(np.float32(0)), ops.constant(np.float32(0.5))
    node = ops.scaled_dot_product_attention(q, k, v, nothing, scale)
    assert count_node(node).other_flops == 4 * 10 * 6 * (1 + 5)


INPUTS, HIDDEN, BATCH = 8, 16, 2


def gates(count, biases=None):
    """Random weights of the input and of the state, and biases."""
    rng = np.random.default_rng(1)
    shapes = [(count * HIDDEN, INPUTS), (count * HIDDEN, HIDDEN), ((biases or count) * HIDDEN,)]
    return [rng.normal(size=shape).astype(np.float32) / 4 for shape in shapes]


def summed(x, w, h, r, b):
    products = ops.matmul(x, w, False, True), ops.matmul(h, r, False, True)
    return ops.add(ops.add(*products), b)


def parts(value, count):
    return ops.split(value, ops.constant(np.int64(1)), count).outputs()


def test_lstm_cell_counts_as_its_graph():
    w, r, b = gates(4)

    def graph(fused):
        x, h, c = data(BATCH, INPUTS), data(BATCH, HIDDEN), data(BATCH, HIDDEN)
        if fused:
            node = ops.lstm_cell(x, h, c, w, r, b, HIDDEN)
        else:
            f, i, n, o = parts(summed(x, w, h, r, b), 4)
            kept = ops.multiply(ops.sigmoid(f), c)
            state = ops.add(kept, ops.multiply(ops.sigmoid(i), ops.tanh(n)))
            node = ops.multiply(ops.sigmoid(o), ops.tanh(state))
        return ov.Model([ops.result(node.output(0))], [x, h, c], "m")

    assert_equivalent(graph(True), graph(False))


@pytest.mark.slow
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_cell_counts_as_its_graph(reset_after):
    w, r, b = gates(3, 4 if reset_after else 3)

    def new(x, h, reset):
        """Candidate state: reset before or after its product."""
        own, last = w[2 * HIDDEN :], r[2 * HIDDEN :]
        bias = b[2 * HIDDEN : 3 * HIDDEN]
        if not reset_after:
            return summed(x, own, ops.multiply(reset, h), last, bias)
        then = ops.add(ops.matmul(h, last, False, True), b[3 * HIDDEN :])
        product = ops.matmul(x, own, False, True)
        return ops.add(ops.add(product, ops.multiply(reset, then)), bias)

    def graph(fused):
        x, h = data(BATCH, INPUTS), data(BATCH, HIDDEN)
        if fused:
            node = ops.gru_cell(x, h, w, r, b, HIDDEN, linear_before_reset=reset_after)
        else:
            both = slice(2 * HIDDEN)
            z, reset = map(ops.sigmoid, parts(summed(x, w[both], h, r[both], b[both]), 2))
            change = ops.multiply(ops.subtract(np.float32(1), z), ops.tanh(new(x, h, reset)))
            node = ops.add(change, ops.multiply(z, h))
        return ov.Model([ops.result(node)], [x, h], "m")

    assert_equivalent(graph(True), graph(False))


def test_rnn_cell_counts_as_its_graph():
    w, r, b = gates(1)

    def graph(fused):
        x, h = data(BATCH, INPUTS), data(BATCH, HIDDEN)
        if fused:
            node = ops.rnn_cell(x, h, w, r, b, HIDDEN, ["tanh"], [], [])
        else:
            node = ops.tanh(summed(x, w, h, r, b))
        return ov.Model([ops.result(node)], [x, h], "m")

    assert_equivalent(graph(True), graph(False))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(
    ("kind", "count", "each"), [("lstm", 4, 17), ("gru", 3, 14), ("rnn", 1, 3)]
)
def test_sequence_counts_each_step_and_direction(kind, count, each, directions):
    steps = 5
    states = [weights(BATCH, directions, HIDDEN)] * (2 if kind == "lstm" else 1)
    node = getattr(ops, f"{kind}_sequence")(
        data(BATCH, steps, INPUTS),
        *states,
        ops.constant(np.full(BATCH, steps)),
        weights(directions, count * HIDDEN, INPUTS),
        weights(directions, count * HIDDEN, HIDDEN),
        weights(directions, count * HIDDEN),
        HIDDEN,
        "forward" if directions == 1 else "bidirectional",
    )
    assert count_node(node).other_flops == BATCH * steps * directions * HIDDEN * each
