"""Exported programs."""

import json
import zipfile

import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.models.torch_weights import UnsafeFileError
from tests.models.source_models import exported, make


@pytest.mark.slow
def test_exported_program_keeps_dynamic_shapes(nets):
    record = make(exported(nets / "m.pt2"), nets / "out", trust=True).record
    assert record.source.kind == "torch-export"
    assert record.inputs[0].shape == (-1, 3, 8, 8)
    assert record.check.against.endswith("the exported program")
    assert record.check.max_abs_difference < 1e-5
    assert "image 2x3x8x8" in record.check.inputs


@pytest.mark.slow
def test_exported_program_with_static_batch_becomes_dynamic(nets):
    record = make(exported(nets / "m.pt2", dynamic=False), nets / "out", trust=True).record
    assert record.batch == "dynamic"
    assert "image 2x3x8x8" in record.check.inputs


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_dropout_of_a_program_exported_in_training_mode_is_named(tmp_path, training):
    module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.5)).train(training)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(module, (torch.ones(1, 8),)), path)
    if training:
        with pytest.raises(InputError, match="dropout") as raised:
            make(path, tmp_path / "out", trust=True)
        assert "eval" in raised.value.hint
    else:
        assert make(path, tmp_path / "out", trust=True).record.check.max_abs_difference < 1e-5


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Change the records of an archive, given as name to content."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


@pytest.mark.slow
def test_code_in_a_size_does_not_run_without_trust(nets):
    def add_code(records):
        (name,) = (name for name in records if name.endswith("models/model.json"))
        content = json.loads(records[name])
        values = content["graph_module"]["graph"]["tensor_values"]
        code = "__import__('pathlib').Path('ran').touch() or Integer(8)"
        values["image"]["sizes"][2] = {"as_expr": {"expr_str": code, "hint": {"as_int": 8}}}
        records[name] = json.dumps(content).encode()

    path = exported(nets / "m.pt2")
    rewrite(path, add_code)
    with pytest.raises(UnsafeFileError) as raised:
        make(path, nets / "out")
    assert "--trust" in raised.value.hint
    assert not (nets / "ran").exists()
    assert not (nets / "out").exists()
    make(path, nets / "out", trust=True)
    assert (nets / "ran").exists()  # the file does run code


@pytest.mark.slow
@pytest.mark.parametrize("trust", [False, True])
def test_inflated_archive_raises(nets, trust):
    path = exported(nets / "m.pt2")
    rewrite(path, lambda records: records.update(x=bytes(50_000_000)), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"50\d{6}"):
        make(path, nets / "out", trust=trust)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half"])
def test_damaged_archive_raises_one_line(nets, content):
    path = nets / "m.pt2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.pt2") as raised:
        make(path, nets / "out", trust=True)
    assert "\n" not in str(raised.value)
