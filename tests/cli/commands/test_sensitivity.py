"""``ovtool sensitivity``, and a limit of accuracy on ``ovtool compress``."""

import csv

import numpy as np
import pytest

from ovtool.core.variant import Variant
from tests.compression import outliers


@pytest.fixture(scope="module")
def fragile(tmp_path_factory):
    """A variant that INT8 ruins, with samples to calibrate on and others to judge by."""
    folder = tmp_path_factory.mktemp("fragile")
    for name, seed, count in (("calibration", 1, 100), ("held", 5, 100)):
        rows = [sample.inputs["x"] for sample in outliers.pictures(count, seed)]
        np.savez(folder / f"{name}.npz", x=np.stack(rows))
    outliers.saved(folder / "fragile", "conv")
    return folder


@pytest.mark.slow
def test_it_names_the_layer_that_suffers_and_writes_what_it_found(ovtool, fragile, tmp_path):
    out = tmp_path / "out"
    ran = ovtool(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--out", out,
    )  # fmt: skip
    assert ran.status == 0, ran
    first = next(line for line in ran.out.splitlines() if line.split()[-1:] == ["second"])
    assert "Convolution" in first
    assert "agreement_top1 without quantization: 1.00" in ran.out
    with (out / "layers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["name"] == "second"
    assert float(rows[0]["metric_drop"]) > 0.2
    assert "second" in (out / "charts" / "noise-by-layer.svg").read_text(encoding="utf-8")
    assert (out / "charts" / "noise-by-layer.png").read_bytes().startswith(b"\x89PNG")


def test_its_json_has_every_layer(ovtool, fragile):
    ran = ovtool(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--set", "model_type=transformer", "--top", "1", "--json",
    )  # fmt: skip
    assert {layer["name"] for layer in ran.document["layers"]} == {"first", "second", "classifier"}
    assert ran.document["settings"]["model_type"] == "transformer"


def test_a_method_without_quantized_layers_is_refused(refused, fragile):
    said = refused(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--method", "int9",
    )  # fmt: skip
    assert said == "'int9' quantizes no layers | did you mean int8?"


@pytest.mark.slow
def test_a_limit_is_held_by_leaving_a_layer_in_float(ovtool, fragile, tmp_path):
    ran = ovtool(
        "compress", fragile / "fragile", "int8", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--max-drop", "0.1", "--time-limit", "600",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert ran.status == 0, ran
    step = Variant.load(tmp_path / "q").record.steps[-1]
    assert (step.settings["max_drop"], step.settings["time_limit_s"]) == (0.1, 600)
    assert step.details["chosen"]["ignored_names"] == ["second"]


def test_a_limit_that_nothing_holds_is_status_one(ovtool, fragile, tmp_path):
    ran = ovtool(
        "compress", fragile / "fragile", "int8", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--max-drop", "0.05", "--time-limit", "1e-6",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert ran.status == 1
    assert "no quantization of fragile holds max_drop 0.0500 in 0 s" in ran.errors[0]
    assert "settings as given: agreement_top1" in ran.errors[0]
    assert ran.errors[1].startswith("hint: ")
    assert not (tmp_path / "q").exists()


def test_a_limit_is_given_once(refused, fragile, tmp_path):
    said = refused(
        "compress", fragile / "fragile", "int8", "--set", "max_drop=0.1", "--max-drop", "0.2",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert said == "max_drop is given twice: by --set and by its own option"
