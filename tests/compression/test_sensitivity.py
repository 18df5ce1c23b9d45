"""The verb that measures the cost of quantizing each layer."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ovtool.compression.sensitivity import sensitivity
from ovtool.core.errors import InputError
from tests.compression import outliers


@pytest.fixture(scope="module")
def fragile(tmp_path_factory):
    """A variant with outliers in one layer, and its calibration samples."""
    folder = tmp_path_factory.mktemp("fragile")
    rows = [sample.inputs["x"] for sample in outliers.pictures(20, 1)]
    np.savez(folder / "samples.npz", x=np.stack(rows))
    return outliers.saved(folder / "fragile", "conv"), str(folder / "samples.npz")


@pytest.mark.slow
def test_report_and_files_have_every_layer(fragile, tmp_path):
    variant, data = fragile
    report = sensitivity(variant, data=data, out=tmp_path / "out")
    document = json.loads((tmp_path / "out" / "sensitivity.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert {layer["name"] for layer in document["layers"]} == {"first", "second", "classifier"}
    assert document["layers"][0]["name"] == "second"
    assert (document["method"], document["samples"], document["metric"]) == ("int8", 20, None)
    assert math.isfinite(document["all_layers_sqnr_db"])
    table = (tmp_path / "out" / "layers.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 1 + len(document["layers"])


@pytest.mark.slow
def test_without_a_folder_nothing_is_written(fragile, tmp_path, monkeypatch):
    variant, data = fragile
    monkeypatch.chdir(tmp_path)
    report = sensitivity(variant, data=data, method="fp8", max_rows=1)
    assert report.files is None
    assert report.method == "fp8"
    assert len(report.result.layers) == 1
    assert not list(tmp_path.iterdir())


def test_wrong_method_or_folder_raises(fragile, tmp_path):
    variant, data = fragile
    with pytest.raises(InputError, match="'int9'") as caught:
        sensitivity(variant, data=data, method="int9")
    assert "int8" in caught.value.hint
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="mine"):
        sensitivity(variant, data=data, out=tmp_path / "mine")


@pytest.mark.slow
def test_samples_that_calibrate_and_judge_are_a_warning(fragile, tmp_path):
    variant, data = fragile
    rows = np.load(data)["x"]
    for name, start in (("mixed", 15), ("other", 20)):
        more = [s.inputs["x"] for s in outliers.pictures(30, 1)][start : start + 8]
        np.savez(tmp_path / f"{name}.npz", x=np.stack(more), label=np.zeros(8, np.int64))
    assert len(rows) == 20

    def shared(name):
        report = sensitivity(variant, data=data, validation_data=str(tmp_path / f"{name}.npz"))
        assert report.to_json()["notes"] == [dataclasses.asdict(note) for note in report.notes]
        return [note.evidence for note in report.notes if note.id == "samples-shared"]

    (evidence,) = shared("mixed")
    assert evidence.startswith("5 of 8 ")
    assert shared("other") == []
