"""Layers of compiled models, and figures of them."""

import json
from dataclasses import asdict, replace

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.graph import runtime
from ovtool.graph.flops import OperationCost, compute_cost
from ovtool.graph.runtime import (
    Layer,
    compute_attributed_share,
    compute_precision_shares,
    find_fallbacks,
    merge_times,
    read_layers,
    summarize_layers,
)
from tests.helpers import graphs as models
from tests.helpers.quantized_models import save_mlp, write_dynamic

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


LAYERS = st.builds(
    Layer,
    name=st.text(max_size=3),
    type=st.sampled_from(["Convolution", "MatMul", "Reorder", "Subgraph"]),
    precision=st.sampled_from(["i8", "bf16", "f32", "i4", None]),
    primitive=st.just(""),
    flops=st.none() | st.integers(0, 10**12),
    time_ms=st.none() | st.integers(0, 10**6).map(lambda us: us / 1000),
    quantized=st.booleans(),
)


def compile_layers(model, device="CPU", properties=F32):
    compiled = ov.Core().compile_model(model, device, properties)
    cost = compute_cost(model)
    return read_layers(compiled, cost), cost


def compute_layers(layers):
    return {layer.name: layer for layer in layers if layer.computes}


@pytest.mark.parametrize("device", ["CPU", "HETERO:CPU", "AUTO:CPU"])
def test_every_layer_has_its_precision_and_flops(device):
    layers, cost = compile_layers(models.convolutional(batch=2), device)
    compute = compute_layers(layers)
    assert {layer.precision for layer in compute.values()} == {"f32"}
    assert {layer.device for layer in layers} == {"CPU"}
    assert sum(layer.flops for layer in compute.values()) == cost.total
    assert compute_attributed_share(layers, cost.flops) == 1
    assert compute["conv0"].type == "Convolution"
    assert compute["conv0"].flops == cost.flops["conv0"]
    assert "conv0" in compute["conv0"].original
    assert all(layer.time_ms is None for layer in layers)


def test_constants_are_not_layers():
    layers, _ = compile_layers(models.convolutional(batch=1))
    kinds = {layer.type for layer in layers}
    assert kinds.isdisjoint({"Const", "Input", "Output"})
    weights = models.convolutional(batch=1)
    graph = ov.Core().compile_model(weights, "CPU", F32).get_runtime_model()
    assert len(layers) < len(graph.get_ops())


@pytest.mark.parametrize("fused", [True, False])
def test_fused_attention_and_biases_keep_their_flops(fused):
    """The plugin lists the bias for the product, and one of the two products of the attention."""
    layers, cost = compile_layers(models.attention(fused))
    assert compute_attributed_share(layers, cost.flops) == 1
    compute = compute_layers(layers)
    assert compute["up/bias"].flops == cost.flops["up/product"]
    both = 2 * 2 * 4 * 24 * 24 * 16
    attention = [layer for layer in compute.values() if layer.flops == both]
    assert len(attention) == 1
    assert len(compute) == 7


def test_fallbacks_of_an_int8_model():
    layers, cost = compile_layers(models.convolutional(batch=1, int8=("conv0", "classifier")))
    total = cost.total
    assert compute_precision_shares(layers) == pytest.approx(
        {
            "f32": cost.flops["conv1"] / total,
            "i8": (cost.flops["conv0"] + cost.flops["classifier"]) / total,
        }
    )
    assert [layer.flops for layer in find_fallbacks(layers)] == [cost.flops["conv1"]]
    document = json.loads(json.dumps(summarize_layers(layers, cost)))
    assert document["fallbacks"] == ["conv1"]
    assert document["fallback_share"] == pytest.approx(cost.flops["conv1"] / total)
    assert document["compute_layers"] == 3
    assert document["attributed"] == 1
    assert document["layer_share"] == pytest.approx({"i8": 2 / 3, "f32": 1 / 3})


def test_fully_quantized_model_has_no_fallback():
    layers, _ = compile_layers(models.convolutional(batch=1, int8=("conv0", "conv1", "classifier")))
    assert compute_precision_shares(layers) == {"i8": 1}
    assert find_fallbacks(layers) == []


def test_int8_model_that_runs_in_float_has_fallbacks_only(tmp_path):
    """The CPU computes products of integers in f32."""
    path = write_dynamic(save_mlp(tmp_path / "mlp.onnx"), tmp_path / "dynamic.onnx")
    model = ov.Core().read_model(path)
    model.reshape([1, 32])
    layers, cost = compile_layers(model)
    assert compute_precision_shares(layers) == {"f32": 1}
    assert len(find_fallbacks(layers)) == 3
    assert sum(layer.flops for layer in find_fallbacks(layers)) == cost.total
    assert summarize_layers(layers, cost)["fallback_share"] == 1


def test_layer_with_compressed_weights_runs_in_f32():
    """The plugin reports u8, but computes in floating point."""
    x = op.parameter([1, 64], ov.Type.f32)
    stored = op.constant(np.arange(64 * 64).reshape(64, 64).astype(np.uint8))
    weights = op.multiply(op.convert(stored, "f32"), op.constant(np.float32(0.01)))
    y = op.matmul(x, weights, False, True, name="product")
    model = ov.Model([op.result(op.relu(y))], [x], "m")
    layers, cost = compile_layers(model)
    assert compute_attributed_share(layers, cost.flops) == 1
    assert compute_precision_shares(layers) == {"f32": 1}


def test_unassigned_operations_lower_the_attributed_share():
    model = models.convolutional(batch=1)
    compiled = ov.Core().compile_model(model, "CPU", F32)
    other = OperationCost(
        {"conv0": 100, "elsewhere": 300}, {"conv0": (), "elsewhere": ("nowhere", "conv0")}
    )
    layers = read_layers(compiled, other)
    assert compute_attributed_share(layers, other.flops) == 0.25
    unknown = [layer for layer in layers if layer.computes and layer.flops is None]
    assert len(unknown) == 2


def test_plugin_without_a_runtime_graph_has_no_layers():
    class Hidden:
        def get_runtime_model(self):
            raise RuntimeError("not implemented")

    assert read_layers(Hidden(), OperationCost({}, {})) is None
    assert summarize_layers(None, OperationCost({}, {})) is None


@pytest.mark.parametrize(
    ("primitive", "runtime_precision", "precision"),
    [
        ("brgconv_avx512_1x1_I8", "u8", "i8"),
        ("brgemm_avx512_i8", "i8", "i8"),
        ("brgemm_avx512_bf16", "u8", "bf16"),
        ("gemm_mlas_f32", "f32", "f32"),
        ("convolution_gpu_bfyx_os_iyx_osv16__f16", "f16", "f16"),
        ("", "u8", "i8"),
        ("unknown_boolean", "boolean", "boolean"),
        ("DPU", None, None),
        ("DPU", "", None),
    ],
)
def test_precision_of_the_primitive_takes_precedence(primitive, runtime_precision, precision):
    assert runtime.parse_precision(primitive, runtime_precision) == precision


@given(st.lists(LAYERS, max_size=8))
def test_shares_sum_to_one_or_are_empty(layers):
    for share_of in ("flops", "time", "layers"):
        shares = compute_precision_shares(layers, share_of)
        values = list(shares.values())
        assert not values or sum(values) == pytest.approx(1)
        assert values == sorted(values, reverse=True)
        assert all(share > 0 for share in values)


@given(st.lists(LAYERS, max_size=8))
def test_fallbacks_are_compute_layers_outside_int8_the_largest_first(layers):
    fallbacks = find_fallbacks(layers)
    assert all(layer.computes and layer.precision != "i8" for layer in fallbacks)
    sizes = [layer.flops or 0 for layer in fallbacks]
    assert sizes == sorted(sizes, reverse=True)
    integer = any(
        layer.computes and (layer.precision == "i8" or layer.quantized) for layer in layers
    )
    others = sum(layer.computes and layer.precision != "i8" for layer in layers)
    assert len(fallbacks) == (others if integer else 0)


@given(LAYERS)
def test_layer_survives_json(layer):
    layer = replace(layer, original=("a", "b"))
    assert runtime.layer_from_json(json.loads(json.dumps(asdict(layer)))) == layer


def test_layers_outside_of_the_runtime_graph_keep_their_time():
    cost = OperationCost({"a": 10, "b": 20}, {"a": (), "b": ()})
    shown = [Layer("a", "Convolution", "i8", "p", flops=10, original=("a",))]
    seen = [
        Layer("a", "conv", None, "q", time_ms=1.0),
        Layer("copy", "Reorder", "f32", "r", time_ms=2.0),
    ]
    layers = merge_times(shown, seen, cost)
    assert layers == (replace(shown[0], time_ms=1.0), seen[1])
    hidden = merge_times(None, [*seen, Layer("b", "Convolution", "f16", "", time_ms=3.0)], cost)
    assert [layer.flops for layer in hidden] == [10, None, 20]
    assert [layer.time_ms for layer in hidden] == [1.0, 2.0, 3.0]
