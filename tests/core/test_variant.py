import json
import re

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op
from pydantic import ValidationError

from ovtool.core import variant
from ovtool.core.errors import InputError
from ovtool.core.ports import Port, Preprocessing
from ovtool.core.variant import RECORD, Step, Variant
from tests.helpers.graphs import convolutional, fully_connected, save

MODEL, WEIGHTS = "model.xml", "model.bin"

STEPS = (Step(method="int8", settings={"preset": "mixed"}, data="d (3)", seconds=1.5),)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    steps = Preprocessing(size=(16, 16), mean=(1.0, 2.0, 3.0), scale=(4.0,))
    folder = tmp_path_factory.mktemp("variant") / "conv"
    return save(folder, convolutional(), preprocessing=steps, steps=STEPS)


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of the variant, for damage."""
    for name in (MODEL, WEIGHTS, RECORD):
        (tmp_path / name).write_bytes((saved.folder / name).read_bytes())
    return tmp_path


def test_a_saved_variant_is_loaded(saved):
    read = Variant.load(str(saved.folder))
    assert read.record == saved.record
    assert read.id == saved.record.sha256[:12]
    assert read.name == "conv"
    assert read.compressed
    size = sum((saved.folder / name).stat().st_size for name in (MODEL, WEIGHTS))
    assert read.model_mib == size / 2**20
    assert read.record.inputs == (
        Port(name="x", shape=(-1, 3, 16, 16), dtype="f32", layout="NCHW"),
    )
    assert read.record.outputs == (Port(name="scores", shape=(-1, 10), dtype="f32"),)
    assert read.record.versions["openvino"]
    assert read.record.preprocessing.mean == (1.0, 2.0, 3.0)


def test_a_saved_model_computes_the_same_outputs(saved):
    rows = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    read, original = (
        ov.compile_model(model, "CPU", exact)(rows)[0]
        for model in (ov.Core().read_model(saved.xml), convolutional())
    )
    np.testing.assert_array_equal(read, original)


def test_equal_graphs_have_equal_ids(tmp_path):
    """OpenVINO numbers unnamed operations; the numbers must not affect the hash."""

    def unnamed(seed=0):
        model = fully_connected(seed)
        return ov.Model(model.get_results(), model.get_parameters())

    first, same = (save(tmp_path / n, unnamed()) for n in "ab")
    other = save(tmp_path / "c", unnamed(seed=1))
    assert first.id == same.id
    assert first.id != other.id


def test_a_model_without_weights_has_an_empty_weights_file(tmp_path):
    x = op.parameter([1, 2], ov.Type.f32, name="x")
    saved = save(tmp_path / "bare", ov.Model([op.result(op.relu(x))], [x]))
    assert saved.record.bin_bytes == 0
    assert Variant.load(saved.folder).id == saved.id


def test_a_failed_check_leaves_no_folder(tmp_path):
    def describe(xml):
        assert xml.is_file()
        raise InputError("outputs differ")

    with pytest.raises(InputError, match="outputs differ"):
        variant.save(tmp_path / "v", fully_connected(), describe)
    assert list(tmp_path.iterdir()) == []


def test_only_variants_are_replaced_and_only_on_request(tmp_path):
    copy = save(tmp_path / "v", fully_connected()).folder
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        variant.check_target(copy)
    variant.check_target(copy, replace=True)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_text("x")
    with pytest.raises(InputError, match=r"photos$"):
        variant.save(photos, fully_connected(), lambda _: {}, replace=True)
    assert (photos / "a.jpg").read_text() == "x"
    (copy / "sweep").mkdir()
    (copy / "sweep" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match=r"sweep/plan\.json"):
        variant.save(copy, fully_connected(), lambda _: {}, replace=True)
    assert (copy / "sweep" / "plan.json").read_text() == "{}"


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, RECORD])
def test_a_missing_file_is_reported(copy, name):
    (copy / name).unlink()
    with pytest.raises(InputError, match=name):
        Variant.load(copy)


@pytest.mark.parametrize("name", [MODEL, WEIGHTS])
def test_a_file_of_another_size_is_reported(copy, name):
    size = (copy / name).stat().st_size
    with (copy / name).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match=rf"{name}.* {size + 1} .* {size}$"):
        Variant.load(copy)


def test_a_changed_file_of_the_same_size_is_reported(copy):
    weights = bytearray((copy / WEIGHTS).read_bytes())
    weights[10] ^= 1
    (copy / WEIGHTS).write_bytes(weights)
    with pytest.raises(InputError, match=re.escape(str(copy))):
        Variant.load(copy)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"command": "rm -rf"}, "command"),
        ({"inputs": [{"name": "x"}]}, r"inputs\.0\.shape"),
        ({"xml_bytes": "many"}, "xml_bytes"),
        ({"batch": "perhaps"}, "batch"),
        ({"preprocessing": {"crop_fraction": 0}}, r"preprocessing\.crop_fraction"),
        ({"sha256": None}, "sha256"),
    ],
)
def test_an_invalid_record_names_the_field(copy, change, where):
    record = json.loads((copy / RECORD).read_text()) | change
    del record["crc32"]
    (copy / RECORD).write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"variant\.json: {where}") as caught:
        Variant.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", [MODEL, WEIGHTS, RECORD])
def test_a_flipped_bit_is_an_error_that_names_the_file(copy, name):
    file, expected = copy / name, Variant.load(copy).record
    content = file.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 150)):
        file.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        )
        with pytest.raises(InputError, match=name):
            assert Variant.load(copy).record != expected
    file.write_bytes(content)
    assert Variant.load(copy).record == expected


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00\x01", b"[" * 5000])
def test_a_malformed_record_gives_an_error_of_one_line(copy, content):
    (copy / RECORD).write_bytes(content)
    with pytest.raises(InputError, match=r"variant\.json") as caught:
        Variant.load(copy)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=80))
def test_any_bytes_as_record_give_an_input_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("malformed")
    (folder / RECORD).write_bytes(content)
    with pytest.raises(InputError):
        Variant.load(folder)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"name": "other"}, True),
        ({"created": "later"}, True),
        ({"versions": {"nncf": "9"}}, False),
        ({"parent": "0123"}, False),
        ({"preprocessing": None}, False),
        ({"steps": ()}, False),
        ({"steps": (STEPS[0].model_copy(update={"seconds": 99.0}),)}, True),
        ({"steps": (STEPS[0].model_copy(update={"data": "other"}),)}, False),
        ({"steps": (STEPS[0].model_copy(update={"settings": {}}),)}, False),
    ],
)
def test_provenance_is_source_steps_and_versions(saved, change, same):
    assert (saved.record.model_copy(update=change).provenance == saved.record.provenance) is same


@pytest.mark.parametrize(
    ("layout", "axis"), [("N...", 0), ("?N?", 1), ("...N", 2), ("...N?", 1), ("HWC", None)]
)
def test_the_layout_has_the_batch_axis(layout, axis):
    assert Port(name="x", shape=(1, 2, 3), dtype="f32", layout=layout).batch_axis == axis


@pytest.mark.parametrize(("shape", "axis"), [((1, 2), 0), ((-1, 2), 0), ((4, 2), None), ((), None)])
def test_a_first_dimension_that_is_open_or_1_is_the_batch_without_a_layout(shape, axis):
    assert Port(name="x", shape=shape, dtype="f32").batch_axis == axis


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"mean": (0.485, 0.456, 0.406), "scale": (0.229, 0.224, 0.225)},
         ("123.675,116.28,103.53", "58.395,57.12,57.375")),
        ({"mean": (0.5,), "scale": (0.5,)}, ("127.5", "127.5")),
        ({"mean": (0.485,)}, ("123.675", "255")),
        ({"scale": (1 / 255,)}, ("0", "255")),
        ({"mean": (127.5,), "scale": (0.5,)}, ("127.5", "127.5")),
    ],
)  # fmt: skip
def test_mean_and_scale_of_pixels_0_to_1_are_refused_with_the_meant_numbers(given, meant):
    with pytest.raises(ValidationError) as raised:
        Preprocessing(**given)
    assert f"--mean {meant[0]} --scale {meant[1]}" in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [{}, {"mean": (123.675,), "scale": (58.395,)}, {"scale": (255,)}, {"scale": (0,)},
     {"mean": (127,), "scale": (1,)}, {"mean": (0.5,), "scale": (127.5,)}],
)  # fmt: skip
def test_mean_and_scale_of_pixels_0_to_255_are_accepted(given):
    Preprocessing(**given)
