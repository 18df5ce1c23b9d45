"""One method applied to one variant: records, reuse, and existing folders."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from ovtool.compression.method import MissingInputError
from ovtool.core.errors import InputError
from ovtool.core.variant import Variant
from tests.compression.samples import Listed, compress, types_of


@pytest.mark.slow
def test_record_has_the_step_and_the_ports(conv, pictures, tmp_path):
    compressed = compress(
        conv, "int8", {"preset": "mixed"}, pictures, out=tmp_path / "q", name="small8"
    )
    record, step = compressed.record, compressed.record.steps[-1]
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
        "model_type": "auto",
        "effort": "low",
        "activation_scales": "auto",
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


@pytest.mark.slow
def test_steps_accumulate(conv, pictures, tmp_path):
    half = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    both = compress(half, "int8", {}, pictures, out=tmp_path / "q", name="both")
    assert [step.method for step in both.record.steps] == ["fp16", "int8"]
    assert both.record.parent == half.id
    assert both.record.source == conv.record.source


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fp16", "int8", "weights"])
def test_same_step_writes_the_same_files(conv, pictures, tmp_path, method):
    a, b = (
        compress(conv, method, {}, pictures, out=tmp_path / name, name=name) for name in ("a", "b")
    )
    assert a.record.sha256 == b.record.sha256 != conv.record.sha256


@pytest.mark.slow
def test_same_step_in_other_processes_writes_the_same_files(conv, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from ovtool.compression.method import MethodInputs;"
        "from ovtool.compression.pipeline import apply_method;"
        "from ovtool.datasets.registry import load_samples as load;"
        "from ovtool.core.variant import Variant;"
        "v = Variant.load(sys.argv[1]);"
        "noise = load('noise:8', v.record.inputs, None);"
        "compressed = apply_method(v, 'int8', {}, MethodInputs(calibration=noise),"
        " out=Path(sys.argv[2]), name='q'); print(compressed.record.sha256)"
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


def test_settings_of_json_types_are_accepted(conv, tmp_path):
    settings = json.loads('{"mode": "int8_sym", "ignored_names": ["conv0"]}')
    compressed = compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
    assert types_of(compressed)["f32"]["layers"] == 1


def test_method_without_effect_raises(conv, tmp_path):
    half = compress(conv, "fp16", {}, None, out=tmp_path / "h", name="half")
    with pytest.raises(InputError, match=r"fp16 .* half$"):
        compress(half, "fp16", {}, None, out=tmp_path / "hh", name="again")
    assert not (tmp_path / "hh").exists()


def test_int8_without_data_raises(conv, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "int8", {}, None, out=tmp_path / "q", name="q")
    assert caught.value.need == "calibration"


@pytest.mark.slow
def test_same_step_is_reused_with_a_note(conv, pictures, tmp_path, progress):
    first = compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q")
    again = compress(conv, "int8", {"preset": "auto"}, pictures, out=tmp_path / "q", name="q",
                     progress=progress)  # fmt: skip
    assert again.record == first.record
    assert len(progress.notes) == 1
    assert str(tmp_path / "q") in progress.notes[0]


@pytest.mark.slow
def test_different_step_does_not_overwrite(conv, pictures, tmp_path):
    out = tmp_path / "q"
    first = compress(conv, "weights", {}, None, out=out, name="q")
    for method, settings, name in (
        ("weights", {"mode": "int8_sym"}, "q"),
        ("fp16", {}, "q"),
        ("weights", {}, "other"),
    ):
        with pytest.raises(InputError, match=re.escape(str(tmp_path))):
            compress(conv, method, settings, None, out=out, name=name)
    compressed = compress(conv, "fp16", {}, None, out=out, name="q", replace=True)
    assert compressed.record.sha256 != first.record.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


@pytest.mark.slow
def test_different_data_is_a_different_step(conv, pictures, tmp_path):
    compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q")
    other = Listed([sample.inputs["x"] + 1 for sample in pictures])
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "int8", {}, other, out=tmp_path / "q", name="q")


def test_damaged_result_is_not_reused(conv, tmp_path):
    compressed = compress(conv, "weights", {}, None, out=tmp_path / "q", name="q")
    content = bytearray(compressed.bin.read_bytes())
    content[0] ^= 255
    compressed.bin.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "weights", {}, None, out=tmp_path / "q", name="q")


def test_user_folder_is_not_changed(conv, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "fp16", {}, None, out=tmp_path / "mine", name="q")


def test_variant_is_not_replaced_by_its_compression(conv):
    with pytest.raises(InputError, match=re.escape(str(conv.folder))):
        compress(conv, "fp16", {}, None, out=conv.folder, name="q", replace=True)


def test_changed_parent_raises(conv, tmp_path):
    from ovtool.core.variant import Variant

    copy = Variant.load(shutil.copytree(conv.folder, tmp_path / "copy"))
    content = bytearray(copy.bin.read_bytes())
    content[0] ^= 255
    copy.bin.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(copy.folder))):
        compress(copy, "fp16", {}, None, out=tmp_path / "q", name="q")
