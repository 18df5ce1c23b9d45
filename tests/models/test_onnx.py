"""ONNX files as a source."""

import builtins
import os

import numpy as np
import openvino as ov
import pytest

from ovtool.core.variant import Variant
from tests.models.source_models import (
    conv_ir,
    conv_onnx,
    half,
    make,
    unknown_onnx,
    written,
)


def test_onnx_is_converted_with_a_dynamic_batch(tmp_path, notes):
    source = conv_onnx(tmp_path / "net.onnx", batch="n")
    before = source.read_bytes()
    made = make(source, tmp_path / "out", notes)
    record = Variant.load(tmp_path / "out").record
    assert record == made.record
    assert (record.name, record.batch, record.batch_note) == ("net", "dynamic", "")
    assert record.source.kind == "onnx"
    assert record.source.sha256
    [port] = record.inputs
    assert (port.name, port.shape, port.dtype, port.layout) == ("x", (-1, 3, 8, 8), "f32", "NCHW")
    assert record.check.against.startswith("onnxruntime 1.")
    assert record.check.inputs == "random, seed 0: x 1x3x8x8; x 2x3x8x8; x 5x3x8x8"
    [difference] = record.check.differences
    assert difference.output == "y"
    assert difference.largest_value > 1
    assert difference.max_abs_difference < 1e-5 * difference.largest_value
    assert source.read_bytes() == before
    assert any(" y " in text and "onnxruntime" in text for text in notes.texts)


def test_saved_ir_matches_the_source(tmp_path):
    made = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    image = np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32)
    run = [
        ov.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for path in (made.xml, tmp_path / "net.onnx")
    ]
    ones = np.concatenate([run[1](image[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(run[0](image)[0], ones, atol=1e-4)


def test_missing_onnxruntime_is_recorded(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def imports(name, *rest):
        if name.startswith("onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", imports)
    record = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.check.against is None
    assert "pip install 'ovtool[onnx]'" in record.check.why_unchecked
    assert [d.status for d in record.check.differences] == ["no-reference"]
    assert record.check.max_abs_difference is None
    assert [note.id for note in record.notes] == ["conversion-not-checked"]


def nothing(_folder):
    return "m.onnx"


def half_an_onnx(folder):
    half(conv_onnx(folder / "m.onnx"))
    return "m.onnx"


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


@pytest.mark.parametrize(
    ("prepare", "value"),
    [
        (nothing, r"m\.onnx"),
        (written("m.onnx", b""), r"m\.onnx"),
        (written("m.onnx", b"this is text, not a model\n" * 9), r"\.onnx.* ONNX"),
        (half_an_onnx, r"\.onnx.* ONNX"),
        (ir_called_onnx, r"\.onnx.* ONNX"),
        (unknown_operation, r"mine\.Foo"),
        (data_outside, "outside the base directory"),
        pytest.param(
            linked_data_outside,
            "outside the base directory",
            marks=pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows"),
        ),
        (data_missing, "data.bin"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(invalid_file, prepare, value):
    invalid_file(prepare, value)
