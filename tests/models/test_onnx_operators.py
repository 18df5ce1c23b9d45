"""The operator tests of the onnx package: no crash, and no wrong result that is called checked."""

from collections import defaultdict

import pytest

from tests.models.onnx_operators import convert_all, load_cases, operators_of

pytestmark = pytest.mark.slow

PARTS = 4


@pytest.fixture(scope="module")
def operators():
    """The first and the last test of every operator; ``onnx_operators`` runs all of them."""
    cases = load_cases()
    names = operators_of(cases)
    by_operator = defaultdict(list)
    for case in cases:
        by_operator[names[case.name]].append(case)
    chosen = {tests[place].name for tests in by_operator.values() for place in (0, -1)}
    assert len(by_operator) > 150
    return [case for case in cases if case.name in chosen], names


@pytest.mark.parametrize("part", range(PARTS))
def test_operators_convert_right_or_with_an_error(operators, part):
    cases, names = operators
    results = list(convert_all(cases[part::PARTS], names))
    assert [r for r in results if r.outcome == "crash"] == []
    assert [r for r in results if r.analysis] == []
    assert [r for r in results if r.outcome == "wrong-checked"] == []
    assert sum(r.outcome == "equal" for r in results) > len(results) / 2
