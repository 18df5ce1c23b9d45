"""The batch dimension becomes dynamic only where samples stay independent."""

from tests.models.source_models import across_onnx, conv_onnx, make, reshape_onnx


def test_static_batch_becomes_dynamic_and_the_check_records_its_inputs(tmp_path):
    record = make(conv_onnx(tmp_path / "net.onnx", batch=4), tmp_path / "out").record
    assert record.batch == "dynamic"
    assert record.check.inputs.startswith("random, seed 0: x 4x3x8x8; ")


def test_hard_coded_batch_stays_static_with_a_note(tmp_path, notes):
    record = make(reshape_onnx(tmp_path / "net.onnx"), tmp_path / "out", notes).record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 3, 4)
    assert "'y'" in record.batch_note or "reshape" in record.batch_note.lower()
    assert any(record.batch_note in text for text in notes.texts)


def test_model_that_mixes_samples_stays_static(tmp_path):
    record = make(across_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.batch == "static"
    assert "'y'" in record.batch_note
