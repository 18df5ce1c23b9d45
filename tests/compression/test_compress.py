"""The verb that compresses a model."""

import numpy as np
import pytest

from ovtool.compression.compress import CompressionData, compress, create_evaluator
from ovtool.compression.method import MissingInputError
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.core.variant import Variant
from tests.helpers.graphs import convolutional, save


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_variant_is_compressed_and_named_after_its_folder(conv, tmp_path):
    result = compress(conv.folder, "fp16", out=tmp_path / "half")
    assert Variant.load(tmp_path / "half").record == result.record
    assert (result.name, [s.method for s in result.record.steps]) == ("half", ["fp16"])
    assert compress(conv, "fp16", out=tmp_path / "x", name="y").name == "y"
    assert files_of(tmp_path) == ["half", "x"]


@pytest.mark.slow
def test_other_model_is_converted_next_to_the_result(owned, tmp_path):
    result = compress(str(owned.onnx), "fp16", out=tmp_path / "half")
    assert files_of(tmp_path) == ["half", "half-source"]
    assert result.record.source == Variant.load(tmp_path / "half-source").record.source


def test_missing_data_is_reported_before_the_conversion(owned, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(str(owned.onnx), "int8", out=tmp_path / "q")
    assert caught.value.need == "calibration"
    with pytest.raises(MissingInputError) as caught:
        compress(
            str(owned.onnx), "int8", out=tmp_path / "q", data="noise:4", settings={"max_drop": 0.1}
        )
    assert caught.value.need == "validation"
    with pytest.raises(InputError, match="'modes'"):
        compress(str(owned.onnx), "fp16", out=tmp_path / "q", settings={"modes": 1})
    assert files_of(tmp_path) == []


def test_graph_without_a_network_cannot_be_trained(conv, tmp_path):
    with pytest.raises(MissingInputError) as caught:
        compress(conv, "train", out=tmp_path / "t", data=CompressionData(training="noise:4"))
    assert caught.value.need == "network"


def test_evaluator_uses_the_metric_of_the_labels(tmp_path):
    parent = save(tmp_path / "net", convolutional())
    rows = np.random.default_rng(0).standard_normal((6, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "labelled.npz", x=rows, label=np.arange(6))
    np.savez(tmp_path / "unlabelled.npz", x=rows)

    def metric(name, chosen=None):
        data = CompressionData(validation=str(tmp_path / f"{name}.npz"), metric=chosen)
        return create_evaluator(data, parent, SILENT, parse_settings("int8", {})).metric

    assert metric("labelled") == "accuracy_top1"
    assert metric("unlabelled") == "output_cosine"
    assert metric("unlabelled", "agreement") == metric("labelled", "agreement") == "agreement_top1"
    assert create_evaluator(CompressionData(), parent, SILENT, parse_settings("int8", {})) is None
