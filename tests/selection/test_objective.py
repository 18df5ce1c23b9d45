"""The objective: one quantity or several with weights."""

from __future__ import annotations

from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec


def test_weights_decide_between_objectives(limited_table):
    def batch(text):
        return choose_from(limited_table, ChoiceSpec(objective=text)).winner["batch"]

    assert batch("throughput=99,latency=1") == 8
    assert batch("throughput=1,latency=9") == 1
    choice = choose_from(limited_table, ChoiceSpec(objective="throughput=1,latency=1"))
    assert "score" in choice.reasons[0]
    assert "samples/s" in choice.reasons[0], "and its parts"
    assert 0 < choice.confidence.row <= 1
