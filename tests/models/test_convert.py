import builtins
import json
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.core.variant import Preprocessing, Variant
from ovtool.models import onnx as onnx_source
from ovtool.models.convert import convert, default_name
from ovtool.models.options import SourceOptions
from ovtool.models.output_check import output_difference
from tests.models.source_models import across_onnx, conv_ir, conv_onnx, open_onnx, reshape_onnx


def make(reference, out, notes=SILENT, replace=False, **options):
    reference = str(reference)
    return convert(
        reference,
        out=out,
        name=default_name(reference),
        options=SourceOptions(**options),
        progress=notes,
        replace=replace,
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
    assert record.check.inputs == "random, seed 0: x 1x3x8x8; x 2x3x8x8"
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


def test_static_batch_becomes_dynamic_and_the_check_records_its_inputs(tmp_path):
    record = make(conv_onnx(tmp_path / "net.onnx", batch=4), tmp_path / "out").record
    assert record.batch == "dynamic"
    assert record.check.inputs.startswith("random, seed 0: x 4x3x8x8; ")


def test_ir_is_converted(tmp_path):
    source = conv_ir(tmp_path / "net.xml")
    record = make(source, tmp_path / "out").record
    assert record.check.against == "the source IR in OpenVINO"
    assert record.check.max_abs_difference < 1e-4
    assert record.batch == "dynamic"


def test_hard_coded_batch_stays_static_with_a_note(tmp_path, notes):
    record = make(reshape_onnx(tmp_path / "net.onnx"), tmp_path / "out", notes).record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 3, 4)
    assert "'y'" in record.batch_note or "reshape" in record.batch_note.lower()
    assert any(record.batch_note in text for text in notes.texts)


def test_model_that_mixes_samples_stays_static(tmp_path):
    record = make(across_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.batch == "static"
    assert "'y'" in record.batch_note


def test_dynamic_dimensions_are_filled_or_requested(tmp_path):
    source = open_onnx(tmp_path / "net.onnx")
    assert "x 1x8x5; x 2x8x5" in make(source, tmp_path / "a").record.check.inputs
    given = make(source, tmp_path / "b", input_shapes={"x": (1, 7, 5)}).record
    assert given.inputs[0].shape == (-1, 7, 5)
    assert "x 1x7x5" in given.check.inputs


def test_layout_and_preprocessing_are_recorded(tmp_path):
    wanted = Preprocessing(size=(8, 8), mean=(1, 2, 3), scale=(4,))
    source = open_onnx(tmp_path / "net.onnx")
    record = make(source, tmp_path / "a", layouts={"x": "CNW"}, preprocessing=wanted).record
    assert record.preprocessing == wanted
    assert record.inputs[0].layout == "CNW"
    assert record.inputs[0].batch_axis == 1
    assert make(source, tmp_path / "b").record.inputs[0].layout == "N..."


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"weights": "w.pt"}, "--weights"),
        ({"input_dtypes": {"x": "f32"}}, "input types"),
        ({"layouts": {"y": "NCHW"}}, "'y'"),
        ({"layouts": {"x": "NC"}}, "x=NC.* 4 "),
        ({"layouts": {"x": "N!HW"}}, "--layout"),
        ({"input_shapes": {"x": (1, 5, 8, 8)}}, "--shape"),
        ({"input_shapes": {"data": (1, 5, 8, 8)}}, "'data'"),
    ],
)
def test_invalid_options_raise(tmp_path, options, value):
    with pytest.raises(InputError, match=value):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [lambda y: y + 0.5, lambda y: y * np.nan, lambda y: y[:, :2]])
def test_different_outputs_leave_nothing_behind(tmp_path, monkeypatch, wrong):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [wrong(y) for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    with pytest.raises(InputError, match="output 'y'"):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_tolerance_option_applies(tmp_path, monkeypatch):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [y * 1.01 for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    source = conv_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="'y'"):
        make(source, tmp_path / "out")
    assert make(source, tmp_path / "out", tolerance=0.02).record.check.tolerance == 0.02


def test_non_finite_values_count_as_different():
    x = np.array([1.0, np.nan, np.inf])
    assert output_difference("y", x, x).max_abs_difference == 0
    assert output_difference("y", x, np.array([1.0, 2.0, np.inf])).max_abs_difference == np.inf
    assert output_difference("y", x, np.array([1.0, np.nan, -np.inf])).max_abs_difference == np.inf


def test_missing_onnxruntime_is_recorded(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def imports(name, *rest):
        if name.startswith("onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", imports)
    record = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert "pip install 'ovtool[onnx]'" in record.check.against


def test_only_variants_are_replaced_and_never_the_source(tmp_path):
    source = conv_onnx(tmp_path / "net.onnx")
    out = tmp_path / "out"
    first = make(source, out)
    with pytest.raises(InputError, match=r"out"):
        make(source, out)
    assert make(source, out, replace=True).id == first.id
    inside = conv_onnx(out / "inside.onnx")
    with pytest.raises(InputError, match=r"out"):
        make(inside, out, replace=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("x")
    with pytest.raises(InputError, match="mine"):
        make(source, tmp_path / "mine", replace=True)
    assert (tmp_path / "mine" / "work.txt").exists()


def test_record_is_plain_json(tmp_path):
    make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "variant.json").read_text())
    assert record["source"]["reference"].endswith("net.onnx")
    assert default_name("net.onnx") == record["name"]
