"""The verb that counts operations, parameters and bytes."""

import csv
import json

import pytest

from ovtool.core.errors import InputError
from ovtool.profiling.analyze import analyze
from tests.helpers.graphs import convolutional, embedding, save

CONV0, CONV1, CLASSIFIER = 32 * 256 * 3 * 9, 32 * 256 * 32 * 9, 10 * 32
WEIGHTS = 32 * 3 * 9 + 32 * 32 * 9 + 320


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    return save(tmp_path_factory.mktemp("v") / "net", convolutional())


def test_counts_are_those_of_the_batch(variant):
    one, four = analyze(variant), analyze(variant, batch=4)
    assert (one.batch, one.shapes) == (1, (("x", (1, 3, 16, 16)),))
    assert one.analysis.total.macs == CONV0 + CONV1 + CLASSIFIER
    assert four.analysis.total.macs == 4 * one.analysis.total.macs
    assert four.lower_bound_s(1e9) == pytest.approx(four.analysis.total.flops / 1e9)
    assert one.files is None


def test_bytes_follow_the_precision(variant):
    result = analyze(variant)
    (parameters, activations), (half, half_activations) = (
        result.bytes_at(precision) for precision in ("f32", "f16")
    )
    assert parameters >= 4 * WEIGHTS
    assert (half, half_activations) == (parameters / 2, activations / 2)


def test_files_have_the_counts_of_the_document(variant, tmp_path):
    result = analyze(variant, out=tmp_path / "out")
    document = json.loads((tmp_path / "out" / "analysis.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(result.to_json()))
    with (tmp_path / "out" / "layers.csv").open(encoding="utf-8") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert int(rows["conv1"]["macs"]) == CONV1
    assert rows["conv1"]["output_shape"] == "1x32x16x16"
    with pytest.raises(InputError, match="out"):
        analyze(variant, out=tmp_path / "out")
    assert analyze(variant, out=tmp_path / "out", force=True).to_json() == result.to_json()


def test_open_dimension_must_be_given(tmp_path):
    text = save(tmp_path / "text", embedding())
    with pytest.raises(InputError, match="ids"):
        analyze(text)
    with pytest.raises(InputError, match="z"):
        analyze(text, shapes={"z": (1, 8)})
    result = analyze(text, shapes={"ids": (2, 8), "mask": (2, 8)})
    assert (result.batch, dict(result.shapes)["ids"]) == (2, (2, 8))
