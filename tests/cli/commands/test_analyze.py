"""``ovtool analyze``."""

import csv
import json

import numpy as np
import openvino as ov
import pytest
from openvino import opset1
from openvino import opset15 as op

from ovtool.compression.networks import close_batch
from ovtool.core import units
from ovtool.graph import flops
from tests.helpers.graphs import convolutional, save


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    return save(tmp_path_factory.mktemp("analyze") / "net", convolutional())


def test_analyze_prints_totals_layers_and_a_lower_bound(ovtool, variant):
    done = ovtool("analyze", variant.folder, "--speed", "4TFLOPS", "--top", "2")
    assert done.status == 0, done.err
    document = ovtool("analyze", variant.folder, "--json", "--speed", "4TFLOPS").document
    flops = document["total"]["flops"]
    assert document["lower_bound_ms"] == pytest.approx(flops / 4e12 * 1e3)
    assert "MACs" in done.out
    assert f"{units.text(document['lower_bound_ms'] * 1e3)} us" in done.out
    assert f"{len(document['layers']) - 2} more" in done.out


def test_json_and_files_agree(ovtool, variant, tmp_path):
    out = tmp_path / "counts"
    document = ovtool("analyze", variant.folder, "--batch", "2", "--json", "--out", out).document
    alone = ovtool("analyze", variant.folder, "--json").document
    assert document["batch"] == 2
    assert document["total"]["macs"] == 2 * alone["total"]["macs"] > 0
    assert document["total"]["parameters"] == alone["total"]["parameters"]
    with (out / "layers.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["macs"]) for row in rows) == document["total"]["macs"]
    document = json.loads((out / "analysis.json").read_text(encoding="utf-8"))
    assert len(document["layers"]) == len(rows)


def test_analyze_counts_the_flops_of_the_column_gflops(ovtool, variant):
    document = ovtool("analyze", variant.folder, "--json").document
    model = close_batch(ov.Core().read_model(variant.xml))
    assert 2 * document["total"]["macs"] == flops.compute_cost(model).total


def test_a_layer_that_is_not_counted_is_named_with_the_reason(ovtool, tmp_path):
    boxes, scores = op.parameter([1, 4, 4], ov.Type.f32), op.parameter([1, 2, 4], ov.Type.f32)
    kept = opset1.non_max_suppression(boxes, scores, op.constant(np.int64(3)))
    kept.set_friendly_name("nms")
    for place, port in enumerate((boxes, scores, kept)):
        port.output(0).set_names({f"port{place}"})
    variant = save(tmp_path / "net", ov.Model([op.result(kept)], [boxes, scores], "detector"))
    done = ovtool("analyze", variant.folder)
    assert done.status == 0, done.err
    document = ovtool("analyze", variant.folder, "--json").document
    (layer,) = (layer for layer in document["layers"] if layer["uncounted"])
    assert (layer["name"], layer["flops"]) == ("nms", None)
    (line,) = (line for line in done.err.splitlines() if line.startswith("warning: "))
    assert f"NonMaxSuppression: {layer['uncounted']}" in line
    (row,) = (row for row in done.out.splitlines() if row.split()[:1] == ["NonMaxSuppression"])
    assert " - " in row
    sums = document["by_type"]["NonMaxSuppression"]
    assert [sums[name] for name in ("macs", "other_flops", "flops", "intensity")] == [None] * 4
    assert (sums["layers"], sums["uncounted"]) == (1, 1)
    assert document["not_counted"] == ["nms"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere"], "nowhere"),
        (["VARIANT", "--speed", "fast"], "'fast'"),
        (["VARIANT", "--shape", "z=1x2"], "z"),
    ],
)
def test_analyze_names_the_wrong_argument(ovtool, variant, arguments, named):
    done = ovtool("analyze", *(variant.folder if a == "VARIANT" else a for a in arguments))
    assert done.status == 2
    assert named in done.errors[0]
