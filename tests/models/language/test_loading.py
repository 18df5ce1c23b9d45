import json

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.models.convert import convert
from ovtool.models.language import loading
from ovtool.models.registry import SOURCES, kind_of

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


@pytest.fixture
def folder(tmp_path):
    """What the checks before loading accept."""
    path = tmp_path / "net"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"x")
    return path


def write(folder, **fields):
    (folder / "config.json").write_text(json.dumps(CONFIG | fields))


def test_the_kind_is_told_by_the_files(folder, tmp_path):
    assert kind_of(str(folder)) == "huggingface"
    assert kind_of("x.gguf") == "gguf"
    (folder / "openvino_model.xml").touch()
    assert kind_of(str(folder)) == "openvino-folder"


def test_a_complete_folder_passes(folder):
    loading.check_folder(folder, trust=False)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "modeling.Net"}}, "auto_map in config"),
        ({"vision_config": {"hidden_size": 8}}, "vision_config"),
        ({"audio_config": {}, "text_config": {}}, "audio_config"),
        ({"is_encoder_decoder": True}, "decoder"),
    ],
)
def test_models_that_are_not_of_text_alone_are_refused(folder, fields, value):
    write(folder, **fields)
    with pytest.raises(InputError, match=value):
        loading.check_folder(folder, trust=False)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_folder_needs_trust(folder, name):
    content = CONFIG if name == "config.json" else {}
    (folder / name).write_text(json.dumps({**content, "auto_map": {"AutoTokenizer": "x.T"}}))
    with pytest.raises(InputError, match=name) as raised:
        loading.check_folder(folder, trust=False)
    assert "--trust" in raised.value.hint
    loading.check_folder(folder, trust=True)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="tokenizer" if "token" in name else "safetensors"):
        loading.check_folder(folder, trust=False)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_damaged_configuration_is_named(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        loading.check_folder(folder, trust=False)


@pytest.mark.parametrize("kind", ["huggingface", "gguf"])
def test_without_the_extra_the_command_is_named(monkeypatch, kind):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="transformers") as raised:
        SOURCES.load(kind)
    assert raised.value.hint == "pip install 'ovtool[llm]'"
    assert raised.value.exit_code == 3


def test_without_one_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "gguf" else object()
    )
    with pytest.raises(MissingDependencyError, match="gguf") as raised:
        loading.require_packages("x.gguf", "torch", "gguf")
    assert raised.value.hint == "pip install 'ovtool[llm]'"


@pytest.mark.slow
def test_an_unknown_architecture_is_named(folder, tmp_path, llm):
    write(folder, model_type="frobnicator")
    with pytest.raises(InputError, match="frobnicator"):
        convert(folder, out=tmp_path / "v")
    write(folder, architectures=["FrobnicatorForCausalLM"])
    with pytest.raises(InputError, match="FrobnicatorForCausalLM"):
        convert(folder, out=tmp_path / "v")
    assert not (tmp_path / "v").exists()
