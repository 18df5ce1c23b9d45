"""A comparison of two sweeps as JUnit XML, which CI servers show as tests: one for each figure.

The elements are those of the schema of the Apache Ant task ``junitreport``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ovtool.core.escaping import quote_controls
from ovtool.results.labels import column_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.comparison.comparison import Comparison

_Case = tuple[str, str, str, str]
"""Trial, figure, child element (``failure``, ``skipped`` or none), and its message."""


def to_junit(comparison: Comparison, limit_pct: float = 0.0) -> str:
    """Return the comparison as JUnit XML.

    A significant loss of at least ``limit_pct`` percent, and a trial that fails only in B, are
    failures.  Unknown figures, and trials that were not measured in both sweeps, are skipped tests.
    """
    cases = list(_cases(comparison, limit_pct))
    results = [result for *_, result, _ in cases]
    suite = ElementTree.Element(
        "testsuite",
        name=_text(f"ovtool compare {comparison.a.name} {comparison.b.name}"),
        tests=str(len(cases)),
        failures=str(results.count("failure")),
        errors="0",
        skipped=str(results.count("skipped")),
    )
    for trial, figure, result, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=_text(trial), name=_text(figure))
        if result:
            ElementTree.SubElement(case, result, message=_text(message))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suite, "unicode")}\n'


def _cases(comparison: Comparison, limit_pct: float) -> Iterator[_Case]:
    for change in comparison.all_changes:
        figure = column_label(change.column)
        if change.outcome == "worse" and change.loss_pct >= limit_pct:
            yield change.label, figure, "failure", f"{change.loss_pct:.1f}% worse: {change.reason}"
        elif change.outcome == "unknown":
            yield change.label, figure, "skipped", change.reason
        else:
            yield change.label, figure, "", ""
    for failure in comparison.failures:
        if failure.new:
            yield failure.label, "runs", "failure", f"fails in B: {failure.reason_b}"
        else:
            yield failure.label, "runs", "skipped", f"failed in A: {failure.reason_a}"
    for label in comparison.only_a:
        yield label, "runs", "skipped", "not in B"


def _text(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return quote_controls(text).encode("utf-8", "backslashreplace").decode().translate(_INVALID)


_INVALID = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
