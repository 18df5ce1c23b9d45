"""What is missing, empty, truncated or something else: one clear line each, nothing on disk."""

import os

import pytest

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.models.convert import convert
from ovtool.models.options import SourceOptions
from tests.models.source_models import conv_ir, conv_onnx, unknown_onnx


def nothing(_folder):
    return "m.onnx"


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def ir_without_bin(folder):
    conv_ir(folder / "m.xml").with_suffix(".bin").unlink()
    return "m.xml"


def ir_with_half_a_bin(folder):
    half(conv_ir(folder / "m.xml").with_suffix(".bin"))
    return "m.xml"


def half_an_ir(folder):
    half(conv_ir(folder / "m.xml"))
    return "m.xml"


def half_an_onnx(folder):
    half(conv_onnx(folder / "m.onnx"))
    return "m.onnx"


def onnx_called_ir(folder):
    conv_onnx(folder / "m.onnx").rename(folder / "m.xml")
    return "m.xml"


def ir_called_onnx(folder):
    conv_ir(folder / "m.xml").rename(folder / "m.onnx")
    return "m.onnx"


def unknown_operation(folder):
    unknown_onnx(folder / "m.onnx")
    return "m.onnx"


def data_outside(folder):
    (folder / "in").mkdir()
    conv_onnx(folder / "in" / "m.onnx", external="../secret.bin")
    return "in/m.onnx"


def linked_data_outside(folder):
    (folder / "in").mkdir()
    conv_onnx(folder / "in" / "m.onnx", external="data.bin")
    (folder / "in" / "data.bin").rename(folder / "secret.bin")
    (folder / "in" / "data.bin").symlink_to(folder / "secret.bin")
    return "in/m.onnx"


def data_missing(folder):
    conv_onnx(folder / "m.onnx", external="data.bin")
    (folder / "data.bin").unlink()
    return "m.onnx"


def written(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return name

    return write


def empty_folder(folder):
    (folder / "saved").mkdir()
    return "saved"


def broken_saved_model(folder):
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"zzz")
    return "saved"


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (nothing, "not found"),
        (written("m.onnx", b""), "empty"),
        (written("m.onnx", b"this is text, not a model\n" * 9), "cannot read .* as ONNX"),
        (written("m.xml", b"<html></html>"), "not an OpenVINO IR"),
        (
            written("m.xml", b"<?xml version='1.0'?><net name='x' version='11'></net>"),
            "no model in",
        ),
        (written("m.tflite", os.urandom(64)), "not a TensorFlow Lite"),
        (written("m.tflite", b"\0\0\0\0TFL3" + bytes(64)), "cannot read"),
        (written("m.pb", b"\xff\xfe" * 64), "cannot read .* as TensorFlow"),
        (written("m.pdmodel", b"\xff\xfe" * 64), "cannot read .* as Paddle"),
        (written("m.json", b"{}"), "does not read Paddle's .json"),
        (ir_without_bin, "m.bin is missing"),
        (ir_with_half_a_bin, "cannot read .*m.xml"),
        (half_an_ir, "cannot read .*m.xml"),
        (half_an_onnx, "cannot read .* as ONNX"),
        (onnx_called_ir, "not an OpenVINO IR"),
        (ir_called_onnx, "cannot read .* as ONNX"),
        (unknown_operation, "No conversion rule found for operations: mine.Foo"),
        (data_outside, "outside the base directory"),
        pytest.param(
            linked_data_outside,
            "outside the base directory",
            marks=pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows"),
        ),
        (data_missing, "data.bin"),
        (empty_folder, "no model in the folder"),
        (broken_saved_model, "cannot read .* as TensorFlow"),
    ],
)
def test_one_clear_line_and_nothing_on_disk(tmp_path, capfd, prepare, message):
    reference = tmp_path / prepare(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        convert(str(reference), tmp_path / "out", None, SourceOptions(), SILENT, replace=False)
    assert "\n" not in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not list(tmp_path.glob("*out*"))
    assert capfd.readouterr() == ("", "")
