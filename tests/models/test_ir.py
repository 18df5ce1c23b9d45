"""OpenVINO IR as a source."""

import pytest

from tests.models.source_models import (
    conv_ir,
    conv_onnx,
    half,
    make,
    written,
)


def test_ir_is_converted(tmp_path):
    source = conv_ir(tmp_path / "net.xml")
    record = make(source, tmp_path / "out").record
    assert record.check.against == "the source IR in OpenVINO"
    assert record.check.max_abs_difference < 1e-4
    assert record.batch == "dynamic"


def ir_without_bin(folder):
    conv_ir(folder / "m.xml").with_suffix(".bin").unlink()
    return "m.xml"


def ir_with_half_a_bin(folder):
    half(conv_ir(folder / "m.xml").with_suffix(".bin"))
    return "m.xml"


def half_an_ir(folder):
    half(conv_ir(folder / "m.xml"))
    return "m.xml"


def onnx_called_ir(folder):
    conv_onnx(folder / "m.onnx").rename(folder / "m.xml")
    return "m.xml"


def ir_with_a_linked_bin(folder):
    weights = conv_ir(folder / "m.xml").with_suffix(".bin")
    (folder / "elsewhere").mkdir()
    weights.rename(folder / "elsewhere" / "m.bin")
    weights.symlink_to(folder / "elsewhere" / "m.bin")
    return "m.xml"


@pytest.mark.parametrize(
    ("prepare", "value"),
    [
        (written("m.xml", b"<html></html>"), r"\.xml"),
        (
            written("m.xml", b"<?xml version='1.0'?><net name='x' version='11'></net>"),
            r"m\.xml",
        ),
        (ir_without_bin, r"m\.bin"),
        (ir_with_half_a_bin, r"m\.xml"),
        (ir_with_a_linked_bin, r"m\.bin"),
        (half_an_ir, r"m\.xml"),
        (onnx_called_ir, r"\.xml"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(invalid_file, prepare, value):
    invalid_file(prepare, value)
