import openvino as ov
import pytest

from ovtool.core.trial import PRECISIONS, Trial
from ovtool.devices import rules
from ovtool.devices.rules import (
    RULES,
    exact_properties,
    needs_fixed_shapes,
    properties,
    refusal,
)
from tests.helpers.graphs import fully_connected


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
def test_a_trial_becomes_properties(asked, told):
    assert properties(asked) == told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (properties(trial(precision="f32")), {"INFERENCE_PRECISION_HINT": ov.Type.f32}),
        (properties(trial(hint=None, streams=1, threads=1)), {"INFERENCE_NUM_THREADS": 1}),
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
def test_the_cpu_takes_them_and_says_so(told, expected):
    compiled = ov.Core().compile_model(fully_connected(), "CPU", told)
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
def test_what_may_go_to_the_npu_needs_fixed_shapes(device, fixed):
    assert needs_fixed_shapes(device) is fixed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (trial("NPU", precision="f32"), "NPU does not run in f32: ask for default or f16"),
        (trial("GPU.0", precision="bf16"), "GPU.0 does not run in bf16: ask for default or f32"),
        (trial("AUTO:NPU,CPU", precision="f32"), "NPU does not run in f32"),
        (trial("NPU", hint=None, threads=2), "NPU takes no threads by hand: it takes streams"),
        (trial("NPU", pinning=True), "NPU takes no pinning by hand"),
        (trial("GPU", hint=None, threads=2), "GPU takes no threads by hand: it takes streams and"),
        (trial("NPU", precision="f16"), None),
        (trial("NPU", hint=None, requests=8), None),
        (trial("GPU", precision="f32", hint=None, streams=2), None),
        (trial("CPU", precision="bf16", hint=None, streams=1, threads=1, pinning=False), None),
    ],
)  # fmt: skip
def test_what_a_device_cannot_do_is_a_reason(asked, said):
    found = refusal(asked)
    assert found is None if said is None else found.startswith(said)


@pytest.mark.parametrize("kind", ["CPU", "GPU", "NPU"])
def test_the_rules_speak_of_what_a_trial_can_ask(kind):
    assert set(RULES[kind].precisions) <= set(PRECISIONS)
    assert set(RULES[kind].by_hand) <= set(rules.BY_HAND)


def test_the_cpu_plugin_lists_what_its_rules_ask():
    core = ov.Core()
    supported = set(core.get_property("CPU", "SUPPORTED_PROPERTIES"))
    asked = {"NUM_STREAMS", "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING", *RULES["CPU"].exact}
    assert asked <= supported
