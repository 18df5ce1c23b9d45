"""What real compiled models say of their layers, and what is made of it."""

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.benchmark import layer_timing
from ovtool.graph import runtime_layers as layers
from ovtool.graph.flops import Work, work
from ovtool.graph.runtime_layers import (
    Layer,
    attributed,
    executed,
    fallbacks,
    shares,
    summary,
    timed,
)
from ovtool.system.counters import Counters
from tests.helpers import graphs as models

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
LAYERS = st.builds(
    Layer,
    name=st.text(max_size=3),
    type=st.sampled_from(["Convolution", "MatMul", "Reorder", "Subgraph"]),
    precision=st.sampled_from(["i8", "bf16", "f32", "i4", None]),
    primitive=st.just(""),
    flops=st.none() | st.integers(0, 10**12),
    time_ms=st.none() | st.integers(0, 10**6).map(lambda us: us / 1000),
)


def compiled(model, device="CPU", properties=F32):
    done = ov.Core().compile_model(model, device, properties)
    counted = work(model)
    return executed(done, counted), counted


def computing(found):
    return {layer.name: layer for layer in found if layer.computes}


@pytest.mark.parametrize("device", ["CPU", "HETERO:CPU", "AUTO:CPU"])
def test_every_layer_says_what_it_runs_in_and_does(device):
    found, counted = compiled(models.convolutional(batch=2), device)
    compute = computing(found)
    assert {layer.precision for layer in compute.values()} == {"f32"}
    assert {layer.device for layer in found} == {"CPU"}
    assert sum(layer.flops for layer in compute.values()) == counted.total
    assert attributed(found, counted.flops) == 1
    assert compute["conv0"].type == "Convolution"
    assert compute["conv0"].flops == counted.flops["conv0"]
    assert "conv0" in compute["conv0"].original
    assert all(layer.time_ms is None for layer in found), "nothing ran"


def test_what_is_prepared_while_compiling_is_no_layer():
    found, _ = compiled(models.convolutional(batch=1))
    kinds = {layer.type for layer in found}
    assert kinds.isdisjoint({"Const", "Input", "Output"})
    weights = models.convolutional(batch=1)
    graph = ov.Core().compile_model(weights, "CPU", F32).get_runtime_model()
    assert len(found) < len(graph.get_ops())


@pytest.mark.parametrize("fused", [True, False])
def test_fused_attention_and_biases_lose_no_work(fused):
    """The plugin lists the bias for the product, and one product of two for the attention."""
    found, counted = compiled(models.attention(fused))
    assert attributed(found, counted.flops) == 1
    compute = computing(found)
    assert compute["up/bias"].flops == counted.flops["up/product"]
    both = 2 * 2 * 4 * 24 * 24 * 16
    attention = [layer for layer in compute.values() if layer.flops == both]
    assert len(attention) == 1
    assert len(compute) == 7


def test_what_is_not_in_int8_is_found_in_an_int8_model():
    found, counted = compiled(models.convolutional(batch=1, int8=("conv0", "classifier")))
    total = counted.total
    assert shares(found) == pytest.approx(
        {
            "f32": counted.flops["conv1"] / total,
            "i8": (counted.flops["conv0"] + counted.flops["classifier"]) / total,
        }
    )
    assert [layer.flops for layer in fallbacks(found)] == [counted.flops["conv1"]]
    told = json.loads(json.dumps(summary(found, counted)))
    assert told["fallbacks"] == ["conv1"]
    assert told["fallback_share"] == pytest.approx(counted.flops["conv1"] / total)
    assert told["compute_layers"] == 3
    assert told["attributed"] == 1
    assert told["layer_share"] == pytest.approx({"i8": 2 / 3, "f32": 1 / 3})


def test_a_wholly_quantized_model_has_nothing_to_name():
    found, _ = compiled(models.convolutional(batch=1, int8=("conv0", "conv1", "classifier")))
    assert shares(found) == {"i8": 1}
    assert fallbacks(found) == []


def test_compressed_weights_do_not_make_a_layer_run_in_int8():
    """The plugin calls the layer u8, and multiplies in floating point."""
    x = op.parameter([1, 64], ov.Type.f32)
    stored = op.constant(np.arange(64 * 64).reshape(64, 64).astype(np.uint8))
    weights = op.multiply(op.convert(stored, "f32"), op.constant(np.float32(0.01)))
    y = op.matmul(x, weights, False, True, name="product")
    model = ov.Model([op.result(op.relu(y))], [x], "m")
    found, counted = compiled(model)
    assert attributed(found, counted.flops) == 1
    assert shares(found) == {"f32": 1}


def test_operations_that_no_layer_names_lower_the_share_and_are_no_zero():
    model = models.convolutional(batch=1)
    done = ov.Core().compile_model(model, "CPU", F32)
    other = Work({"conv0": 100, "elsewhere": 300}, {"conv0": (), "elsewhere": ("nowhere", "conv0")})
    found = executed(done, other)
    assert attributed(found, other.flops) == 0.25
    left = [layer for layer in found if layer.computes and layer.flops is None]
    assert len(left) == 2, "they compute, and how much is not known"


def test_a_plugin_that_hides_its_graph_has_no_layers():
    class Hidden:
        def get_runtime_model(self):
            raise RuntimeError("not implemented")

    assert executed(Hidden(), Work({}, {})) is None
    assert summary(None, Work({}, {})) is None


@pytest.mark.parametrize(
    ("primitive", "runtime", "named"),
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
def test_the_primitive_names_the_precision_before_the_graph_does(primitive, runtime, named):
    assert layers.precision_of(primitive, runtime) == named


@given(st.lists(LAYERS, max_size=8))
def test_shares_add_up_or_are_not_there(found):
    for weight in ("flops", "time", "layers"):
        told = shares(found, weight)
        assert not told or sum(told.values()) == pytest.approx(1)
        assert list(told.values()) == sorted(told.values(), reverse=True)
        assert all(share > 0 for share in told.values())


@given(st.lists(LAYERS, max_size=8))
def test_fallbacks_are_computing_layers_outside_int8_the_largest_first(found):
    back = fallbacks(found)
    assert all(layer.computes and layer.precision != "i8" for layer in back)
    sizes = [layer.flops or 0 for layer in back]
    assert sizes == sorted(sizes, reverse=True)
    integer = any(layer.computes and layer.precision == "i8" for layer in found)
    others = sum(layer.computes and layer.precision != "i8" for layer in found)
    assert len(back) == (others if integer else 0)


@given(LAYERS)
def test_a_layer_travels_as_json(layer):
    layer = replace(layer, original=("a", "b"))
    assert layers.from_json(json.loads(json.dumps(layers.as_json(layer)))) == layer


@pytest.mark.parametrize("device", ["CPU", "HETERO:CPU", "AUTO:CPU"])
def test_the_time_of_each_layer_is_taken(device):
    model = models.convolutional(batch=16)
    counted, core = work(model), ov.Core()
    plain = core.compile_model(model, device, F32)
    request = plain.create_infer_request()
    request.infer()
    counting = core.compile_model(model, device, F32 | {"PERF_COUNT": "YES"})
    profile = layer_timing.profile_layers(request, counting, counted, 0.05, Counters())
    told = json.loads(json.dumps(profile))
    found = {one["name"]: layers.from_json(one) for one in told["layers"]}
    assert {"conv0", "conv1"} <= set(found)
    for layer in found.values():
        assert layer.time_ms is not None
        assert layer.device == "CPU"
        assert layer.precision == "f32"
    assert found["conv1"].time_ms > 0
    assert found["conv1"].flops == counted.flops["conv1"]
    assert told["attributed"] == 1
    assert told["flops"] == counted.total
    assert told["inferences"] >= 3
    assert min(told["latency_ms"], told["latency_counted_ms"]) > 0


class Told:
    """A request whose counters say what a test wants."""

    def __init__(self):
        self.profiling_info = []

    def says(self, **times_us):
        self.profiling_info = [
            SimpleNamespace(
                node_name=name,
                node_type="Convolution",
                exec_type="conv_f32",
                real_time=timedelta(microseconds=value),
                status=ov.ProfilingInfo.Status.EXECUTED,
                Status=ov.ProfilingInfo.Status,
            )
            for name, value in times_us.items()
        ]


@pytest.mark.parametrize(
    ("means", "streams", "mean_ms"),
    [
        pytest.param(True, 1, 0.010, id="a mean of four, the first of which took 90 us"),
        pytest.param(True, 2, 0.030, id="a mean that the first cannot be taken out of"),
        pytest.param(False, None, 0.020, id="the last inference each time"),
    ],
)
def test_counters_are_averaged_as_the_plugin_counts(means, streams, mean_ms):
    request = Told()
    request.says(a=90)
    counters = layer_timing._LayerTimes(request, means=means, streams=streams)
    for reading in (20, 10, 30):
        request.says(a=reading)
        counters.record()
    (layer,) = counters.layers("CPU")
    assert layer.time_ms == pytest.approx(mean_ms)
    assert (layer.name, layer.type, layer.precision) == ("a", "Convolution", "f32")


def test_the_counters_of_a_cpu_belong_to_the_compiled_model():
    """What the averaging rests on: a request that has not run tells them too."""
    model = models.convolutional(batch=16)
    counting = ov.Core().compile_model(model, "CPU", F32 | {"PERF_COUNT": "YES"})
    first, second = counting.create_infer_request(), counting.create_infer_request()
    first.infer()

    def read(request):
        return {one.node_name: one.real_time for one in request.profiling_info}

    assert read(second) == read(first), "they are the compiled model's, not the request's"


def test_layers_that_the_graph_does_not_show_keep_their_time():
    counted = Work({"a": 10, "b": 20}, {"a": (), "b": ()})
    shown = [Layer("a", "Convolution", "i8", "p", flops=10, original=("a",))]
    seen = [
        Layer("a", "conv", None, "q", time_ms=1.0),
        Layer("copy", "Reorder", "f32", "r", time_ms=2.0),
    ]
    found = timed(shown, seen, counted)
    assert found == (replace(shown[0], time_ms=1.0), seen[1])
    hidden = timed(None, [*seen, Layer("b", "Convolution", "f16", "", time_ms=3.0)], counted)
    assert [layer.flops for layer in hidden] == [10, None, 20]
    assert [layer.time_ms for layer in hidden] == [1.0, 2.0, 3.0]
