import json
import re

import pytest

from ovtool.core.errors import InputError
from ovtool.core.ports import Preprocessing
from ovtool.models.convert import default_name, load_variant
from tests.helpers.graphs import convolutional, save
from tests.models.source_models import (
    conv_onnx,
    make,
    open_onnx,
)


@pytest.mark.slow
def test_dynamic_dimensions_are_filled_or_requested(tmp_path):
    source = open_onnx(tmp_path / "net.onnx")
    assert "x 1x8x5; x 2x8x5" in make(source, tmp_path / "a").record.check.inputs
    given = make(source, tmp_path / "b", input_shapes={"x": (1, 7, 5)}).record
    assert given.inputs[0].shape == (-1, 7, 5)
    assert "x 1x7x5" in given.check.inputs


@pytest.mark.slow
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
        ({"input_dtypes": {"x": "f32"}}, "--dtype"),
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


@pytest.mark.slow
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


def test_a_variant_that_changes_after_it_was_loaded_is_refused(tmp_path):
    loaded = save(tmp_path / "v", convolutional())
    assert load_variant(loaded) is loaded
    content = bytearray(loaded.bin.read_bytes())
    content[8] ^= 1
    loaded.bin.write_bytes(content)
    for reference in (loaded, loaded.folder):
        with pytest.raises(InputError, match=re.escape(str(loaded.folder))):
            load_variant(reference)
