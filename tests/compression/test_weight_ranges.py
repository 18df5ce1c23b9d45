"""Ranges of weights whose sums of two products fit 16 bits."""

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.compression import ptq, weight_ranges
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.registry import parse_settings
from ovtool.core.progress import SILENT
from ovtool.graph.reference_run import EXACT_PROPERTIES, FLOAT_KERNELS, ReferenceModel
from tests.compression.samples import Listed
from tests.helpers.graphs import convolutional, save

LARGEST = 128
"""Sum of two weights up to which 255 times it fits 16 bits."""


def ranges_of(weights, kept):
    """The largest weight over all axes but ``kept``."""
    axes = tuple(i for i in range(weights.ndim) if i not in kept)
    return np.abs(weights).max(axes, keepdims=True)


def layer(kind, weights, kept, **attributes):
    """A layer that reads activations in steps of 1 up to 255, its weights in half of the range."""
    high = op.constant((2 * ranges_of(weights, kept)).astype(np.float32))
    low = op.constant(-high.get_data())
    stored = op.fake_quantize(op.constant(weights), low, high, low, high, 255)
    spatial = weights.ndim - (3 if kind == "group" else 2)
    inputs = {"group": lambda: weights.shape[0] * weights.shape[2],
              "deconv": lambda: weights.shape[0]}.get(kind, lambda: weights.shape[1])()  # fmt: skip
    if kind == "matmul":
        inputs = weights.shape[1 if attributes["transposed"] else 0]
        x = op.parameter([2, inputs], ov.Type.f32)
    else:
        x = op.parameter([1, inputs, *[6] * spatial], ov.Type.f32)
    zero, top = op.constant(np.float32(0)), op.constant(np.float32(255))
    h = op.fake_quantize(x, zero, top, zero, top, 256)
    ones, zeros = [1] * spatial, [0] * spatial
    if kind == "matmul":
        y = op.matmul(h, stored, False, attributes["transposed"])
    elif kind == "deconv":
        y = op.convolution_backprop_data(
            h, stored, ones, pads_begin=zeros, pads_end=zeros, dilations=ones
        )
    else:
        make = op.group_convolution if kind == "group" else op.convolution
        y = make(h, stored, ones, zeros, zeros, ones)
    return ov.Model([op.result(y)], [x], "layer")


def weights_quantizer(model):
    found = [o for o in model.get_ordered_ops() if o.get_type_name() == "FakeQuantize"]
    return next(o for o in found if o.input_value(0).get_node().get_type_name() == "Constant")


def high_of(model):
    return weights_quantizer(model).input_value(2).get_node().get_data()


def random_weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CASES = [
    ("conv", (8, 16, 1, 1), (0,), {}),
    ("conv", (8, 16, 3, 3), (0,), {}),
    ("conv", (8, 3, 3, 3), (0,), {}),
    ("conv", (10, 5, 3, 3), (0,), {}),
    ("conv", (8, 16, 3), (0,), {}),
    ("conv", (8, 8, 3, 3, 3), (0,), {}),
    ("conv", (8, 16, 1, 1), (), {}),
    ("deconv", (16, 8, 2, 2), (1,), {}),
    ("deconv", (5, 8, 3, 3), (1,), {}),
    ("matmul", (8, 65), (0,), {"transposed": True}),
    ("matmul", (64, 8), (1,), {"transposed": False}),
    ("group", (16, 1, 1, 3, 3), (0,), {}),
    ("group", (4, 3, 3, 3, 3), (0, 1), {}),
    ("group", (16, 2, 1, 3, 3), (0, 1), {}),
]


# The last two keep NNCF's half of the range.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shape", "kept", "attributes"), CASES[:-2])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_activations_do_not_overflow_in_the_kernels_of_this_cpu(
    kind, shape, kept, attributes, sign
):
    """Weights of one sign, activations of 255: the largest sums that can be."""
    model = layer(kind, sign * np.abs(random_weights(*shape)) + sign, kept, **attributes)
    weight_ranges.fit_ranges(model)
    rows = np.full(list(model.input(0).shape), 255, np.float32)
    (int8,) = ReferenceModel(model, EXACT_PROPERTIES).run({0: rows})
    (exact,) = ReferenceModel(model, FLOAT_KERNELS).run({0: rows})
    assert int8 == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("kind", "shape", "kept", "attributes"), CASES)
def test_ranges_are_narrower_where_pairs_allow_it(kind, shape, kept, attributes):
    model = layer(kind, random_weights(*shape), kept, **attributes)
    half = high_of(model)
    changed = weight_ranges.fit_ranges(model)
    share = high_of(model) / half
    keeps = kind == "group" and shape[1:3] != (1, 1)
    assert changed == (not keeps)
    if kind == "group":
        assert share == pytest.approx(1 if keeps else 0.5)
    else:
        assert share.max() <= 1
        assert 0.5 <= share.mean() < 0.99
    assert np.array_equal(weights_quantizer(model).input_value(1).get_node().get_data(),
                          -high_of(model))  # fmt: skip


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_pairs_of_one_sign_add_up_to_at_most_half_of_the_codes(seed, inputs):
    weights = random_weights(4, inputs, 1, 2, seed=seed)
    model = layer("conv", weights, (0,))
    weight_ranges.fit_ranges(model)
    codes = np.round(weights / high_of(model) * 127)
    assert np.abs(codes).max() <= 127
    for first in range(0, inputs - 1, 2):
        for a, b in zip(codes[:, first].flat, codes[:, first + 1].flat, strict=True):
            assert abs(a + b) <= LARGEST or a * b <= 0


def test_channels_of_zeros_and_ranges_of_another_form_are_kept():
    weights = random_weights(4, 6, 1, 1)
    weights[1] = 0
    model = layer("conv", weights, (0,))
    assert weight_ranges.fit_ranges(model) == 1
    assert high_of(model)[1] == 0
    quantizer = weights_quantizer(model)
    quantizer.input(1).replace_source_output(op.constant(-2 * high_of(model)).output(0))
    before = high_of(model)
    assert weight_ranges.fit_ranges(model) == 0
    assert np.array_equal(high_of(model), before)


def largest_codes(model):
    constants = [o for o in model.get_ordered_ops() if o.get_type_name() == "Constant"]
    stored = [c for c in constants if c.get_element_type().get_type_name() == "i8"]
    return [int(np.abs(c.get_data().astype(int)).max()) for c in stored if c.get_data().size > 1]


@pytest.mark.slow
def test_quantized_weights_use_more_than_half_of_their_codes(tmp_path):
    variant = save(tmp_path / "net", convolutional())
    rows = Listed(list(random_weights(8, 3, 16, 16, seed=3)))
    feed = CalibrationFeed(rows, variant.record.inputs, 8, SILENT)
    for fix, low, high in (("enable", 60, 64), ("pairs", 70, 127), ("disable", 127, 127)):
        given = parse_settings("int8", {"overflow_fix": fix})
        codes = largest_codes(ptq.quantize(convolutional(), given, feed))
        assert len(codes) == 3
        assert all(low <= code <= high for code in codes), fix
