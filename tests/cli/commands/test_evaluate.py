"""``ovtool evaluate``."""

import pytest

from ovtool import api
from ovtool.core.notes import make_note
from ovtool.evaluation.device_difference import DeviceDifference, Divergence
from ovtool.evaluation.evaluate import Quality

pytestmark = pytest.mark.usefixtures("local_workers")

AGREEMENT, SMALL = "agreement_top1", DeviceDifference(0.001, 0.05, 4)
SHARE = {"agreement_top1": 0.5, "agreement_top1_ci_low": 0.15, "agreement_top1_ci_high": 0.85}


@pytest.mark.slow
def test_evaluate_measures_agreement_with_a_baseline(ovtool, small):
    arguments = ("--data", "noise:4", "--baseline", small.folder, "--precision", "f32")
    ran = ovtool("evaluate", small.folder, *arguments, "--metric", "agreement", "--json")
    (result,) = ran.document["results"]
    assert result["figures"]["agreement_top1"] == 1
    assert result["executed_precision"] == "f32"
    assert "small" in ran.err
    assert "CPU" in ran.err


def test_one_result_is_shown_with_its_interval_and_notes(ovtool, small, monkeypatch):
    note = make_note("few-inferences", "4 inferences")
    quality = Quality(
        "s", "CPU", "default", "bf16", {"quality_samples": 4.0, **SHARE}, (note,), "agreement_top1"
    )
    monkeypatch.setattr(api, "evaluate_each", lambda *_, **__: [quality])
    ran = ovtool("evaluate", small.folder, "--data", "noise")
    line = next(line for line in ran.err.splitlines() if line.startswith("warning: "))
    assert note.message in line
    assert note.evidence in line
    assert all(part in ran.out for part in ("4 samples", "CPU", "bf16", "0.500 [0.150, 0.850]"))


def test_devices_and_precisions_are_rows_of_one_table(ovtool, small, monkeypatch):
    figures = {"quality_samples": 4.0, **SHARE, "output_cosine": 0.9}
    divergence = Divergence("middle", "MatMul", 0.5, 0.001, 9)
    difference = DeviceDifference(0.25, 0.05, 4, divergence)
    results = [
        Quality("s", "GPU", "default", "f16", figures, (), AGREEMENT, difference=difference),
        Quality("s", "GPU", "exact", "f32", figures, (), AGREEMENT, difference=SMALL),
        Quality("s", "CPU", "exact", "f32", figures, (), AGREEMENT),
    ]
    calls = []
    monkeypatch.setattr(api, "evaluate_each", lambda *_, **kw: calls.append(kw) or results)
    arguments = ("--data", "noise", "--device", "GPU,CPU", "--precision", "default,exact")
    lines = ovtool("evaluate", small.folder, *arguments).out.splitlines()
    assert (calls[0]["devices"], calls[0]["precisions"]) == (["GPU", "CPU"], ["default", "exact"])
    first, interval, second, _, third, *_ = lines[3:]
    assert first.split() == ["GPU", "default", "f16", "0.500", "25.0%"]
    assert interval.split()[:2] == ["[0.150,", "0.850]"]
    assert "middle" in interval
    assert second.split() == ["GPU", "exact", "f32", "0.500", "0.100%"]
    assert third.split()[:4] == ["CPU", "exact", "f32", "0.500"]
    assert "%" not in third
    documents = ovtool("evaluate", small.folder, *arguments, "--json").document["results"]
    assert [d["difference"] and d["difference"]["error"] for d in documents] == [0.25, 0.001, None]
