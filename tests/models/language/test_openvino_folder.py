import json

import pytest

from ovtool.compression.compress import compress
from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.core.variant import Variant
from ovtool.models.convert import convert, default_name
from tests.helpers import graphs
from tests.helpers.decoders import build_decoder, write_openvino_folder


@pytest.mark.slow
def test_a_text_generator_keeps_its_names_and_its_files(tmp_path):
    folder = write_openvino_folder(tmp_path / "tiny-1.7")
    made = convert(folder, out=tmp_path / "v")
    assert default_name(str(folder)) == "tiny-1.7"
    assert made.record.source.kind == "openvino-folder"
    assert made.xml.name == "openvino_model.xml"
    assert set(made.record.companions) == {
        "config.json", "openvino_detokenizer.xml", "openvino_tokenizer.xml", "tokenizer.json"
    }  # fmt: skip
    assert made.record.check.differences[0].status == "checked"
    assert made.record.batch == "dynamic"
    assert Variant.load(tmp_path / "v").id == made.id
    (tmp_path / "v" / "tokenizer.json").write_text("[]")
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        Variant.load(tmp_path / "v")


@pytest.mark.slow
def test_compressed_weights_keep_the_files(tmp_path):
    pytest.importorskip("nncf", reason="ovtool[compress] is not installed")
    folder = write_openvino_folder(tmp_path / "tiny")
    (folder / "openvino_config.json").write_text('{"dtype": "fp32", "save_onnx_model": false}')
    made = convert(folder, out=tmp_path / "v")
    small = compress(made, "weights", out=tmp_path / "w8")
    assert small.xml.name == "openvino_model.xml"
    settings = json.loads((tmp_path / "w8" / "openvino_config.json").read_text())
    assert settings == {"dtype": "int8", "save_onnx_model": False}
    kept = made.record.companions.keys() - {"openvino_config.json"}
    assert {n: small.record.companions[n] for n in kept} == {
        n: made.record.companions[n] for n in kept
    }
    assert (tmp_path / "w8" / "config.json").read_bytes() == (
        tmp_path / "v" / "config.json"
    ).read_bytes()
    types = {c.get_element_type().get_type_name() for c in read_graph(small.xml).get_ops()
             if c.get_type_name() == "Constant"}  # fmt: skip
    assert types & {"i8", "u8"}


def test_an_encoder_is_checked_as_any_graph(tmp_path):
    folder = write_openvino_folder(tmp_path / "net", graphs.convolutional())
    made = convert(folder, out=tmp_path / "v")
    assert "tokenizer.json" in made.record.companions
    assert made.record.check.differences[0].status == "checked"


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    folder = write_openvino_folder(tmp_path / "tiny")
    (folder / "openvino_tokenizer.xml").unlink()
    with pytest.raises(InputError, match="openvino_tokenizer"):
        convert(folder, out=tmp_path / "v")
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("options", [{"shapes": {"input_ids": (1, 8)}}, {"data": "x.npz"}])
def test_options_without_effect_on_a_text_generator_are_errors(tmp_path, options):
    folder = write_openvino_folder(tmp_path / "tiny")
    with pytest.raises(InputError, match=f"--{next(iter(options))[:4]}"):
        convert(folder, out=tmp_path / "v", **options)


def test_a_graph_with_an_unknown_input_is_an_error(tmp_path):
    model = build_decoder()
    model.inputs[2].get_tensor().set_names({"token_type_ids"})
    with pytest.raises(InputError, match="token_type_ids"):
        convert(write_openvino_folder(tmp_path / "tiny", model), out=tmp_path / "v")


@pytest.mark.slow
def test_a_companion_outside_of_the_folder_is_refused(tmp_path):
    made = convert(write_openvino_folder(tmp_path / "tiny"), out=tmp_path / "v")
    record = json.loads(made.record.model_dump_json()) | {"companions": {"../x": "0"}}
    with pytest.raises(ValueError, match=r"\.\./x"):
        type(made.record).model_validate(record)
