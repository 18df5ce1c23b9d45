"""The comparison of a conversion with its source."""

from dataclasses import replace

import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.models import onnx as onnx_source
from ovtool.models.output_check import output_difference
from tests.models.source_models import (
    conv_onnx,
    make,
)


@pytest.mark.parametrize("wrong", [lambda y: y + 0.5, lambda y: y * np.nan, lambda y: y[:, :2]])
def test_different_outputs_leave_nothing_behind(tmp_path, monkeypatch, wrong):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [wrong(y) for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    with pytest.raises(InputError, match="output 'y'"):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_tolerance_option_applies(tmp_path, monkeypatch):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(source, reference=lambda x: [y * 1.01 for y in source.reference(x)])

    monkeypatch.setattr(onnx_source, "read", read)
    source = conv_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="'y'"):
        make(source, tmp_path / "out")
    assert make(source, tmp_path / "out", tolerance=0.02).record.check.tolerance == 0.02


def test_non_finite_values_count_as_different():
    x = np.array([1.0, np.nan, np.inf])
    assert output_difference("y", x, x).max_abs_difference == 0
    assert output_difference("y", x, np.array([1.0, 2.0, np.inf])).max_abs_difference == np.inf
    assert output_difference("y", x, np.array([1.0, np.nan, -np.inf])).max_abs_difference == np.inf
