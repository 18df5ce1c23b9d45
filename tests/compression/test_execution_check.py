"""The run of a result before it is saved."""

import contextlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression import execution_check
from ovtool.compression.execution_check import Examiner, check_runs, examine
from ovtool.compression.method import Method, MethodResult
from ovtool.compression.registry import load_method
from ovtool.core.errors import InputError
from ovtool.graph.storage import load_storage
from ovtool.models.convert import convert
from tests.compression.samples import Listed, compress
from tests.helpers.decoders import write_openvino_folder
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


@pytest.mark.slow
def test_a_text_generator_is_checked_on_tokens_masks_and_positions(tmp_path):
    parent = convert(write_openvino_folder(tmp_path / "source"), out=tmp_path / "v")
    lines = []
    progress = SimpleNamespace(note=lines.append, start=lambda *_: None)
    checked = check_runs(parent.xml, parent, None, progress)
    assert checked.layers
    assert lines == []


@pytest.fixture
def own_process(monkeypatch):
    """Every model counts as large."""
    monkeypatch.setattr(execution_check, "_OWN_PROCESS", 0)


@pytest.mark.slow
def test_a_process_of_its_own_sees_what_this_one_sees(dense):
    feed = execution_check._feed(dense.record.inputs, dense, None)
    here = examine(dense.xml, feed)
    with contextlib.closing(Examiner()) as examiner:
        there = [examiner.examine(dense.xml, feed) for _ in range(2)]
    assert here.layers
    assert here.compiled is not None
    for checked in there:
        assert checked == replace(here, compiled=None)


@pytest.mark.slow
@pytest.mark.usefixtures("own_process")
def test_a_large_model_is_examined_in_a_process_of_its_own(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(execution_check, "examine", None)
    compressed = compress(dense, "fp16", {}, None, out=tmp_path / "q", name="q")
    assert load_storage(compressed).weights_mib > 0


@pytest.mark.slow
@pytest.mark.usefixtures("own_process")
def test_failures_in_a_process_of_its_own_are_those_in_this_one(tmp_path, progress):
    parent = save(tmp_path / "roots", overflowing())
    compress(parent, "weights", {}, None, out=tmp_path / "w", name="w", progress=progress)
    assert any("roots" in note and "NaN" in note for note in progress.notes)
    data = Listed([np.full(8, -1, np.float32), np.ones(8, np.float32)])
    with pytest.raises(InputError, match=r"variant roots .* NaN"):
        compress(parent, "weights", {}, data, out=tmp_path / "v", name="v")
    assert not (tmp_path / "v").exists()


def test_a_process_that_dies_is_a_failure_of_the_model(dense, monkeypatch):
    """A plugin that crashes ends the process that examines, and the error is one line."""
    crash = "import os; print('{\"ok\": {}}', flush=True); input(); os.abort()"
    monkeypatch.setattr(execution_check, "_COMMAND", (sys.executable, "-c", crash))
    monkeypatch.setattr(execution_check, "_OWN_PROCESS", 0)
    inputs = [dense.xml, dense, Listed([np.zeros(8, np.float32)])]
    with pytest.raises(InputError, match="SIGABRT") as raised:
        check_runs(*inputs, SimpleNamespace(note=None, start=None))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_files_that_cannot_be_read_raise(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text("<net/>")
    with contextlib.closing(Examiner()) as examiner, pytest.raises(InputError, match="model"):
        examiner.examine(path, {0: np.zeros(1, np.float32)})
