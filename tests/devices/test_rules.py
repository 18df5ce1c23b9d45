from dataclasses import replace

import openvino as ov
import pytest

from ovtool.core.trial import PRECISIONS, Generation, Trial
from ovtool.core.variant import Source, Step, VariantRecord
from ovtool.devices import rules
from ovtool.devices.rules import (
    RULES,
    exact_properties,
    find_memory_shortage,
    find_unsupported,
    find_unsupported_text,
    needs_fixed_shapes,
    note_text,
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


def record(*steps, compression="none"):
    return VariantRecord(
        name="v", source=Source(kind="test", reference="v", compression=compression),
        steps=[Step(method=m, settings=s, seconds=0) for m, s in steps], inputs=(), outputs=(),
        batch="dynamic", sha256="0" * 64, xml_bytes=0, bin_bytes=0, created="", versions={},
    )  # fmt: skip


def weights(**settings):
    return record(("weights", {"mode": "int4_sym", "group_size": 128} | settings))


def text(device="NPU", *values, **fields):
    return trial(device, hint=None, generation=Generation(*(values or (512, 64)), **fields))


@pytest.mark.parametrize(
    "made",
    [weights(), weights(group_size=-1), weights(group_size=None), weights(mode="nf4", ratio=1.0),
     record(compression="weights int4")],
)  # fmt: skip
def test_an_npu_runs_text_generators_with_symmetric_4_bit_weights(made):
    assert find_unsupported_text(text(), made) is None


@pytest.mark.parametrize(
    ("requested", "made", "evidence"),
    [
        (text(), record(), "int4_sym"),
        (text(), weights(mode="int8_asym", group_size=None), "int4_sym"),
        (text(), weights(mode="int4_asym"), "int4_sym"),
        (text(), weights(group_size=64), "group_size=128"),
        (text(), weights(ratio=0.8), "all layers"),
        (text(concurrency=4), weights(), "--concurrency 1"),
        (text(concurrency=None, max_ttft_ms=9.0), weights(), "--concurrency 1"),
        (text("NPU", 1025, 1), weights(), "1024"),
        (text("NPU", 1024, 129), weights(), "1152"),
        (text("AUTO:NPU,CPU"), weights(), "virtual"),
    ],
)
def test_what_an_npu_does_not_support_of_text_generators_has_a_reason(requested, made, evidence):
    assert evidence in find_unsupported_text(requested, made)


def test_other_devices_and_other_models_have_no_rules_of_text_generators():
    for device in ("CPU", "GPU.0", "AUTO:GPU,CPU"):
        assert find_unsupported_text(text(device, 4000, 500, 16), record()) is None
        assert note_text(text(device, 64, 64)) == ()
    assert find_unsupported_text(trial("NPU"), record()) is None


def test_requests_that_arrive_on_their_own_wait_for_an_npu():
    arriving = replace(text(concurrency=None), rate=2.0)
    assert find_unsupported_text(arriving, weights()) is None


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_gpu_has_no_cache_in_other_precisions(precision):
    for device in ("GPU.1", "AUTO:GPU,CPU"):
        reason = find_unsupported_text(text(device, kv_cache_precision=precision), record())
        assert precision in reason
        assert "f16, u8" in reason
    for supported in ("default", "f16", "u8"):
        requested = text("GPU", kv_cache_precision=supported)
        assert find_unsupported_text(requested, record()) is None
    assert find_unsupported_text(text("CPU", kv_cache_precision=precision), record()) is None


def test_prompts_with_quantized_activations_on_a_gpu_have_a_note():
    assert [note.id for note in note_text(text("GPU.0", 65, 8))] == ["dynamic-quantization"]
    assert note_text(text("GPU.0", 64, 8)) == ()


def test_the_memory_of_a_gpu_holds_the_weights_and_the_cache():
    # 1000 MB of f16 weights; 16 requests of 1000 tokens with 100,000 values, of 2 bytes: 3200 MB.
    made = record().model_copy(update={"bin_bytes": 2_000_000_000})
    requested = text("GPU.0", 900, 100, 16, "f16")
    assert find_memory_shortage(requested, made, 100_000, 4_200_000_000) is None
    reason = find_memory_shortage(requested, made, 100_000, 4_199_000_000)
    assert ("16000 tokens" in reason, "3052 MiB" in reason) == (True, True)  # 3.2e9 / 2**20
    assert find_memory_shortage(requested, made, None, 1_000_000_000) is None
    assert "weights" in find_memory_shortage(requested, made, None, 999_000_000)
    assert find_memory_shortage(requested, made, 100_000, None) is None
    smaller = text("GPU.0", 900, 100, 16, "u8")
    assert find_memory_shortage(smaller, made, 100_000, 2_600_000_000) is None
    int8 = weights(mode="int8_asym").model_copy(update={"bin_bytes": 2_000_000_000})
    assert find_memory_shortage(text("GPU.0"), int8, None, 1_900_000_000)


def test_a_short_prompt_on_an_npu_has_a_note():
    assert [note.id for note in note_text(text())] == ["prompt-padded"]
    assert note_text(text("NPU", 1024, 64)) == ()


def test_the_precision_of_the_cache_is_a_property():
    assert trial_properties(text("CPU")) == {}
    requested = trial_properties(text("CPU", 8, 8, 1, "u8"))
    assert requested == {"KV_CACHE_PRECISION": "u8"}
