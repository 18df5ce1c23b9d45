"""A comparison of two sweeps as sentences and tables, for the terminal and for Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.comparison.figures import LEVEL, OUTCOMES
from ovtool.comparison.quality import SAME_OUTPUTS
from ovtool.core import units
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from ovtool.comparison.comparison import Comparison
    from ovtool.comparison.figures import Change
    from ovtool.comparison.quality import QualityChange
    from ovtool.core.statistics import Interval


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of a table; ``same`` rows have no change. The last cell is the outcome and remarks."""

    cells: tuple[str, ...]
    same: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table, and the remarks that its last column refers to by number, from 1."""

    headings: tuple[str, ...]
    rows: tuple[TextRow, ...]
    remarks: tuple[str, ...]


def headline(comparison: Comparison) -> str:
    """Return the result in one sentence."""
    outcomes = [change.outcome for change in comparison.changes]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in OUTCOMES if name in outcomes)
    figures = units.count_text(len(outcomes), "figure")
    trials = units.count_text(len({change.label for change in comparison.changes}), "trial")
    broken = sum(failure.new for failure in comparison.failures)
    failing = f"; {units.count_text(broken, 'trial')} of A failed in B" if broken else ""
    sides = f"B ({comparison.b.name}) against A ({comparison.a.name})"
    if comparison.nothing_decided:
        sides = f"Cannot tell: {sides}"
    elif not {"better", "worse"} & {change.outcome for change in comparison.all_changes}:
        sides = f"No difference found: {sides}"
    return f"{sides}: {counts} of {figures} of {trials}{failing}."


def machines_text(comparison: Comparison) -> str:
    """Return the machines of both sweeps."""
    a, b = comparison.a.machine, comparison.b.machine
    if comparison.same_machine and a == b:
        return f"Both on {a}."
    if comparison.same_machine:
        return f"The same machine in two states. A: {a}. B: {b}."
    names = ", ".join(d.name for d in comparison.differences if d.of_machine)
    return f"The machines differ ({names}): the ratios include that. A: {a}. B: {b}."


def method_lines(comparison: Comparison) -> tuple[str, ...]:
    """Return the meaning of the outcomes and the smallest detectable loss."""
    outcomes = (
        f"Better or worse: p < {LEVEL:g} after Holm's correction for all figures. Same: the 95%"
        f" interval (in brackets) lies within {comparison.within_pct:g}% of 1. Otherwise unknown."
    )
    detectable = detectable_text(comparison)
    if not math.isnan(comparison.detectable_pct):
        detectable += " Reruns of A (--rerun) measure the variation between runs."
    return outcomes, comparison.noise.text, detectable


def detectable_text(comparison: Comparison) -> str:
    """Return how large a loss may have been missed."""
    if math.isnan(comparison.detectable_pct):
        return "A loss of any size may have been missed: no figure of speed can be decided."
    pct = units.text(comparison.detectable_pct, 2)
    return f"A loss of speed below {pct}% may have been missed (median over the figures)."


def changes_table(comparison: Comparison) -> TextTable:
    """Return the figures of each trial, the worst first."""
    numbers: dict[str, int] = {}
    rows = tuple(
        _row(change, f", {BY_NAME[change.column].unit}", change.ratio, change.remarks, numbers)
        for change in comparison.changes
    )
    return TextTable(("trial", "figure", "A", "B", "B / A", "B is"), rows, tuple(numbers))


def quality_table(comparison: Comparison) -> TextTable:
    """Return the quality of each variant."""
    numbers: dict[str, int] = {}
    rows = tuple(
        _row(change, "", change.difference, tuple(filter(None, [change.remark])), numbers)
        for change in comparison.quality
    )
    return TextTable(("variant", "quality", "A", "B", "B - A", "B is"), rows, tuple(numbers))


def _row(
    change: Change | QualityChange,
    unit: str,
    interval: Interval,
    remarks: tuple[str, ...],
    numbers: dict[str, int],
) -> TextRow:
    """Return the row of a change; new remarks are added to ``numbers``."""
    shown = [str(numbers.setdefault(remark, len(numbers) + 1)) for remark in remarks]
    cells = (
        change.label,
        f"{BY_NAME[change.column].title}{unit}",
        units.text(change.a.value),
        units.text(change.b.value),
        units.interval_text(interval.value, interval.low, interval.high),
        f"{change.outcome} ({', '.join(shown)})" if shown else change.outcome,
    )
    return TextRow(
        cells, change.outcome == "same" and set(remarks) <= {SAME_OUTPUTS}, change.outcome
    )


def size_lines(comparison: Comparison) -> list[str]:
    """Return the changes of model sizes."""
    return [
        f"{size.variant}: {units.text(size.a_mib)} MiB in A, {units.text(size.b_mib)} MiB in B"
        f" ({size.change_pct:+.1f}%)"
        for size in comparison.sizes
        if size.a_mib != size.b_mib
    ]


def difference_rows(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return the facts that differ as (name, A, B)."""
    return [(d.name, d.a or units.UNKNOWN, d.b or units.UNKNOWN) for d in comparison.differences]


def failure_lines(comparison: Comparison) -> list[str]:
    """Return the failed trials, those that ran in A first."""
    lines = []
    for failure in sorted(comparison.failures, key=lambda failure: not failure.new):
        reasons = {"A": failure.reason_a, "B": failure.reason_b}
        sides = [f"in {side}: {reason}" for side, reason in reasons.items() if reason]
        lines.append(f"{failure.label}: failed {'; '.join(sides)}")
    return lines
