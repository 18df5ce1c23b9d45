import json
import logging
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.method import Method, MethodResult, MissingInputError
from ovtool.compression.nncf_adapter import quiet_nncf
from ovtool.compression.registry import list_methods, load_method, parse_settings
from ovtool.core.errors import InputError
from tests.compression.samples import Listed, Notes, compress
from tests.helpers.graphs import constant, save


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(InputError) as caught:
        parse_settings("int8", {"preset": "fast", "subsetsize": 3, "fast_bias_correction": "so"})
    message = str(caught.value)
    for part in (
        "preset",
        "'mixed'",
        "'fast'",
        "'subsetsize'",
        "subset_size",
        "fast_bias_correction",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("int8", {"subset_size": 0}, "subset_size"),
        ("int8", {"ignored_patterns": "conv("}, r"ignored_patterns: .*'conv\("),
        ("fp16", {"mode": "x"}, "'mode'"),
        ("weights", {"mode": "int5"}, "mode: "),
        ("weights", {"ratio": 0}, "ratio"),
        ("weights", {"ratio": 1.5}, "ratio"),
        ("weights", {"mode": "int8_sym", "ratio": 0.5}, "mode int8_sym .* ratio"),
        ("weights", {"group_size": 64, "ratio": 1}, "group_size, ratio"),
        ("weights", {"mode": "int4_sym", "group_size": 0}, r"group_size .* \(not 0\)"),
        ("weights", {"mode": "nvfp4", "group_size": 32}, "mode nvfp4 .* 16"),
    ],
)
def test_wrong_settings_are_refused_before_nncf_runs(method, settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings(method, settings)


def test_text_of_a_command_line_becomes_values():
    parsed = parse_settings(
        "int8",
        {"subset_size": "16", "fast_bias_correction": "false", "ignored_names": "a, b"},
    )
    assert parsed.subset_size == 16
    assert parsed.fast_bias_correction is False
    assert parsed.ignored_names == ("a", "b")
    assert parse_settings("int8", {"ignored_patterns": "a{1,2}"}).ignored_patterns == ("a{1,2}",)


def test_an_unknown_method_is_suggested(conv, tmp_path):
    with pytest.raises(InputError, match="'int9'") as caught:
        compress(conv, "int9", {}, None, out=tmp_path / "q", name="q")
    assert "int8" in caught.value.hint


def test_every_setting_is_described_and_has_a_default():
    table = {info.name: info for info in list_methods()}
    assert {"fp16", "fp8", "int8", "train", "weights"} <= set(table)
    assert table["int8"].needs == {"calibration"}
    settings = {setting.name: setting for info in list_methods() for setting in info.settings}
    assert all(setting.description and setting.kind for setting in settings.values())
    assert settings["preset"].kind == "auto | performance | mixed"
    of_weights = {setting.name: setting for setting in table["weights"].settings}
    assert of_weights["ratio"].kind == "number or none"
    assert of_weights["subset_size"].default == 128


def test_listing_the_methods_imports_nothing_heavy():
    code = (
        "import sys; from ovtool.compression.registry import list_methods, parse_settings;"
        "list_methods();"
        "parse_settings('weights', {'mode': 'nf4'});"
        "print({'openvino', 'nncf', 'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_int8_without_data_is_refused(conv, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "int8", {}, None, out=tmp_path / "q", name="q")
    assert caught.value.need == "calibration"


def test_what_cannot_be_ignored_is_listed_with_the_nearest_names(conv, tmp_path, pictures):
    settings = {"ignored_names": "conv", "ignored_types": "Matmul", "ignored_patterns": "zz"}
    with pytest.raises(InputError) as caught:
        compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    message = str(caught.value)
    for name in ("'conv'", "'conv1'", "'Matmul'", "'MatMul'", "'zz'"):
        assert name in message


def test_what_nncf_refuses_is_one_line_with_its_cause(conv, tmp_path):
    with pytest.raises(InputError, match="mxfp4 failed: Group-wise") as caught:
        compress(conv, "weights", {"mode": "mxfp4", "all_layers": True}, None,
                 out=tmp_path / "w", name="w")  # fmt: skip
    assert type(caught.value.__cause__).__module__ == "nncf.errors"
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_data_of_a_wrong_shape_is_one_line(conv, tmp_path):
    wrong = Listed([np.zeros((3, 9, 9), np.float32)])
    with pytest.raises(InputError, match="int8") as caught:
        compress(conv, "int8", {}, wrong, out=tmp_path / "q", name="q")
    assert "\n" not in str(caught.value)
    assert "Exception from" not in str(caught.value)


def test_an_error_of_the_data_is_passed_on_as_it_is(conv, tmp_path):
    class Damaged(Listed):
        def __iter__(self):
            yield from super().__iter__()
            raise InputError("image is damaged: b.png")

    damaged = Damaged([np.zeros((3, 16, 16), np.float32)])
    with pytest.raises(InputError, match=r"^image is damaged: b\.png$"):
        compress(conv, "int8", {}, damaged, out=tmp_path / "q", name="q")


def overflowing():
    """A network whose weights leave the range of 16-bit floats."""
    x = op.parameter([-1, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    h = op.sqrt(op.matmul(x, constant(np.random.default_rng(0), 8, 8), False, True))
    return ov.Model([op.result(h)], [x], "roots")


def test_a_result_that_is_not_finite_is_not_saved(tmp_path, monkeypatch, dense):
    def spoil(context):
        for node in context.model.get_ops():
            if node.get_type_name() == "Relu":
                last = node
        nan = op.multiply(last, op.constant(np.float32(np.nan)))
        return MethodResult(ov.Model([op.result(nan)], context.model.get_parameters()))

    broken = Method(load_method("fp16").settings, frozenset(), spoil, "")
    monkeypatch.setattr("ovtool.compression.pipeline.load_method", lambda _: broken)
    monkeypatch.setattr("ovtool.compression.pipeline.count_weight_types", iter_counts())
    with pytest.raises(InputError, match="NaN"):
        compress(dense, "fp16", {}, None, out=tmp_path / "q", name="q")
    assert list(tmp_path.iterdir()) == []


def iter_counts():
    from ovtool.graph.weights import WeightTypes

    counts = iter([WeightTypes((), 0), WeightTypes((), 1), WeightTypes((), 1)])
    return lambda _: next(counts)


def test_a_parent_that_is_not_finite_on_random_values_is_said(tmp_path, told):
    parent = save(tmp_path / "roots", overflowing())
    made = compress(parent, "weights", {}, None, out=tmp_path / "w", name="w", progress=told)
    assert made.compressed
    assert any("roots" in note and "NaN" in note for note in told.notes)


def test_a_parent_that_is_not_finite_on_the_data_is_refused(tmp_path):
    parent = save(tmp_path / "roots", overflowing())
    data = Listed([np.full(8, -1, np.float32), np.ones(8, np.float32)])
    with pytest.raises(InputError, match=r"variant roots .* NaN"):
        compress(parent, "weights", {}, data, out=tmp_path / "w", name="w")


def test_the_same_work_is_reused_and_said(conv, pictures, tmp_path, told):
    first = compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q")
    again = compress(conv, "int8", {"preset": "auto"}, pictures, out=tmp_path / "q", name="q",
                     progress=told)  # fmt: skip
    assert again.record == first.record
    assert len(told.notes) == 1
    assert str(tmp_path / "q") in told.notes[0]


def test_other_work_does_not_overwrite(conv, pictures, tmp_path):
    out = tmp_path / "q"
    first = compress(conv, "weights", {}, None, out=out, name="q")
    for method, settings, name in (
        ("weights", {"mode": "int8_sym"}, "q"),
        ("fp16", {}, "q"),
        ("weights", {}, "other"),
    ):
        with pytest.raises(InputError, match=re.escape(str(tmp_path))):
            compress(conv, method, settings, None, out=out, name=name)
    made = compress(conv, "fp16", {}, None, out=out, name="q", replace=True)
    assert made.record.sha256 != first.record.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


def test_other_data_is_other_work(conv, pictures, tmp_path):
    compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q")
    other = Listed([sample.inputs["x"] + 1 for sample in pictures])
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "int8", {}, other, out=tmp_path / "q", name="q")


def test_a_damaged_result_is_not_reused(conv, tmp_path):
    made = compress(conv, "weights", {}, None, out=tmp_path / "q", name="q")
    content = bytearray(made.bin.read_bytes())
    content[0] ^= 255
    made.bin.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "weights", {}, None, out=tmp_path / "q", name="q")


def test_a_folder_of_the_users_is_not_touched(conv, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        compress(conv, "fp16", {}, None, out=tmp_path / "mine", name="q")


def test_a_variant_is_not_replaced_by_its_own_compression(conv):
    with pytest.raises(InputError, match=re.escape(str(conv.folder))):
        compress(conv, "fp16", {}, None, out=conv.folder, name="q", replace=True)


def test_a_changed_parent_is_refused(conv, tmp_path):
    from ovtool.core.variant import Variant

    copy = Variant.load(shutil.copytree(conv.folder, tmp_path / "copy"))
    content = bytearray(copy.bin.read_bytes())
    content[0] ^= 255
    copy.bin.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(copy.folder))):
        compress(copy, "fp16", {}, None, out=tmp_path / "q", name="q")


@pytest.mark.slow
def test_nothing_of_nncf_reaches_the_terminal_and_all_the_log(conv, pictures, tmp_path):
    code = (
        "import sys, logging; from pathlib import Path;"
        "from ovtool.compression.method import MethodInputs;"
        "from ovtool.compression.pipeline import apply_method;"
        "from ovtool.datasets.registry import load_samples as load;"
        "from ovtool.core.variant import Variant;"
        "v = Variant.load(sys.argv[1]); noise = load('noise:4', v.record.inputs, None);"
        "out = Path(sys.argv[2]);"
        "apply_method(v, 'int8', {}, MethodInputs(calibration=noise), out=out / 'q', name='q');"
        "apply_method(v, 'weights', {}, MethodInputs(), out=out / 'w', name='w');"
        "print('end', end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(conv.folder), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("end", "")


def test_who_follows_the_progress_may_print(conv, pictures, tmp_path, capsys):
    class Printing(Notes):
        def start(self, task, total=None):
            super().start(task, total)
            print(task)

    compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q", progress=Printing())
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["reading the graph", "calibrating", "quantizing and correcting", "checking"]


def test_the_log_gets_what_nncf_says(conv, tmp_path, caplog, capfd):
    import nncf

    before = list(nncf.nncf_logger.handlers)
    with caplog.at_level(logging.DEBUG, "ovtool"):
        compress(conv, "weights", {}, None, out=tmp_path / "w", name="w")
    assert any("bitwidth distribution" in record.message for record in caplog.records)
    assert {record.name for record in caplog.records} == {"ovtool.nncf"}
    assert capfd.readouterr() == ("", "")
    assert nncf.nncf_logger.handlers == before


def test_warnings_go_to_the_log_too(caplog):
    import warnings

    with quiet_nncf("trying"):
        warnings.warn("beware", FutureWarning, stacklevel=1)
    assert "beware" in caplog.messages


def test_loggers_made_after_nncf_are_ordinary_ones():
    with quiet_nncf("trying"):
        pass
    assert type(logging.getLogger("made after nncf")) is logging.Logger


@pytest.mark.slow
def test_telemetry_is_off_and_nothing_is_written_home(tmp_path):
    code = (
        "import ovtool, openvino, nncf, json;"
        "from openvino.tools.ovc import telemetry as a; from nncf.telemetry import telemetry as b;"
        "print(json.dumps([type(a).__module__, type(b).__name__]))"
    )
    env = {**os.environ, "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    env = {key: value for key, value in env.items() if key not in ("CI", "TF_BUILD", "NNCF_CI")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert json.loads(done.stdout) == ["openvino.tools.ovc.telemetry_stub", "MagicMock"]
    assert list(tmp_path.iterdir()) == []
