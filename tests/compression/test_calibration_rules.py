"""Settings that follow from the device and the graph."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.calibration_rules import decide, find_attention, judging_properties
from ovtool.compression.registry import parse_settings
from ovtool.graph.reference_run import EXACT_PROPERTIES, FLOAT_KERNELS
from ovtool.graph.weights import find_weights
from ovtool.system.host import Host
from tests.compression.samples import compress
from tests.helpers.graphs import attention, convolutional


def machine(tmp_path, flags):
    (tmp_path / "proc").mkdir()
    text = f"model name : A processor\nflags : fpu avx2 {flags}\n"
    (tmp_path / "proc" / "cpuinfo").write_text(text)
    return Host(tmp_path)


def decided(model, host=None, **settings):
    unknown = Host(Path("no such folder"))
    result, decisions = decide(model, parse_settings("int8", settings), host or unknown)
    for decision in decisions:
        assert getattr(result, decision.setting) == decision.value
        assert decision.reason
    return {decision.setting: decision.value for decision in decisions}


@pytest.mark.parametrize(
    ("target", "flags", "fix"),
    [
        ("gpu", "", "disable"),
        ("npu", "", "disable"),
        ("cpu_spr", "", "disable"),
        ("cpu", "avx512f avx512_vnni", "disable"),
        ("cpu", "avx_vnni", "disable"),
        ("cpu", "amx_int8", "disable"),
        ("cpu", "avx512f amx_bf16", "pairs"),
        ("cpu", "", "pairs"),
        ("any", "", "pairs"),
        ("any", "avx512_vnni", None),  # other machines may lack it
    ],
)
def test_overflow_fix_follows_from_the_sums_of_the_target(tmp_path, target, flags, fix):
    host = machine(tmp_path, flags)
    expected = {"overflow_fix": fix} if fix else {}
    assert decided(convolutional(), host, target_device=target) == expected
    given = {"target_device": target, "overflow_fix": "first_layer_only"}
    assert decided(convolutional(), host, **given) == {}
    assert decided(convolutional(), host, target_device=target, effort="none") == {}


@pytest.mark.parametrize(
    ("target", "flags", "properties"),
    [
        ("gpu", "", FLOAT_KERNELS),
        ("npu", "", FLOAT_KERNELS),
        ("cpu", "avx_vnni", FLOAT_KERNELS),
        ("cpu", "", EXACT_PROPERTIES),
        ("any", "avx_vnni", EXACT_PROPERTIES),
    ],
)
def test_a_target_without_overflow_is_not_judged_by_kernels_that_overflow(
    tmp_path, target, flags, properties
):
    settings = parse_settings("int8", {"target_device": target})
    assert judging_properties(settings, machine(tmp_path, flags)) == properties


def test_methods_without_a_target_are_judged_by_the_kernels_of_this_cpu():
    assert judging_properties(parse_settings("fp16", {})) == EXACT_PROPERTIES


def test_nothing_is_decided_for_an_unknown_cpu(tmp_path):
    assert decided(convolutional(), Host(tmp_path), target_device="cpu") == {}


@pytest.mark.slow
def test_weights_of_the_first_layer_use_all_levels_for_a_gpu(conv, pictures, tmp_path):
    largest = {}
    for target, effort in (("any", "none"), ("gpu", "low")):
        settings = {"target_device": target, "effort": effort}
        compressed = compress(conv, "int8", settings, pictures, out=tmp_path / target, name="q")
        first = next(iter(find_weights(ov.Core().read_model(compressed.xml))))
        largest[target] = int(abs(first.constant.get_data().astype(int)).max())
        decisions = compressed.record.steps[-1].details.get("decisions", [])
        values = {d["setting"]: d["value"] for d in decisions}
        assert values.keys() <= {"overflow_fix"}
        assert (values.get("overflow_fix") == "disable") == (target == "gpu")
    assert largest["any"] <= 64
    assert largest["gpu"] > 120


@pytest.mark.parametrize("fused", [False, True])
def test_attention_needs_model_type_transformer(fused):
    assert find_attention(attention(fused=fused)) is not None
    assert decided(attention(fused=fused))["model_type"] == "transformer"
    assert "model_type" not in decided(attention(fused=fused), model_type="none")


def test_a_product_with_a_softmax_of_no_product_is_no_attention():
    x = op.parameter([2, 4], ov.Type.f32)
    gated = op.matmul(op.softmax(x, 1), op.constant(np.ones((4, 1), np.float32)), False, False)
    assert find_attention(ov.Model([op.result(gated)], [x], "gate")) is None
    assert find_attention(convolutional()) is None


def test_scales_are_per_tensor_before_depthwise_convolutions():
    from tests.compression.test_ptq import depthwise

    assert decided(depthwise()) == {"activation_scales": "per_tensor"}
    assert decided(depthwise(), activation_scales="per_channel") == {}
    assert decided(depthwise(), effort="none") == {}


def test_a_grouped_convolution_that_is_not_depthwise_does_not_count():
    x = op.parameter([1, 4, 8, 8], ov.Type.f32)
    kernels = op.constant(np.ones((2, 2, 2, 3, 3), np.float32))
    h = op.group_convolution(x, kernels, [1, 1], [1, 1], [1, 1], [1, 1])
    assert decided(ov.Model([op.result(h)], [x], "grouped")) == {}
