"""Every operation of every opset has a rule, or a reason for having none."""

import importlib
from itertools import count

import pytest

from ovtool.graph import flops
from ovtool.graph.op_rules import RULES
from ovtool.graph.uncounted import NEVER, OPEN, SOMETIMES, why

NO_WORK = {"Parameter", "Constant", "Result"}
OTHER_NAMES = {"absolute": "abs", "ceil": "ceiling", "ifop": "if"}
"""Of functions that make an operation that another makes too, or that is a word of Python."""
NO_FUNCTION = {"RMS"}
"""Operations that only the plugins' own passes make."""


def plain(name):
    return name.replace("_", "").lower()


def opsets():
    for version in count(1):
        try:
            yield importlib.import_module(f"openvino.opset{version}")
        except ModuleNotFoundError:
            return


def made():
    """The operations that a function of some opset makes, in small letters."""
    names = {
        plain(name)
        for opset in opsets()
        for name, one in vars(opset).items()
        if callable(one) and not name.startswith("_")
    }
    return {OTHER_NAMES.get(name, name) for name in names}


def test_the_opsets_are_found():
    assert len(list(opsets())) >= 16
    assert {"convolution", "istft", "topk"} <= made()


def test_every_operation_has_a_rule_or_a_reason_for_none():
    known = {plain(name) for name in {*RULES, *NEVER, *NO_WORK}}
    assert made() - known == set()


def test_every_rule_and_every_reason_is_about_an_operation_that_exists():
    assert {name for name in {*RULES, *NEVER} if plain(name) not in made()} == NO_FUNCTION


def test_a_reason_for_none_excludes_a_rule_and_the_other_needs_one():
    assert set(NEVER).isdisjoint(RULES)
    assert set(SOMETIMES) <= set(RULES)
    assert set(flops.RULES) <= set(RULES)


@pytest.mark.parametrize(
    ("kind", "static", "reason"),
    [
        ("NonMaxSuppression", False, NEVER["NonMaxSuppression"]),
        ("ROIAlign", True, SOMETIMES["ROIAlign"]),
        ("ROIAlign", False, OPEN),
        ("MatMul", False, OPEN),
        ("SomethingNew", True, "no rule for this type"),
    ],
)
def test_the_reason_is_the_nearest(kind, static, reason):
    assert why(kind, static=static) == reason
