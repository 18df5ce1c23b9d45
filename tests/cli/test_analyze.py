"""``ovtool analyze`` as a user runs it."""

import csv
import json

import openvino as ov
import pytest

from ovtool import flops
from ovtool.compress.cost import closed
from tests.models import convolutional, save


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    return save(tmp_path_factory.mktemp("analyze") / "net", convolutional())


def test_words_and_bound(ovtool, variant):
    done = ovtool("analyze", variant.folder, "--speed", "4TFLOPS", "--top", "2")
    assert done.status == 0, done.err
    assert "MACs" in done.out
    assert "FLOPs / speed: a lower bound" in done.out
    assert "more with" in done.out


def test_json_and_files_agree(ovtool, variant, tmp_path):
    out = tmp_path / "counts"
    told = ovtool("analyze", variant.folder, "--batch", "2", "--json", "--out", out).document
    alone = ovtool("analyze", variant.folder, "--json").document
    assert told["batch"] == 2
    assert told["total"]["macs"] == 2 * alone["total"]["macs"] > 0
    assert told["total"]["parameters"] == alone["total"]["parameters"]
    with (out / "layers.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["macs"]) for row in rows) == told["total"]["macs"]
    document = json.loads((out / "analysis.json").read_text(encoding="utf-8"))
    assert len(document["layers"]) == len(rows)


def test_the_column_gflops_is_of_the_same_count(ovtool, variant):
    told = ovtool("analyze", variant.folder, "--json").document
    model = closed(ov.Core().read_model(variant.xml))
    assert 2 * told["total"]["macs"] == flops.work(model).total


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["VARIANT", "--speed", "fast"], "not a speed: 'fast'"),
        (["VARIANT", "--shape", "z=1x2"], "z"),
    ],
)
def test_wrong_use(ovtool, variant, arguments, said):
    done = ovtool("analyze", *(variant.folder if a == "VARIANT" else a for a in arguments))
    assert done.status == 2
    assert said in done.errors[0]
