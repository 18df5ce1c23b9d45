"""The table of variants."""

import re

import pytest

from ovtool.core.errors import NothingMeasuredError
from ovtool.report.summary import summarize_table
from ovtool.results.table import load_results
from tests.helpers import sweeps


@pytest.mark.slow
def test_summary_has_a_row_for_each_configuration(tmp_path):
    summary = summarize_table(load_results([sweeps.whole(tmp_path / "s")]))
    assert [row.name.split("\n")[0] for row in summary.rows] == [
        "fp32 · f32",
        "fp32 · default (bf16)",
        "int8",
        "int8-weights",
    ]
    int8 = summary.rows[2]
    assert int8.name.endswith("4.83 MiB")
    assert re.fullmatch(r"0\.940\n\[0\.\d+,0\.\d+\]", int8.quality)
    assert re.search(r"p50 3\.50 \[.*\]\np99 4\.0\d \[.*\]\nbatch 1 latency", int8.latency)
    assert "batch 8 throughput" in int8.throughput
    assert re.search(r"f32 2\.\d\d \[.*\]\ndefault 1\.\d\d \[.*\]", int8.speedup)
    assert summary.headings[1] == "agreement"


@pytest.mark.slow
def test_the_caption_says_why_the_metric_decides(tmp_path):
    first = sweeps.whole(tmp_path / "a", name="a", quality_reason="reason 1")
    other = sweeps.whole(tmp_path / "b", name="b", quality_reason="reason 2")
    assert "reason 1" in summarize_table(load_results([first])).caption
    caption = summarize_table(load_results([first, other])).caption
    assert "a: reason 1" in caption
    assert "b: reason 2" in caption


def test_summary_fits_eighty_columns(tmp_path):
    summary = summarize_table(load_results([sweeps.whole(tmp_path / "s")]))
    words = [
        max(len(word) for row in summary.rows for word in re.split(r"[ \n]", row.cells[i]))
        for i in range(len(summary.headings))
    ]
    assert sum(words) + len(words) <= 80


def test_summary_without_measurements_raises(tmp_path):
    with pytest.raises(NothingMeasuredError):
        summarize_table(load_results([sweeps.make(tmp_path / "s", [])]))


def test_variants_with_the_same_name_get_their_ids(tmp_path):
    twin = sweeps.Model("other", 9.0, {"default": 2.0})
    models = (*sweeps.MODELS, twin)
    measurements = [sweeps.measure(t, models) for t in sweeps.trials(models, batches=(1,))]
    table = load_results([sweeps.make(tmp_path / "s", measurements, models)])
    table.rows["variant"] = table.rows["variant"].replace("other", "int8")
    names = [row.name for row in summarize_table(table).rows]
    assert len(set(names)) == len(names)
    assert f"int8 · {twin.id[:6]}" in " ".join(names)
