"""Counts from real graphs: by hand, by formula, and beside independent counters."""

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset1
from openvino import opset13 as ops

from ovtool.core.third_party import captured
from ovtool.graph.counts import analyze
from tests.graph.independent import fvcore_macs, module_flops


def values(*shape):
    return np.ones(shape, np.float32)


def conv(data, kernels, size, *, name):
    inputs = int(data.get_output_shape(0)[1])
    node = ops.convolution(
        data, values(kernels, inputs, size, size), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    node.set_friendly_name(name)
    return node


def pool(data, *, name):
    node = ops.avg_pool(data, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True)
    node.set_friendly_name(name)
    return node


def dense(data, outputs, *, name):
    node = ops.matmul(data, values(int(data.get_output_shape(0)[1]), outputs), False, False)
    node.set_friendly_name(name)
    return node


def layer(analysis, name):
    (found,) = (one for one in analysis.layers if one.name == name)
    return found


def test_one_convolution():
    """64 kernels of 7x7 over 25x25x9: 9 is the depth of the input, not the number of kernels."""
    data = ops.parameter([1, 9, 25, 25], np.float32)
    found = analyze(ov.Model([conv(data, 64, 7, name="conv")], [data]))
    (one,) = found.layers
    assert one.output_shape == (1, 64, 19, 19)
    assert one.macs == 64 * 7 * 7 * 9 * 19 * 19 == 10_188_864
    assert found.total.flops == 20_377_728
    assert one.parameters == 64 * 9 * 7 * 7
    # A calculation that divides by 4e9 where 4 TFLOPS are meant comes to 0.509 ms, 100 times off.
    assert found.total.flops / 4e12 == pytest.approx(5.094432e-6)


def test_a_network_for_digits():
    data = ops.parameter([1, 1, 28, 28], np.float32)
    first = pool(conv(data, 5, 3, name="conv1"), name="pool1")
    second = pool(conv(first, 10, 3, name="conv2"), name="pool2")
    flat = ops.reshape(second, [1, -1], False)
    last = dense(dense(flat, 128, name="fc1"), 10, name="fc2")
    found = analyze(ov.Model([last], [data]))
    counted = {one.name: one.flops for one in found.layers if one.kind != "view"}
    assert counted == {
        "conv1": 60_840,
        "pool1": 3_380,
        "conv2": 108_900,
        "pool2": 1_000,  # from its output of 5x5 and 10 channels; from its input it would be 2,420
        "fc1": 64_000,  # from 10 channels of 5x5; with 5 channels it would be 32,000
        "fc2": 2_560,
    }
    assert found.total.flops == 240_680
    assert not found.not_counted


def graph(module, *example):
    with captured("torch"):  # it warns that tracing will go
        return ov.convert_model(
            module, example_input=example, input=[list(e.shape) for e in example]
        )


@settings(max_examples=15, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    per_group=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    batch=st.integers(1, 3),
)
def test_convolutions_as_torch_and_fvcore_count_them(
    groups, per_group, kernel, stride, dilation, batch
):
    module = torch.nn.Conv2d(
        4, groups * per_group, kernel, stride, 1, dilation, groups, bias=False
    ).eval()
    example = torch.zeros(batch, 4, 9, 8)
    found = analyze(graph(module, example)).total
    assert 2 * found.macs == module_flops(module, example)
    assert fvcore_macs(module, example) == ({"conv": found.macs}, set())
    assert found.parameters == module.weight.numel()


class Einsum(torch.nn.Module):
    def __init__(self, equation):
        super().__init__()
        self.equation = equation

    def forward(self, left, right):
        return torch.einsum(self.equation, left, right)


@pytest.mark.parametrize("equation", ["bij,bik->bjk", "bij,bkj->bki", "bij,bkj->bik"])
def test_einsums_as_torch_and_fvcore_count_them(equation):
    module = Einsum(equation)
    shapes = (2, 3, 4), (2, 3, 5) if equation == "bij,bik->bjk" else (2, 5, 4)
    example = [torch.zeros(shape) for shape in shapes]
    found = analyze(graph(module, *example))
    assert [one.type for one in found.layers if one.macs] == ["Einsum"]
    assert found.total.macs == 2 * 3 * 4 * 5
    assert fvcore_macs(module, *example) == ({"einsum": found.total.macs}, set())
    assert module_flops(module, *example) == 2 * found.total.macs


class Blocks(torch.nn.Module):
    """Convolution, normalization, attention, an embedding and a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.norm = torch.nn.LayerNorm(8)
        self.table = torch.nn.Embedding(40, 8)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = torch.nn.Linear(8, 5)
        for parameter in self.parameters():  # a scale of 1 or a bias of 0 would be left out
            torch.nn.init.normal_(parameter)

    def forward(self, image, ids):
        tokens = self.conv(image).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([tokens, self.table(ids)], 1))
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.mean(1)).softmax(-1)


def test_a_network_of_many_kinds(monkeypatch):
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)  # untraceable
    module, batch = Blocks().eval(), 2
    example = (torch.zeros(batch, 3, 11, 11), torch.zeros(batch, 4, dtype=torch.int64))
    found = analyze(graph(module, *example))
    assert not found.not_counted
    assert 2 * found.total.macs == module_flops(module, *example)
    assert found.total.parameters == sum(p.numel() for p in module.parameters())
    by_kind = {}
    for one in found.layers:
        by_kind.setdefault(one.kind, []).append(one)
    (softmax,) = (one for one in found.layers if one.type == "Softmax")
    assert softmax.other_flops == 5 * batch * 5
    (looked_up,) = (one for one in found.layers if one.type == "Gather" and one.parameters)
    assert looked_up.flops == 0
    assert looked_up.moved_bytes < looked_up.weight_bytes + looked_up.output_bytes + 100
    assert all(one.moved_bytes == 0 for one in by_kind["view"])


def test_what_is_known_when_it_is_compiled_is_no_work():
    data = ops.parameter([2, 8], np.float32)
    scale = ops.exp(ops.multiply(values(8), values(8)))
    size = ops.gather(ops.shape_of(data), np.int64(0), np.int64(0))
    tall = ops.broadcast(scale, ops.concat([ops.unsqueeze(size, 0), np.array([8])], 0))
    found = analyze(ov.Model([ops.multiply(data, tall)], [data]))
    (one,) = found.layers
    assert one.flops == 16
    assert one.parameters == 16
    assert one.weight_bytes == 2 * 8 * 4, "both constants that the scale is made of"


def test_weights_in_few_bits_are_parameters_and_take_what_is_stored():
    data = ops.parameter([1, 64], np.float32)
    stored = ops.constant(np.ones((32, 64), np.int8))
    scaled = ops.multiply(ops.convert(stored, "f32"), values(32, 1))
    found = analyze(ov.Model([ops.matmul(data, scaled, False, True)], [data]))
    (one,) = found.layers
    assert one.parameters == 32 * 64
    assert one.weight_bytes == 32 * 64 + 32 * 4
    assert one.parameter_bytes("i4") == 32 * 64 / 2
    assert one.activation_bytes("f16") == 2 * (64 + 32)


def test_shared_weights_count_once():
    data = ops.parameter([1, 8], np.float32)
    weights = ops.constant(values(8, 8))
    first = ops.matmul(data, weights, False, False)
    found = analyze(ov.Model([ops.matmul(first, weights, False, False)], [data]))
    assert [one.parameters for one in found.layers] == [64, 0]
    assert found.total.macs == 128


def test_what_nobody_can_count_is_named_and_never_zero():
    boxes, scores = ops.parameter([1, 10, 4], np.float32), ops.parameter([1, 2, 10], np.float32)
    kept = opset1.non_max_suppression(ops.relu(boxes), scores, ops.constant(np.int64(3)))
    found = analyze(ov.Model([kept], [boxes, scores]))
    (left,) = found.not_counted
    assert left.output_shape == (6, 3), "it is known, but not what is done for it"
    assert (left.type, left.kind, left.flops) == ("NonMaxSuppression", None, None)
    assert (left.macs, left.other_flops, left.intensity) == (None, None, None)
    assert left.uncounted == "how many boxes are compared depends on the boxes"
    assert found.total.flops == 40, "the rest"


def test_an_open_shape_is_not_counted():
    data = ops.parameter([-1, 8], np.float32)
    found = analyze(ov.Model([dense_open(data)], [data]))
    (one,) = found.layers
    assert not one.counted
    assert one.uncounted == "a shape stays open"
    assert one.output_shape is None
    assert one.parameters == 64


def dense_open(data):
    return ops.matmul(data, values(8, 8), False, False)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 12), windows=st.integers(1, 12), channels=st.integers(1, 3))
def test_adaptive_pooling_by_its_windows(size, windows, channels):
    windows = min(size, windows)
    data = ops.parameter([1, channels, size, 3], np.float32)
    node = ops.adaptive_avg_pool(data, ops.constant(np.array([windows, 1])))
    (one,) = analyze(ov.Model([node], [data])).layers
    lengths = [
        len(range(i * size // windows, -(-(i + 1) * size // windows))) for i in range(windows)
    ]
    assert one.other_flops == channels * sum(lengths) * 3


def test_a_state_and_what_is_made_of_it_are_work_of_each_inference():
    data = ops.parameter([2, 4], np.float32)
    state = ops.read_value(ops.constant(values(2, 4)), "state")
    after = ops.add(data, state)
    noise = ops.random_uniform(np.array([2, 4]), np.float32(0), np.float32(1), "f32")
    model = ov.Model(
        results=[ops.result(ops.exp(state)), ops.result(ops.multiply(after, noise))],
        sinks=[ops.assign(after, "state")],
        parameters=[data],
        name="m",
    )
    found = analyze(model)
    counted = {one.type: one.flops for one in found.layers}
    each = dict.fromkeys(("Add", "Exp", "Multiply", "RandomUniform"), 8)
    assert counted == each | {"Assign": 0, "ReadValue": 0}
    assert found.total.parameters == 0, "a first state is no weight"
