import openvino as ov
import pytest

from ovtool.core.trial import PRECISIONS, Trial
from ovtool.devices import rules
from ovtool.devices.rules import (
    RULES,
    exact_properties,
    find_unsupported,
    needs_fixed_shapes,
    trial_properties,
)
from tests.helpers.graphs import fully_connected


def trial(device="CPU", **fields):
    return Trial("v", "v", device, 1, **fields)


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (trial(), {"PERFORMANCE_HINT": "LATENCY"}),
        (
            trial(hint="throughput", precision="f32"),
            {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"},
        ),
        (
            trial(hint=None, streams=2, requests=4, threads=3, pinning=True),
            {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "3", "ENABLE_CPU_PINNING": "YES"},
        ),
        (trial("GPU.1"), {"ALLOW_AUTO_BATCHING": "NO", "PERFORMANCE_HINT": "LATENCY"}),
        (trial("NPU"), {"NPU_BYPASS_UMD_CACHING": "YES", "PERFORMANCE_HINT": "LATENCY"}),
        (trial("MULTI:GPU,CPU"), {"ALLOW_AUTO_BATCHING": "NO", "PERFORMANCE_HINT": "LATENCY"}),
        (trial("BATCH:GPU"), {"PERFORMANCE_HINT": "LATENCY"}),
        (
            trial("BATCH:NPU(4)"),
            {"NPU_BYPASS_UMD_CACHING": "YES", "PERFORMANCE_HINT": "LATENCY"},
        ),
        (
            trial("AUTO:NPU,CPU"),
            {
                "ENABLE_STARTUP_FALLBACK": "NO",
                "ALLOW_AUTO_BATCHING": "NO",
                "DEVICE_PROPERTIES": "{NPU:{NPU_BYPASS_UMD_CACHING:YES}}",
                "PERFORMANCE_HINT": "LATENCY",
            },
        ),
    ],
)
def test_properties_of_a_trial(requested, expected):
    assert trial_properties(requested) == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (trial_properties(trial(precision="f32")), {"INFERENCE_PRECISION_HINT": ov.Type.f32}),
        (trial_properties(trial(hint=None, streams=1, threads=1)), {"INFERENCE_NUM_THREADS": 1}),
        (
            exact_properties("CPU"),
            {
                "INFERENCE_PRECISION_HINT": ov.Type.f32,
                "KV_CACHE_PRECISION": ov.Type.f32,
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            },
        ),
    ],
)
def test_cpu_accepts_the_properties(properties, expected):
    compiled = ov.Core().compile_model(fully_connected(), "CPU", properties)
    assert {name: compiled.get_property(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("device", "fixed"),
    [
        ("NPU", True),
        ("NPU.3720", True),
        ("AUTO:NPU,CPU", True),
        ("CPU", False),
        ("GPU.0", False),
        ("AUTO:CPU", False),
        ("AUTO", False),
    ],
)
def test_devices_that_may_use_the_npu_need_fixed_shapes(device, fixed):
    assert needs_fixed_shapes(device) is fixed


@pytest.mark.parametrize(
    ("requested", "values"),
    [
        (trial("NPU", precision="f32"), ("NPU", "f32", "default, f16")),
        (trial("GPU.0", precision="bf16"), ("GPU.0", "bf16", "default, f32, f16")),
        (trial("AUTO:NPU,CPU", precision="f32"), ("NPU", "f32", "f16")),
        (trial("NPU", hint=None, threads=2), ("NPU", "threads", "streams")),
        (trial("NPU", pinning=True), ("NPU", "pinning", "streams")),
        (trial("GPU", hint=None, threads=2), ("GPU", "threads", "streams, pinning")),
    ],
)
def test_unsupported_setting_is_a_reason_with_the_supported_ones(requested, values):
    reason = find_unsupported(requested)
    for value in values:
        assert value in reason


@pytest.mark.parametrize(
    "requested",
    [
        trial("NPU", precision="f16"),
        trial("NPU", hint=None, requests=8),
        trial("GPU", precision="f32", hint=None, streams=2),
        trial("CPU", precision="bf16", hint=None, streams=1, threads=1, pinning=False),
    ],
)
def test_supported_settings_have_no_reason(requested):
    assert find_unsupported(requested) is None


@pytest.mark.parametrize("kind", ["CPU", "GPU", "NPU"])
def test_rules_name_settings_of_a_trial(kind):
    assert set(RULES[kind].precisions) <= set(PRECISIONS)
    assert set(RULES[kind].settings) <= set(rules.MANUAL_SETTINGS)


def test_cpu_plugin_supports_the_properties_of_its_rules():
    core = ov.Core()
    supported = set(core.get_property("CPU", "SUPPORTED_PROPERTIES"))
    properties = {"NUM_STREAMS", "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING", *RULES["CPU"].exact}
    assert properties <= supported
