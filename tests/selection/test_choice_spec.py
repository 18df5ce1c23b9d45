"""Objective and limits of a choice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovtool.core.errors import InputError
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import OBJECTIVES, ChoiceSpec, parse_objective
from tests.helpers import sweeps


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_results([sweeps.whole(tmp_path_factory.mktemp("t") / "s")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"), [({"objective": "thruput"}, "thruput"), ({"percentile": 95}, "95")]
)
def test_invalid_arguments_are_errors(table, arguments, message):
    with pytest.raises(ValidationError, match=message):
        choose_from(table, ChoiceSpec(**arguments))


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


def test_cost_needs_prices(limited_table):
    with pytest.raises(ValidationError, match="prices"):
        ChoiceSpec(max_cost=1)
    with pytest.raises(ValidationError, match="prices"):
        choose_from(limited_table, ChoiceSpec(objective="cost"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_latency_ms": 0},
        {"max_latency_ms": math.nan},
        {"min_throughput_fps": -1},
        {"max_model_mib": math.inf},
        {"min_quality": float("nan")},
    ],
)
def test_invalid_limits_are_errors(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ChoiceSpec(**wrong)
