from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.comparison import Failure
from ovtool.comparison.junit import to_junit
from tests.helpers.compared_sweeps import run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """B at 80% of the speed of A for batch 4; one trial fails in B, one is only in A."""
    folder = tmp_path_factory.mktemp("junit")
    a = run(folder / "a")
    b = run(folder / "b", lambda trial: 0.8 if trial.batch == 4 else 1.0)
    compared = compare_sweeps(a, b)
    failures = (Failure("new", "", "out of memory"), Failure("old", "crash", "crash"))
    return replace(compared, failures=failures, only_a=("gone",))


def test_each_figure_is_a_test_with_the_result_of_the_comparison(comparison):
    suite = ElementTree.fromstring(to_junit(comparison, 5.0))
    cases = suite.findall("testcase")
    results = [case[0].tag if len(case) else "" for case in cases]
    changes = (*comparison.changes, *comparison.quality)
    worse = [c for c in changes if c.outcome == "worse" and c.loss_pct >= 5]
    unknown = [c for c in changes if c.outcome == "unknown"]
    assert worse
    assert unknown
    assert results.count("failure") == len(comparison.regressions(5.0)) == len(worse) + 1
    assert results.count("skipped") == len(unknown) + 2
    assert len(cases) == len(changes) + 3
    assert suite.get("tests") == str(len(cases))
    assert suite.get("failures") == str(results.count("failure"))
    assert suite.get("skipped") == str(results.count("skipped"))
    assert {(c.get("classname"), c[0].tag) for c in cases if c.get("name") == "runs"} == {
        ("new", "failure"),
        ("old", "skipped"),
        ("gone", "skipped"),
    }


def test_a_loss_below_the_limit_passes(comparison):
    suite = ElementTree.fromstring(to_junit(comparison, 90.0))
    assert suite.get("failures") == "1"


@given(st.text())
def test_any_name_is_valid_xml(comparison, name):
    named = replace(comparison, only_a=(name,), failures=())
    suite = ElementTree.fromstring(to_junit(named).encode())
    printable = name.isprintable()
    assert not printable or suite.findall("testcase")[-1].get("classname") == name
