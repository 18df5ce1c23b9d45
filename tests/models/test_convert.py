import builtins
import json
import re
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.core.variant import Preprocessing, Variant
from ovtool.models import convert as converting
from ovtool.models import onnx as onnx_source
from ovtool.models.convert import convert
from ovtool.models.options import SourceOptions
from tests.models.source_models import across_onnx, conv_ir, conv_onnx, open_onnx, reshape_onnx


def make(reference, out, notes=SILENT, replace=False, **options):
    return convert(str(reference), out, None, SourceOptions(**options), notes, replace=replace)


def test_onnx_becomes_a_variant_with_an_open_batch(tmp_path, notes):
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
    assert any("y differs by at most" in text for text in notes.texts)


def test_the_saved_ir_calculates_what_the_source_does(tmp_path):
    made = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    image = np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32)
    run = [
        ov.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for path in (made.xml, tmp_path / "net.onnx")
    ]
    ones = np.concatenate([run[1](image[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(run[0](image)[0], ones, atol=1e-4)


def test_a_source_of_fixed_batch_is_opened_and_the_check_says_what_it_compared(tmp_path):
    record = make(conv_onnx(tmp_path / "net.onnx", batch=4), tmp_path / "out").record
    assert record.batch == "dynamic"
    assert "x 4x3x8x8; not in x 2x3x8x8" in record.check.inputs


def test_ir_is_saved_again(tmp_path):
    source = conv_ir(tmp_path / "net.xml")
    record = make(source, tmp_path / "out").record
    assert record.check.against == "the source IR in OpenVINO"
    assert record.check.max_abs_difference < 1e-4
    assert record.batch == "dynamic"


def test_a_baked_in_batch_stays_static_and_says_why(tmp_path, notes):
    record = make(reshape_onnx(tmp_path / "net.onnx"), tmp_path / "out", notes).record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 3, 4)
    assert "batch of two" in record.batch_note
    assert any("batch stays" in text for text in notes.texts)


def test_a_model_that_mixes_its_batch_stays_static(tmp_path):
    record = make(across_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.batch == "static"
    assert "samples alone" in record.batch_note


def test_open_dimensions_are_filled_for_the_check_or_taken_from_the_user(tmp_path):
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
    ("options", "message"),
    [
        ({"weights": "w.pt"}, "weights are for module:function"),
        ({"input_dtypes": {"x": "f32"}}, "input types are for module:function"),
        ({"layouts": {"y": "NCHW"}}, "no input 'y'"),
        ({"layouts": {"x": "NC"}}, "has 4 dimensions"),
        ({"layouts": {"x": "N!HW"}}, "--layout"),
        ({"input_shapes": {"x": (1, 5, 8, 8)}}, "--shape does not fit"),
        ({"input_shapes": {"data": (1, 5, 8, 8)}}, "no input 'data'"),
    ],
)
def test_wrong_options_are_one_clear_error(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [lambda y: y + 0.5, lambda y: y * np.nan, lambda y: y[:, :2]])
def test_other_outputs_than_the_sources_leave_nothing_behind(tmp_path, monkeypatch, wrong):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [wrong(y) for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    with pytest.raises(InputError, match="output 'y'"):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_the_tolerance_is_the_users(tmp_path, monkeypatch):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [y * 1.01 for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    source = conv_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="differs by"):
        make(source, tmp_path / "out")
    assert make(source, tmp_path / "out", tolerance=0.02).record.check.tolerance == 0.02


def test_what_is_not_finite_where_the_source_is_counts_as_different():

    x = np.array([1.0, np.nan, np.inf])
    assert _difference("y", x, x).max_abs_difference == 0
    assert _difference("y", x, np.array([1.0, 2.0, np.inf])).max_abs_difference == np.inf
    assert _difference("y", x, np.array([1.0, np.nan, -np.inf])).max_abs_difference == np.inf


def test_without_onnxruntime_it_says_what_it_compared_with(tmp_path, monkeypatch):
    genuine = builtins.__import__

    def imports(name, *rest):
        if name.startswith("onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", imports)
    record = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.check.against == (
        "OpenVINO's own reading (onnxruntime is not installed: pip install 'ovtool[onnx]')"
    )


def test_only_a_variant_is_replaced_and_never_the_source(tmp_path):
    source = conv_onnx(tmp_path / "net.onnx")
    out = tmp_path / "out"
    first = make(source, out)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        make(source, out)
    assert make(source, out, replace=True).id == first.id
    inside = conv_onnx(out / "inside.onnx")
    with pytest.raises(InputError, match="source lies in"):
        make(inside, out, replace=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("x")
    with pytest.raises(InputError, match="not a variant"):
        make(source, tmp_path / "mine", replace=True)
    assert (tmp_path / "mine" / "work.txt").exists()


def test_the_record_is_plain_json(tmp_path):
    make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "variant.json").read_text())
    assert record["source"]["reference"].endswith("net.onnx")
    assert converting.default_name("net.onnx") == record["name"]
