"""The run of a result before it is saved."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.method import Method, MethodResult
from ovtool.compression.registry import load_method
from ovtool.core.errors import InputError
from tests.compression.samples import Listed, compress
from tests.helpers.graphs import constant, save


def overflowing():
    """A network whose weights leave the range of 16-bit floats."""
    x = op.parameter([-1, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    h = op.sqrt(op.matmul(x, constant(np.random.default_rng(0), 8, 8), False, True))
    return ov.Model([op.result(h)], [x], "roots")


def test_result_with_nan_is_not_saved(tmp_path, monkeypatch, dense):
    def spoil(context):
        for node in context.model.get_ops():
            if node.get_type_name() == "Relu":
                last = node
        nan = op.multiply(last, op.constant(np.float32(np.nan)))
        return MethodResult(ov.Model([op.result(nan)], context.model.get_parameters()))

    broken = Method(load_method("fp16").settings, frozenset(), spoil, "")
    monkeypatch.setattr("ovtool.compression.pipeline.load_method", lambda _: broken)
    monkeypatch.setattr("ovtool.compression.pipeline.count_weight_types", iter_counts())
    with pytest.raises(InputError, match="NaN"):
        compress(dense, "fp16", {}, None, out=tmp_path / "q", name="q")
    assert list(tmp_path.iterdir()) == []


def iter_counts():
    from ovtool.graph.weights import WeightTypes

    counts = iter([WeightTypes((), 0), WeightTypes((), 1), WeightTypes((), 1)])
    return lambda _: next(counts)


def test_parent_with_nan_on_random_values_gets_a_note(tmp_path, progress):
    parent = save(tmp_path / "roots", overflowing())
    compressed = compress(
        parent, "weights", {}, None, out=tmp_path / "w", name="w", progress=progress
    )
    assert compressed.compressed
    assert any("roots" in note and "NaN" in note for note in progress.notes)


def test_parent_with_nan_on_the_data_raises(tmp_path):
    parent = save(tmp_path / "roots", overflowing())
    data = Listed([np.full(8, -1, np.float32), np.ones(8, np.float32)])
    with pytest.raises(InputError, match=r"variant roots .* NaN"):
        compress(parent, "weights", {}, data, out=tmp_path / "w", name="w")
