import openvino as ov
import pytest

from ovtool.devices.rules import (
    properties,
    reference_properties,
    refuses_open_dimensions,
)
from ovtool.trial import Trial
from tests.models import fully_connected


def trial(device="CPU", **fields):
    return Trial("v", "v", device, 1, **fields)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (trial(), {"PERFORMANCE_HINT": "LATENCY"}),
        (
            trial(hint="throughput", precision="f32"),
            {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"},
        ),
        (
            trial(hint=None, streams=2, requests=4, threads=3),
            {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "3"},
        ),
        (trial("GPU.1"), {"ALLOW_AUTO_BATCHING": "NO", "PERFORMANCE_HINT": "LATENCY"}),
        (trial("NPU"), {"NPU_BYPASS_UMD_CACHING": "YES", "PERFORMANCE_HINT": "LATENCY"}),
        (trial("AUTO:CPU"), {"PERFORMANCE_HINT": "LATENCY"}),
    ],
)
def test_a_trial_becomes_properties(asked, told):
    assert properties(asked) == told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (properties(trial(precision="f32")), {"INFERENCE_PRECISION_HINT": ov.Type.f32}),
        (properties(trial(hint=None, streams=1, threads=1)), {"INFERENCE_NUM_THREADS": 1}),
        (
            reference_properties(),
            {
                "INFERENCE_PRECISION_HINT": ov.Type.f32,
                "KV_CACHE_PRECISION": ov.Type.f32,
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            },
        ),
    ],
)
def test_the_cpu_takes_them_and_says_so(told, expected):
    compiled = ov.Core().compile_model(fully_connected(), "CPU", told)
    assert {name: compiled.get_property(name) for name in expected} == expected


@pytest.mark.parametrize("device", ["NPU", "NPU.3720"])
def test_the_npu_refuses_open_dimensions_with_the_way_out(device):
    assert "give --shape" in refuses_open_dimensions(device)


@pytest.mark.parametrize("device", ["CPU", "GPU.0", "AUTO:CPU"])
def test_other_devices_take_open_dimensions(device):
    assert refuses_open_dimensions(device) is None
