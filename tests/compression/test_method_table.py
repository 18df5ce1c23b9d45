import json
import os
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.variant import Variant
from tests.compression.samples import Listed, compress
from tests.helpers.graphs import convolutional, save


def outputs(variant, rows):
    compiled = ov.Core().compile_model(variant.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(rows)[0]


def closeness(variant, parent, samples):
    rows = np.stack([sample.inputs["x"] for sample in samples])
    a, b = outputs(variant, rows).ravel(), outputs(parent, rows).ravel()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def types_of(variant):
    return {row["type"]: row for row in variant.record.steps[-1].details["weights"]}


def test_int8_quantizes_weights_and_activations(conv, pictures, tmp_path, told):
    before = files.sha256(conv.xml, conv.bin)
    made = compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="small8", progress=told)
    step = made.record.steps[-1]
    assert types_of(made)["i8"]["share_pct"] == 100
    assert step.details["quantized_activations"] >= 2
    assert step.details["calibration_samples"] == 12
    assert made.record.bin_bytes < conv.record.bin_bytes / 3
    assert closeness(made, conv, pictures) > 0.99
    assert files.sha256(conv.xml, conv.bin) == before
    assert ("calibrating", 12) in told.tasks
    assert told.steps == 12
    assert told.tasks[-1] == ("checking", None)
    assert any("12 samples of listed" in note for note in told.notes)


def test_the_record_says_all_that_was_done(conv, pictures, tmp_path):
    made = compress(conv, "int8", {"preset": "mixed"}, pictures, out=tmp_path / "q", name="small8")
    record, step = made.record, made.record.steps[-1]
    assert Variant.load(tmp_path / "q").record == record
    assert (record.name, record.parent, record.source) == ("small8", conv.id, conv.record.source)
    assert record.inputs == conv.record.inputs  # names, shapes and layouts
    assert record.outputs == conv.record.outputs
    assert record.preprocessing == conv.record.preprocessing
    assert (record.batch, record.batch_note) == ("dynamic", "made open")
    assert step.settings == {
        "ignored_names": [],
        "ignored_types": [],
        "ignored_patterns": [],
        "preset": "mixed",
        "subset_size": 300,
        "model_type": "none",
        "fast_bias_correction": True,
        "target_device": "any",
        "bias_correction": True,
        "smooth_matmul": 0.95,
        "smooth_convolution": -1.0,
        "channel_alignment": False,
        "activations_range": "auto",
        "overflow_fix": "auto",
        "weights_per_channel": True,
        "quantize_outputs": False,
        "max_drop": None,
        "time_limit_s": None,
    }
    assert step.data.startswith("calibration: listed (12 samples, sha256 ")
    assert step.seconds > 0


def test_steps_add_up(conv, pictures, tmp_path):
    half = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    both = compress(half, "int8", {}, pictures, out=tmp_path / "q", name="both")
    assert [step.method for step in both.record.steps] == ["fp16", "int8"]
    assert both.record.parent == half.id
    assert both.record.source == conv.record.source


def test_calibration_takes_its_samples_from_all_over_the_data(conv, tmp_path, told):
    arrays = [np.full((3, 16, 16), index, np.float32) for index in range(12)]
    one_high = Listed(arrays)
    made = compress(
        conv, "int8", {"subset_size": 3}, one_high, out=tmp_path / "q", name="q", progress=told
    )
    # NNCF takes the mean of the samples' maxima: of 0, 4 and 8, not of 0, 1 and 2.
    model = ov.Core().read_model(made.xml)
    ranges = [
        op.input_value(2).get_node().get_vector()[0]
        for op in model.get_ops()
        if op.get_type_name() == "FakeQuantize"
        and op.input_value(0).get_node().get_type_name() == "Parameter"
    ]
    assert ranges == pytest.approx([4], rel=0.02)
    assert ("calibrating", 3) in told.tasks


@pytest.mark.parametrize(
    "settings",
    [
        {"fast_bias_correction": "false"},
        {"model_type": "transformer"},
        {"preset": "mixed", "target_device": "npu"},
    ],
)
def test_int8_settings_reach_nncf(conv, pictures, tmp_path, settings):
    made = compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    stated = ov.Core().read_model(made.xml).get_rt_info(["nncf", "quantization"]).astype(dict)
    written = {key: str(value.value if hasattr(value, "value") else value).lower()
               for key, value in stated.items()}  # fmt: skip
    for key, value in settings.items():
        assert str(value).lower() in written[key]
    assert closeness(made, conv, pictures) > 0.98


def test_a_static_batch_is_calibrated_in_padded_batches(tmp_path, pictures, told):
    parent = save(tmp_path / "four", convolutional(batch=4), batch_note="")
    some = Listed([sample.inputs["x"] for sample in pictures][:6])
    made = compress(parent, "int8", {}, some, out=tmp_path / "q", name="q", progress=told)
    assert types_of(made)["i8"]["share_pct"] == 100
    assert told.steps == 6


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"ignored_names": "classifier"}, 1),
        ({"ignored_types": "MatMul"}, 1),
        ({"ignored_patterns": "conv[01]$"}, 2),
    ],
)
def test_ignored_layers_stay_as_they_are(conv, tmp_path, settings, layers):
    made = compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
    assert types_of(made)["f32"]["layers"] == layers


def test_int8_ignores_layers_too(conv, pictures, tmp_path):
    settings = {"ignored_names": "classifier"}
    made = compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    assert types_of(made)["f32"]["layers"] == 1


def test_fp16_halves_the_weights(conv, tmp_path, pictures):
    made = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    assert made.record.bin_bytes < conv.record.bin_bytes * 0.52
    assert types_of(made)["f16"]["share_pct"] == 100
    assert made.record.steps[-1].data is None
    assert closeness(made, conv, pictures) > 0.9999


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
def test_every_mode_of_weights_runs_and_stores_its_type(dense, tmp_path, settings, stored):
    made = compress(dense, "weights", settings, None, out=tmp_path / "w", name="w")
    row = types_of(made)[stored]
    assert (row["layers"], row["share_pct"]) == (4, 100)
    assert made.record.bin_bytes < dense.record.bin_bytes / 3


def test_ratio_leaves_some_layers_in_8_bits(dense, tmp_path, told):
    settings = {"mode": "int4_sym", "group_size": 32, "ratio": "0.5", "all_layers": True}
    made = compress(dense, "weights", settings, None, out=tmp_path / "w", name="w", progress=told)
    stored = types_of(made)
    assert 0 < stored["i4"]["share_pct"] <= 50
    assert stored["i4"]["layers"] + stored["u8"]["layers"] == 4
    assert f"% i4 ({stored['i4']['layers']} of 4 layers)" in told.notes[-1]


def test_4_bits_reach_only_the_classifier_of_a_convolution_net_and_it_is_said(conv, tmp_path, told):
    settings = {"mode": "int4_sym", "group_size": 32, "all_layers": True}
    made = compress(conv, "weights", settings, None, out=tmp_path / "w", name="w", progress=told)
    assert types_of(made)["i4"]["layers"] == 1
    assert types_of(made)["i4"]["share_pct"] < 5
    assert "i4 (1 of 3 layers)" in told.notes[-1]


@pytest.mark.parametrize("method", ["fp16", "int8", "weights"])
def test_the_same_work_gives_the_same_files(conv, pictures, tmp_path, method):
    a, b = (
        compress(conv, method, {}, pictures, out=tmp_path / name, name=name) for name in ("a", "b")
    )
    assert a.record.sha256 == b.record.sha256 != conv.record.sha256


@pytest.mark.slow
def test_the_same_work_in_other_processes_gives_the_same_files(conv, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from ovtool.compression.method import MethodInputs;"
        "from ovtool.compression.pipeline import apply_method;"
        "from ovtool.datasets.registry import load_samples as load;"
        "from ovtool.core.variant import Variant;"
        "v = Variant.load(sys.argv[1]);"
        "noise = load('noise:8', v.record.inputs, None);"
        "made = apply_method(v, 'int8', {}, MethodInputs(calibration=noise),"
        " out=Path(sys.argv[2]), name='q'); print(made.record.sha256)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code, str(conv.folder), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(hashes) == 1


def test_a_recipe_of_json_types_is_enough(conv, tmp_path):
    settings = json.loads('{"mode": "int8_sym", "ignored_names": ["conv0"]}')
    made = compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
    assert types_of(made)["f32"]["layers"] == 1


def test_ignoring_every_layer_is_an_error(conv, tmp_path):
    settings = {"ignored_patterns": "conv[01]$", "ignored_types": "MatMul"}
    with pytest.raises(InputError, match=r"weights .* conv$"):
        compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")


def test_a_method_that_finds_nothing_to_do_is_an_error(conv, tmp_path):
    half = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    with pytest.raises(InputError, match=r"fp16 .* half$"):
        compress(half, "fp16", {}, None, out=tmp_path / "hh", name="again")
    assert not (tmp_path / "hh").exists()
