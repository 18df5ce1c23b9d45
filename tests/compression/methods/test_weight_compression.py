import os

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.method import MissingInputError
from ovtool.compression.methods import weight_compression
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from tests.compression.samples import Listed, closeness, compress, types_of
from tests.helpers.graphs import constant, save

INT4 = {"mode": "int4_sym", "group_size": 32, "all_layers": True}


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    return Listed(list(rng.standard_normal((12, 64)).astype(np.float32)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"awq": True},
        {"scale_estimation": True},
        {"gptq": True},
        {"lora_correction": True, "lora_rank": 4},
        {"ratio": 0.5, "sensitivity_metric": "max_activation_variance"},
        {"ratio": 0.5, "sensitivity_metric": "hessian_input_activation"},
        {"ratio": 0.5, "sensitivity_metric": "mean_activation_variance"},
        {"ratio": 0.5, "sensitivity_metric": "mean_activation_magnitude"},
    ],
    ids=lambda option: next(iter(reversed(option.values()))) or "x",
)
def test_methods_on_data_read_it_and_record_it(dense, rows, tmp_path, progress, option):
    settings = {**INT4, **option, "subset_size": 6}
    with pytest.raises(MissingInputError) as caught:
        compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    assert caught.value.need == "calibration"
    compressed = compress(
        dense, "weights", settings, rows, out=tmp_path / "w", name="w", progress=progress
    )
    assert ("calibrating", 6) in progress.tasks
    assert compressed.record.steps[-1].details["calibration_samples"] == 6
    assert "12 samples" in compressed.record.steps[-1].data
    assert types_of(compressed)["i4"]["layers"] >= 1
    assert closeness(compressed, dense, rows) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("option", ["scale_estimation", "gptq", "lora_correction"])
def test_corrections_reduce_the_output_error(dense, rows, tmp_path, option):
    bare = compress(dense, "weights", INT4, None, out=tmp_path / "a", name="a")
    settings = {**INT4, option: True}
    compressed = compress(dense, "weights", settings, rows, out=tmp_path / "b", name="b")
    assert closeness(compressed, dense, rows) > closeness(bare, dense, rows)


@pytest.mark.slow
def test_awq_by_weights_needs_no_data(dense, tmp_path, progress):
    settings = {**INT4, "awq": True, "awq_by": "weights"}
    compressed = compress(
        dense, "weights", settings, None, out=tmp_path / "w", name="w", progress=progress
    )
    assert types_of(compressed)["i4"]["layers"] == 4


def test_codebook_of_given_values(dense, tmp_path):
    settings = {"mode": "codebook", "codebook": "-1, -0.4, 0, 0.4, 1", "all_layers": True}
    compressed = compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    assert sum(row["layers"] for row in types_of(compressed).values()) == 4
    assert compressed.record.steps[-1].details["storage"]["distinct_most"] <= 5
    assert compressed.record.bin_bytes < dense.record.bin_bytes / 3


@pytest.mark.slow
def test_adaptive_codebook_is_computed_by_nncf(dense, rows, tmp_path):
    settings = {"mode": "adaptive_codebook", "codebook_size": 8, "all_layers": True}
    with pytest.raises(MissingInputError) as caught:
        compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    assert caught.value.need == "calibration"
    compressed = compress(dense, "weights", settings, rows, out=tmp_path / "w", name="w")
    assert compressed.record.steps[-1].details["storage"]["distinct_most"] <= 8
    assert closeness(compressed, dense, rows) > 0.9


def test_remaining_layers_get_the_backup_type(dense, tmp_path):
    settings = {**INT4, "ratio": 0.5, "backup_mode": "none"}
    compressed = compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    stored = types_of(compressed)
    assert set(stored) == {"i4", "f32"}


@pytest.mark.slow
def test_group_size_fallback_adjusts_or_skips(dense, tmp_path):
    wide = {**INT4, "group_size": 128}
    with pytest.raises(InputError, match="int4_sym"):
        compress(dense, "weights", wide, None, out=tmp_path / "w", name="w")
    settings = {**wide, "group_size_fallback": "adjust"}
    compressed = compress(dense, "weights", settings, None, out=tmp_path / "a", name="a")
    assert types_of(compressed)["i4"]["layers"] == 4
    left = {**wide, "group_size_fallback": "ignore"}
    with pytest.raises(InputError, match=r"weights .* dense$"):
        compress(dense, "weights", left, None, out=tmp_path / "i", name="i")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fp8_e4m3", "fp4", "mxfp8_e4m3", "mxfp4"])
def test_float_modes_on_convolutions_raise_with_a_hint(conv, tmp_path, mode):
    settings = {"mode": mode, "all_layers": True}
    if mode in ("fp8_e4m3", "fp4"):
        settings["group_size"] = 32
    with pytest.raises(InputError, match=mode) as caught:
        compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
    assert "\n" not in str(caught.value)
    assert "backup_mode=int8_asym" in caught.value.hint
    settings["backup_mode"] = "int8_asym"
    compressed = compress(conv, "weights", settings, None, out=tmp_path / "v", name="v")
    assert set(types_of(compressed)) == {"u8", "f8e4m3" if "8" in mode else "f4e2m1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"awq": True}, "int8_asym .* awq"),
        ({"backup_mode": "none", "gptq": True}, "backup_mode, gptq"),
        ({**INT4, "gptq": True, "lora_correction": True}, "gptq and lora_correction"),
        ({"mode": "fp8_e4m3", "awq": True}, "fp8_e4m3 .* awq"),
        ({"mode": "codebook"}, "codebook"),
        ({"codebook": [0, 1]}, "codebook"),
        ({"mode": "codebook", "codebook": "1,0"}, "codebook .* ascending"),
        (
            {**INT4, "sensitivity_metric": "weight_quantization_error"},
            "sensitivity_metric .* ratio",
        ),
        ({"mode": "mxfp4", "group_size_fallback": "adjust"}, "mxfp4 .* group_size_fallback"),
    ],
)
def test_exclusive_settings_raise(settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings("weights", settings)


def test_every_mode_of_nncf_is_offered():
    import nncf

    from ovtool.compression.registry import load_method

    offered = set(load_method("weights").settings.model_json_schema()["properties"]["mode"]["enum"])
    assert offered == {mode.value for mode in nncf.CompressWeightsMode}


@pytest.mark.slow
def test_fp16_halves_the_weights(conv, tmp_path, pictures):
    compressed = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    assert compressed.record.bin_bytes < conv.record.bin_bytes * 0.52
    assert types_of(compressed)["f16"]["share_pct"] == 100
    assert compressed.record.steps[-1].data is None
    assert closeness(compressed, conv, pictures) > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        ({"mode": "int8_sym"}, "i8"),
        ({"mode": "int8_asym"}, "u8"),
        ({"mode": "int4_sym", "group_size": 32, "all_layers": True}, "i4"),
        ({"mode": "int4_asym", "group_size": "32", "all_layers": "true"}, "u4"),
        ({"mode": "int3_sym", "group_size": 32, "all_layers": True}, "u3"),
        ({"mode": "int2_sym", "group_size": 32, "all_layers": True}, "u2"),
        ({"mode": "nf4", "group_size": 32, "all_layers": True}, "nf4"),
        ({"mode": "cb4", "all_layers": True}, "u4"),
        ({"mode": "fp4", "group_size": 32, "all_layers": True}, "f4e2m1"),
        ({"mode": "mxfp4", "all_layers": True}, "f4e2m1"),
        ({"mode": "nvfp4", "all_layers": True}, "f4e2m1"),
        ({"mode": "fp8_e4m3", "group_size": 32, "all_layers": True}, "f8e4m3"),
        ({"mode": "mxfp8_e4m3", "all_layers": True}, "f8e4m3"),
    ],
)
def test_every_mode_runs_and_stores_its_type(dense, tmp_path, settings, stored):
    compressed = compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    row = types_of(compressed)[stored]
    assert (row["layers"], row["share_pct"]) == (4, 100)
    assert compressed.record.bin_bytes < dense.record.bin_bytes / 3


def test_ratio_leaves_some_layers_in_8_bits(dense, tmp_path, progress):
    settings = {"mode": "int4_sym", "group_size": 32, "ratio": "0.5", "all_layers": True}
    compressed = compress(
        dense, "weights", settings, None, out=tmp_path / "w", name="w", progress=progress
    )
    stored = types_of(compressed)
    assert 0 < stored["i4"]["share_pct"] <= 50
    assert stored["i4"]["layers"] + stored["u8"]["layers"] == 4
    assert f"% i4 ({stored['i4']['layers']} of 4 layers)" in progress.notes[-1]


def test_4_bits_apply_only_to_the_classifier_of_a_convolution_network(conv, tmp_path, progress):
    settings = {"mode": "int4_sym", "group_size": 32, "all_layers": True}
    compressed = compress(
        conv, "weights", settings, None, out=tmp_path / "w", name="w", progress=progress
    )
    assert types_of(compressed)["i4"]["layers"] == 1
    assert types_of(compressed)["i4"]["share_pct"] < 5
    summary, warning = progress.notes[-2:]
    assert "i4 (1 of 3 layers)" in summary
    assert "int4_sym in 1 of 3 layers" in warning


@pytest.mark.slow
def test_compressed_weights_are_not_compressed_again(dense, rows, tmp_path):
    first = compress(dense, "weights", {}, None, out=tmp_path / "first", name="first")
    with pytest.raises(InputError, match=r"first .*int8 in 4 of 4"):
        compress(first, "weights", INT4, None, out=tmp_path / "w", name="w")
    quantized = compress(dense, "int8", {}, rows, out=tmp_path / "quantized", name="quantized")
    with pytest.raises(InputError, match=r"quantized .*int8 in 4 of 4"):
        compress(quantized, "weights", {}, None, out=tmp_path / "w", name="w")


@pytest.mark.slow
def test_layers_that_are_left_can_be_compressed(dense, tmp_path):
    some = {"mode": "int8_sym", "ignored_names": "fc0"}
    first = compress(dense, "weights", some, None, out=tmp_path / "first", name="first")
    second = compress(first, "weights", {}, None, out=tmp_path / "second", name="second")
    assert types_of(second).keys() == {"i8", "u8"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("int8_asym", {}),
        ("int8_sym", {}),
        ("int4_asym", {"group_size": 32, "ignored_types": ["Convolution"]}),
        ("int4_sym", {"group_size": 32, "ignored_types": ["Convolution"]}),
    ],
)
@pytest.mark.parametrize("compiled_from", [0, 1 << 30])
def test_integers_are_those_of_nncf_with_and_without_its_kernels(
    tmp_path, monkeypatch, mode, settings, compiled_from
):
    import nncf

    monkeypatch.setattr(weight_compression, "_COMPILED_FROM", compiled_from)
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 3, 9, 9], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    h = op.convolution(x, constant(rng, 128, 3, 9, 9), [1, 1], [0, 0], [0, 0], [1, 1])
    h = op.reshape(h, op.constant(np.array([0, 128])), special_zero=True)
    h = op.matmul(h, constant(rng, 200, 128), False, True)
    h.output(0).set_names({"y"})
    graph = ov.Model([op.result(h)], [x], "large")
    variant = save(tmp_path / "v", graph)
    settings = {"mode": mode, "all_layers": "int4" in mode, **settings}
    compressed = compress(variant, "weights", settings, None, out=tmp_path / "o", name="o")
    ignored = nncf.IgnoredScope(types=settings.pop("ignored_types", []), validate=False)
    given = {n: value for n, value in settings.items() if value} | {"ignored_scope": ignored}
    bare = nncf.compress_weights(graph, **given | {"mode": nncf.CompressWeightsMode(mode)})
    stored = [constants(ov.Core().read_model(compressed.xml)), constants(bare)]
    assert len(stored[0]) == len(stored[1]) >= (2 if "int8" in mode else 1)
    for ours, theirs in zip(*stored, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "NNCF_DISABLE_OPTIMIZED_COMPRESSION" not in os.environ


_INTEGERS = (ov.Type.u8, ov.Type.i8, ov.Type.u4, ov.Type.i4)


def constants(model):
    """The stored integers, in the order of the graph."""
    return [
        o.get_data() for o in model.get_ordered_ops()
        if o.get_type_name() == "Constant" and o.get_element_type() in _INTEGERS
    ]  # fmt: skip
