"""The objective: one quantity or several with weights."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import OBJECTIVES, ChoiceSpec, parse_objective


def test_weights_decide_between_objectives(limited_table):
    def batch(text):
        return choose_from(limited_table, ChoiceSpec(objective=text)).winner["batch"]

    assert batch("throughput=99,latency=1") == 8
    assert batch("throughput=1,latency=9") == 1
    choice = choose_from(limited_table, ChoiceSpec(objective="throughput=1,latency=1"))
    assert "score" in choice.reasons[0]
    assert "samples/s" in choice.reasons[0], "and its parts"
    assert 0 < choice.confidence.row <= 1


@given(
    st.dictionaries(st.sampled_from(OBJECTIVES), st.floats(0.001, 1e3), min_size=1),
    st.floats(0.01, 100),
)
def test_weights_add_up_independently_of_their_scale(weights, factor):
    parsed = parse_objective(",".join(f"{k}={v!r}" for k, v in weights.items()))
    scaled = parse_objective(",".join(f"{k}={v * factor!r}" for k, v in weights.items()))
    assert math.isclose(sum(parsed.values()), 1)
    assert scaled == pytest.approx(parsed)


@pytest.mark.parametrize(
    "text", ["", "speed", "latency=0", "latency=-1", "latency=x", "latency=nan", "size,size", "a=1"]
)
def test_invalid_weights_are_errors(text):
    with pytest.raises(InputError):
        parse_objective(text)
