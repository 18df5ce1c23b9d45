"""``ovtool analyze`` as a user runs it."""

import csv
import json

import numpy as np
import openvino as ov
import pytest
from openvino import opset1
from openvino import opset15 as op

from ovtool.compression.cost import closed
from ovtool.graph import flops
from tests.helpers.graphs import convolutional, save


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


def test_what_is_not_counted_is_said_with_the_reason(ovtool, tmp_path):
    boxes, scores = op.parameter([1, 4, 4], ov.Type.f32), op.parameter([1, 2, 4], ov.Type.f32)
    kept = opset1.non_max_suppression(boxes, scores, op.constant(np.int64(3)))
    kept.set_friendly_name("nms")
    for place, port in enumerate((boxes, scores, kept)):
        port.output(0).set_names({f"port{place}"})
    variant = save(tmp_path / "net", ov.Model([op.result(kept)], [boxes, scores], "detector"))
    reason = "how many boxes are compared depends on the boxes"
    done = ovtool("analyze", variant.folder)
    assert done.status == 0, done.err
    assert f"NonMaxSuppression: {reason}" in " ".join((done.out + done.err).split())
    told = ovtool("analyze", variant.folder, "--json").document
    (left,) = (one for one in told["layers"] if one["uncounted"])
    assert (left["name"], left["flops"], left["uncounted"]) == ("nms", None, reason)
    assert "MACs and FLOPs unknown: no layer can be counted" in done.out
    assert "NonMaxSuppression 1, 1 not counted - - " in " ".join(done.out.split())
    sums = told["by_type"]["NonMaxSuppression"]
    assert [sums[name] for name in ("macs", "other_flops", "flops", "intensity")] == [None] * 4
    assert (sums["layers"], sums["uncounted"]) == (1, 1)
    assert told["not_counted"] == ["nms"]


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
