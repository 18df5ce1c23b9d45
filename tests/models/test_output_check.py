"""The comparison of a conversion with its source."""

from dataclasses import replace

import pytest

from ovtool.core.errors import InputError
from ovtool.models import onnx as onnx_source
from tests.models.source_models import (
    conv_onnx,
    graph_onnx,
    make,
)


@pytest.mark.parametrize("wrong", [lambda y: y + 0.5, lambda y: y[:, :2]])
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


@pytest.mark.parametrize(
    ("nodes", "inputs", "status"),
    [
        ([("Tile", ["x", "r"], "y")], {"r": [4]}, "empty"),
        ([("Neg", ["x"], "a"), ("Exp", ["a"], "b"), ("Neg", ["b"], "c"), ("Log", ["c"], "y")],
         {}, "not-finite"),
        ([("Abs", ["x"], "a"), ("Neg", ["a"], "b"), ("Relu", ["b"], "y")], {}, "constant"),
    ],
)  # fmt: skip
def test_outputs_without_evidence_are_not_checked(tmp_path, nodes, inputs, status):
    shapes = {"x": [2, 3, 4, 5]}
    record = make(graph_onnx(tmp_path / "net.onnx", nodes, shapes, inputs), tmp_path / "out").record
    assert [d.status for d in record.check.differences] == [status]
    assert record.check.max_abs_difference is None
    assert [note.id for note in record.notes] == ["conversion-not-checked"]
