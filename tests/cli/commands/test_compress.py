"""``ovtool compress``."""

import pytest

from ovtool.compression import compress
from ovtool.core.errors import InputError
from ovtool.core.variant import Variant


def test_compress_makes_a_variant_once_and_reuses_it(ovtool, small, tmp_path):
    out = tmp_path / "fp16"
    ran = ovtool("compress", small.folder, "fp16", "--out", out, "--json")
    assert ran.document["steps"][0]["method"] == "fp16"
    assert ran.document["parent"] == small.id
    written = (out / "variant.json").stat().st_mtime_ns
    again = ovtool("compress", small.folder, "fp16", "--out", out)
    assert again.status == 0
    assert again.out.startswith(f"{out}: fp16, ")
    assert "step fp16" in again.out
    assert (out / "variant.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_max_drop_is_met_by_a_layer_in_float(ovtool, fragile, tmp_path):
    ran = ovtool(
        "compress", fragile / "fragile", "int8", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--max-drop", "0.1", "--time-limit", "600",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert ran.status == 0, ran
    step = Variant.load(tmp_path / "q").record.steps[-1]
    assert (step.settings["max_drop"], step.settings["time_limit_s"]) == (0.1, 600)
    assert step.details["chosen"]["ignored_names"] == ["second"]


@pytest.mark.slow
def test_a_max_drop_that_no_setting_meets_exits_with_1(ovtool, fragile, tmp_path):
    ran = ovtool(
        "compress", fragile / "fragile", "int8", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--metric", "agreement",
        "--max-drop", "0.05", "--time-limit", "1e-6",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert ran.status == 1
    assert all(part in ran.errors[0] for part in ("fragile", "max_drop", "0.05", "agreement_top1"))
    assert ran.errors[1].startswith("hint: ")
    assert not (tmp_path / "q").exists()


def test_max_drop_is_given_once(refused, fragile, tmp_path):
    refusal = refused(
        "compress", fragile / "fragile", "int8", "--set", "max_drop=0.1", "--max-drop", "0.2",
        "--out", tmp_path / "q",
    )  # fmt: skip
    assert "max_drop" in refusal.error


def test_limit_is_the_maximum_of_every_data_set(ovtool, small, tmp_path, monkeypatch):
    used = []

    def create_evaluator(data, *_):
        used.append(data)
        raise InputError("enough")

    monkeypatch.setattr(compress, "_load_samples", lambda *_: None)
    monkeypatch.setattr(compress, "create_evaluator", create_evaluator)
    ran = ovtool(
        "compress", small.folder, "train", "--data", "a", "--train-data", "b",
        "--validation-data", "c", "--limit", "7", "--out", tmp_path / "t",
    )  # fmt: skip
    assert ran.status == 2, ran
    (data,) = used
    specs = (data.calibration, data.training, data.validation)
    assert [(spec.source, spec.limit) for spec in specs] == [("a", 7), ("b", 7), ("c", 7)]
