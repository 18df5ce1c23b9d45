"""What is missing, empty, truncated or something else: one clear line each, nothing on disk."""

import os

import pytest

from ovtool.core.errors import InputError
from ovtool.models.convert import convert
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
    ("prepare", "value"),
    [
        (nothing, r"m\.onnx"),
        (written("m.onnx", b""), r"m\.onnx"),
        (written("m.onnx", b"this is text, not a model\n" * 9), r"\.onnx.* ONNX"),
        (written("m.xml", b"<html></html>"), r"\.xml"),
        (
            written("m.xml", b"<?xml version='1.0'?><net name='x' version='11'></net>"),
            r"m\.xml",
        ),
        (written("m.tflite", os.urandom(64)), r"m\.tflite"),
        (written("m.tflite", b"\0\0\0\0TFL3" + bytes(64)), r"m\.tflite"),
        (written("m.pb", b"\xff\xfe" * 64), "TensorFlow"),
        (written("m.pdmodel", b"\xff\xfe" * 64), r"m\.pdmodel.* Paddle"),
        (written("m.json", b"{}"), r"m\.json"),
        (ir_without_bin, r"m\.bin"),
        (ir_with_half_a_bin, r"m\.xml"),
        (half_an_ir, r"m\.xml"),
        (half_an_onnx, r"\.onnx.* ONNX"),
        (onnx_called_ir, r"\.xml"),
        (ir_called_onnx, r"\.onnx.* ONNX"),
        (unknown_operation, r"mine\.Foo"),
        (data_outside, "outside the base directory"),
        pytest.param(
            linked_data_outside,
            "outside the base directory",
            marks=pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows"),
        ),
        (data_missing, "data.bin"),
        (empty_folder, "saved"),
        (broken_saved_model, "TensorFlow"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(tmp_path, capfd, prepare, value):
    reference = tmp_path / prepare(tmp_path)
    with pytest.raises(InputError, match=value) as raised:
        convert(reference, out=tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not list(tmp_path.glob("*out*"))
    assert capfd.readouterr() == ("", "")
