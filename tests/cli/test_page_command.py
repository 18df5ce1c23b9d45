"""The command on the page of a report works as it is copied, in every folder."""

import os
import shlex

import pytest

from ovtool.report.content import Sources, build_content
from ovtool.report.row_details import row_details
from ovtool.results.table import load_results
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps


@pytest.mark.slow
def test_command_of_the_page_chooses_the_same_row(ovtool, tmp_path, monkeypatch):
    folder = sweeps.whole(tmp_path / "my sweep", batches=(1, 4))
    prices = tmp_path / "prices of 2026.yaml"
    prices.write_text("currency: EUR\nprices: {'*': 0.08}\n")
    spec = ChoiceSpec(
        objective="cost=2,latency=1", prices=str(prices), percentile=50, min_throughput_fps=1e-5
    )
    table = load_results([folder])
    sources = Sources.of([os.path.relpath(folder)], [], tmp_path / "out")
    content = build_content(table, spec, sources)
    details = row_details(content)
    program, verb, *words = shlex.split(f"{details['command']} {details['options']}")
    assert (program, verb) == ("ovtool", "choose")
    monkeypatch.chdir(tmp_path.parent)
    chosen = ovtool("choose", *words, "--json").document
    assert chosen["winner"]["trial"] == content.choice.winner["trial"]
    assert [doubt["kind"] for doubt in chosen["doubts"]] == [d.kind for d in content.choice.doubts]
