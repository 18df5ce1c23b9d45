"""Exported programs."""

from tests.models.source_models import exported, make


def test_exported_program_keeps_dynamic_shapes(nets):
    record = make(exported(nets / "m.pt2"), nets / "out").record
    assert record.source.kind == "torch-export"
    assert record.inputs[0].shape == (-1, 3, 8, 8)
    assert record.check.against.endswith("the exported program")
    assert record.check.max_abs_difference < 1e-5
    assert "image 2x3x8x8" in record.check.inputs


def test_exported_program_with_static_batch_becomes_dynamic(nets):
    record = make(exported(nets / "m.pt2", dynamic=False), nets / "out").record
    assert record.batch == "dynamic"
    assert "image 2x3x8x8" in record.check.inputs
