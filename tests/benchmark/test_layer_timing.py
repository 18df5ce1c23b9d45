"""Times of the layers, from the counters of a request."""

import json
from datetime import timedelta
from types import SimpleNamespace

import openvino as ov
import pytest

from ovtool.benchmark import layer_timing
from ovtool.graph import runtime
from ovtool.graph.flops import compute_cost
from ovtool.system.counters import Counters
from tests.helpers import graphs as models

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["CPU", "HETERO:CPU", "AUTO:CPU"])
def test_time_of_each_layer_is_measured(device):
    model = models.convolutional(batch=16)
    cost, core = compute_cost(model), ov.Core()
    plain = core.compile_model(model, device, F32)
    request = plain.create_infer_request()
    request.infer()
    counting = core.compile_model(model, device, F32 | {"PERF_COUNT": "YES"})
    profile = layer_timing.profile_layers(request, counting, cost, 0.05, Counters())
    document = json.loads(json.dumps(profile))
    layers = {d["name"]: runtime.layer_from_json(d) for d in document["layers"]}
    assert {"conv0", "conv1"} <= set(layers)
    for layer in layers.values():
        assert layer.time_ms is not None
        assert layer.device == "CPU"
        assert layer.precision == "f32"
    assert layers["conv1"].time_ms > 0
    assert layers["conv1"].flops == cost.flops["conv1"]
    assert document["attributed"] == 1
    assert document["flops"] == cost.total
    assert document["inferences"] >= 3
    assert min(document["latency_ms"], document["latency_counted_ms"]) > 0


class FakeRequest:
    """A request with the profiling information that a test sets."""

    def __init__(self):
        self.profiling_info = []

    def set_times(self, **times_us):
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
        pytest.param(True, 1, 0.010, id="mean-of-four-without-the-first"),
        pytest.param(True, 2, 0.030, id="mean-with-the-first"),
        pytest.param(False, None, 0.020, id="last-inference"),
    ],
)
def test_counters_are_averaged_as_the_plugin_reports_them(means, streams, mean_ms):
    request = FakeRequest()
    request.set_times(a=90)
    counters = layer_timing._LayerTimes(request, means=means, streams=streams)
    for reading in (20, 10, 30):
        request.set_times(a=reading)
        counters.record()
    (layer,) = counters.layers("CPU")
    assert layer.time_ms == pytest.approx(mean_ms)
    assert (layer.name, layer.type, layer.precision) == ("a", "Convolution", "f32")


def test_counters_of_a_cpu_belong_to_the_compiled_model():
    """The averaging relies on this: a request that has not run reports them too."""
    model = models.convolutional(batch=16)
    counting = ov.Core().compile_model(model, "CPU", F32 | {"PERF_COUNT": "YES"})
    first, second = counting.create_infer_request(), counting.create_infer_request()
    first.infer()

    def read(request):
        return {info.node_name: info.real_time for info in request.profiling_info}

    assert read(second) == read(first)
