"""Notes on steps without the effect that their method is for."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.effects import keep_notes, note_effects
from ovtool.compression.execution_check import CheckedRun
from ovtool.core.variant import Step
from ovtool.graph.runtime import Layer
from tests.compression.samples import Listed, compress
from tests.helpers.graphs import constant, convolutional, fully_connected, save


def layers(*precisions):
    return [Layer(f"conv{i}", "Convolution", p, "") for i, p in enumerate(precisions)]


def effects(method, model=None, executed=None, sizes=(1, 1), difference=0.0, **settings):
    step = Step(method=method, settings=settings, seconds=0)
    notes = note_effects(step, model or convolutional(), CheckedRun(executed, difference), sizes)
    return {note.id: note.evidence for note in notes}


@pytest.mark.parametrize("method", ["int8", "qat"])
def test_a_quantized_model_without_layers_in_int8_is_noted(method):
    notes = effects(method, executed=layers("f32", "f32", "bf16"))
    assert notes.keys() == {"int8-not-executed"}
    for text in ("0 of 3", "conv0 (f32)", "conv2 (bf16)"):
        assert text in notes["int8-not-executed"]
    assert "1 of 10" in effects(method, executed=layers("i8", *["f32"] * 9))["int8-not-executed"]


def test_other_models_are_not_noted():
    assert not effects("int8", executed=layers("i8", "f32"))
    assert not effects("int8", executed=None)
    assert not effects("fp16", executed=layers("f32"))
    assert not effects("int8", executed=[Layer("pool", "Pooling", "f32", "")])


@pytest.mark.parametrize(("difference", "noted"), [(1e-4, False), (0.25, True)])
def test_outputs_that_differ_between_runs_are_noted(difference, noted):
    notes = effects("weights", difference=difference, mode="int8_asym")
    assert ("outputs-not-repeatable" in notes) is noted
    if noted:
        assert "25" in notes["outputs-not-repeatable"]


def test_larger_files_are_noted_for_methods_that_make_them_smaller():
    notes = effects("int8", sizes=(3 << 20, 2 << 20))
    assert notes.keys() == {"files-larger"}
    assert "3.00 MiB" in notes["files-larger"]
    assert "2.00 MiB" in notes["files-larger"]
    assert not effects("int8", sizes=(2 << 20, 3 << 20))
    assert not effects("train", sizes=(3 << 20, 2 << 20))


def test_a_mode_that_does_not_apply_to_convolutions_is_noted(tmp_path):
    parent = save(tmp_path / "net", convolutional())
    settings = {"mode": "int4_sym", "group_size": -1}
    compressed = compress(parent, "weights", settings, None, out=tmp_path / "w", name="w")
    (note,) = (n for n in compressed.record.notes if n.id == "mode-not-applied")
    for text in ("int4_sym in 0 of 3 layers, 0%", "2 Convolution", "1 MatMul"):
        assert text in note.evidence


@pytest.mark.slow
def test_a_mode_that_applies_is_not_noted(tmp_path):
    parent = save(tmp_path / "net", fully_connected())
    settings = {"mode": "int4_sym", "group_size": 32}
    compressed = compress(parent, "weights", settings, None, out=tmp_path / "w", name="w")
    assert not compressed.record.notes  # three layers in 4 bits, the last one in 8
    plain = compress(parent, "weights", {}, None, out=tmp_path / "w8", name="w8")
    assert not plain.record.notes


def tiny():
    """[1, 4] -> [1, 4]: the quantizers take more than the weights."""
    x = op.parameter([1, 4], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    y = op.matmul(x, constant(np.random.default_rng(0), 4, 4), False, True)
    y.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NC"))
    return ov.Model([op.result(y)], [x], "tiny")


@pytest.mark.slow
def test_notes_of_a_step_do_not_pass_to_the_next_one(tmp_path, progress):
    rows = Listed([np.ones(4, np.float32)] * 4)
    parent = save(tmp_path / "net", tiny())
    first = compress(parent, "int8", {}, rows, out=tmp_path / "q", name="small8", progress=progress)
    assert [note.id for note in first.record.notes] == ["files-larger"]
    assert any("warning: small8: " in text for text in progress.notes)
    assert keep_notes(first) == ()


@pytest.mark.parametrize(("ratio", "noted"), [(9.9, True), (10.1, False), (None, False)])
def test_outputs_that_are_mostly_noise_are_noted(ratio, noted):
    noise = {"sqnr_db": ratio, "output": "scores", "samples": 4}
    step = Step(method="int8", settings={}, seconds=0, details={"noise": noise})
    notes = {
        n.id: n.evidence for n in note_effects(step, convolutional(), CheckedRun(None), (1, 1))
    }
    assert ("quantization-noise" in notes) is noted
    if noted:
        assert "scores" in notes["quantization-noise"]
        assert "9.90 dB" in notes["quantization-noise"]
