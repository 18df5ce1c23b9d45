"""``ovtool sensitivity``."""

import csv

import pytest


@pytest.mark.slow
def test_the_most_sensitive_layer_is_first_in_the_table_and_the_files(ovtool, fragile, tmp_path):
    out = tmp_path / "out"
    ran = ovtool(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--validation-data", fragile / "held.npz", "--metric", "agreement", "--out", out,
    )  # fmt: skip
    assert ran.status == 0, ran
    first = next(line for line in ran.out.splitlines() if line.split()[-1:] == ["second"])
    assert "Convolution" in first
    assert any("agreement_top1" in line and "1.00" in line for line in ran.out.splitlines())
    with (out / "layers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["name"] == "second"
    assert float(rows[0]["metric_drop"]) > 0.2
    assert "second" in (out / "charts" / "noise-by-layer.svg").read_text(encoding="utf-8")
    assert (out / "charts" / "noise-by-layer.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_json_document_has_every_layer(ovtool, fragile):
    ran = ovtool(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--set", "model_type=transformer", "--top", "1", "--json",
    )  # fmt: skip
    assert {layer["name"] for layer in ran.document["layers"]} == {"first", "second", "classifier"}
    assert ran.document["settings"]["model_type"] == "transformer"


def test_a_method_without_quantized_layers_is_refused(refused, fragile):
    refusal = refused(
        "sensitivity", fragile / "fragile", "--data", fragile / "calibration.npz",
        "--method", "int9",
    )  # fmt: skip
    assert "'int9'" in refusal.error
    assert "int8?" in refusal.hint
