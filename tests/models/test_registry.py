import contextlib
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.models.bundled.models import SAMPLES
from ovtool.models.convert import default_name
from ovtool.models.registry import EXPORTS, SOURCES, SUFFIXES, kind_of, names_model


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("x.xml", "ir"),
        (r"C:\models\x.XML", "ir"),
        ("dir.with.dots/x.onnx", "onnx"),
        ("saved_model.pb", "tensorflow"),
        ("x.tflite", "tflite"),
        ("x.pdmodel", "paddle"),
        ("x.json", "paddle"),
        ("x.pt2", "torch-export"),
        ("x.pth", "torch-file"),
        ("x.safetensors", "torch-file"),
        ("nets:make", "torch"),
        ("my.package.nets:make_small", "torch"),
        ("sample:efficientnet-lite0", "sample"),
    ],
)
def test_reference_selects_its_kind(reference, kind):
    assert kind_of(reference) == kind


def test_folder_is_a_saved_model_unless_it_is_a_variant(tmp_path):
    assert kind_of(str(tmp_path)) == "tensorflow"
    (tmp_path / "variant.json").write_text("{}")
    with pytest.raises(InputError, match=tmp_path.name):
        kind_of(str(tmp_path))


def test_missing_and_unsupported_files_raise(tmp_path):
    with pytest.raises(InputError, match="C:make"):
        kind_of("C:make")
    other = tmp_path / "model.docx"
    other.write_text("x")
    with pytest.raises(InputError, match=r"model\.docx"):
        kind_of(str(other))


@pytest.mark.parametrize("suffix", EXPORTS)
def test_a_format_that_needs_an_export_has_a_hint(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_text("x")
    with pytest.raises(InputError, match=path.name) as caught:
        kind_of(str(path))
    assert caught.value.hint
    assert "supported" not in caught.value.hint
    assert "{0}" not in caught.value.hint


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("x.onnx", True), ("x.H5", True), ("nets:make", True), ("sample:a", True), ("x.json", False),
     ("x.yaml", False), ("recipe", False)],
)  # fmt: skip
def test_a_model_is_recognized_by_its_name(reference, expected):
    assert names_model(reference) == expected


@given(st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_any_text_is_a_kind_or_raises(text):
    with contextlib.suppress(InputError):
        assert kind_of(text) in SOURCES


def test_every_registry_row_is_importable():
    assert set(SUFFIXES.values()) < set(SOURCES)
    for table in (SOURCES, SAMPLES):
        for name in table:
            module, _, function = table.entry(name).target.partition(":")
            assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("models/résnet 18.onnx", "r-snet-18"),
        ("net.v2.xml", "net.v2"),
        ("pkg.nets:make_net", "make_net"),
        ("sample:efficientnet-lite0", "efficientnet-lite0"),
        ("here/saved_model.pb", "here"),
        ("日本.onnx", "model"),
    ],
)
def test_default_names_are_valid_folder_names(reference, name):
    assert default_name(reference) == name
