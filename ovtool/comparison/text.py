"""A comparison of two sweeps in words: what the terminal and the Markdown say alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.comparison.compare import LEVEL, OUTCOMES
from ovtool.core import units
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ovtool.comparison.compare import Comparison
    from ovtool.comparison.figures import Change


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table in text, and whether it tells of a change or of something unknown."""

    cells: tuple[str, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Lines:
    """A table in text, and the remarks that its last column refers to by number, from 1."""

    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]


def headline(found: Comparison) -> str:
    """Return in one sentence what came out."""
    outcomes = [one.outcome for one in found.changes]
    told = ", ".join(f"{outcomes.count(name)} {name}" for name in OUTCOMES if name in outcomes)
    trials = len({one.label for one in found.changes})
    broken = sum(one.new for one in found.failures)
    failing = f"; {_counted(broken, 'trial')} of A failed in B" if broken else ""
    return (
        f"B ({found.b.name}) against A ({found.a.name}): {told} of"
        f" {_counted(len(outcomes), 'figure')} of {_counted(trials, 'trial')}{failing}."
    )


def machines(found: Comparison) -> str:
    """Return on which machines the two were measured."""
    both = f"A: {found.a.machine}. B: {found.b.machine}."
    if found.a.machine == found.b.machine and found.same_machine:
        return f"Both on {found.a.machine}."
    if found.same_machine:
        return f"One machine in two states. {both}"
    names = ", ".join(one.name for one in found.differences if one.of_machine)
    return f"The machines differ ({names}), so the ratios tell of them too. {both}"


def method(found: Comparison) -> Iterator[str]:
    """Yield what the outcomes mean, and what could not have been seen."""
    yield (
        f"Better and worse: p below {LEVEL:g} after Holm's correction for all figures. Same: the"
        f" whole 95 % interval (brackets) is within {found.within_pct:g} % of 1. Else unknown."
    )
    yield found.noise.text
    yield (
        f"A loss of less than {units.text(found.detectable_pct, 2)} % (median over the figures)"
        " would not be told from that variation; reruns of A (--rerun) measure it instead."
    )


def changes(found: Comparison) -> Lines:
    """Return the figures of each trial, the worst first."""
    numbers: dict[str, int] = {}
    lines = tuple(
        Line(
            (
                one.label,
                _figure(one),
                units.text(one.a.value),
                units.text(one.b.value),
                units.interval_text(one.ratio.value, one.ratio.low, one.ratio.high),
                _outcome(one.outcome, one.remarks, numbers),
            ),
            one.outcome == "same" and not one.remarks,
        )
        for one in found.changes
    )
    return Lines(("trial", "figure", "A", "B", "B / A", "B is"), lines, tuple(numbers))


def quality(found: Comparison) -> Lines:
    """Return the quality of each variant."""
    numbers: dict[str, int] = {}
    lines = tuple(
        Line(
            (
                one.label,
                BY_NAME[one.column].title,
                units.text(one.a.value),
                units.text(one.b.value),
                units.interval_text(one.difference.value, one.difference.low, one.difference.high),
                _outcome(one.outcome, filter(None, [one.remark]), numbers),
            ),
            one.outcome == "same",
        )
        for one in found.quality
    )
    return Lines(("variant", "quality", "A", "B", "B - A", "B is"), lines, tuple(numbers))


def sizes(found: Comparison) -> list[str]:
    """Return the variants whose files have another size, and by how much."""
    return [
        f"{one.variant}: {units.text(one.a_mib)} MiB in A, {units.text(one.b_mib)} MiB in B"
        f" ({one.change_pct:+.1f} %)"
        for one in found.sizes
        if one.a_mib != one.b_mib
    ]


def differences(found: Comparison) -> list[tuple[str, str, str]]:
    """Return the facts that differ as (name, A, B)."""
    return [(d.name, d.a or units.UNKNOWN, d.b or units.UNKNOWN) for d in found.differences]


def failures(found: Comparison) -> Iterator[str]:
    """Yield the trials that failed, those that ran in A first."""
    for one in sorted(found.failures, key=lambda one: not one.new):
        sides = [f"in {s}: {why}" for s, why in (("A", one.reason_a), ("B", one.reason_b)) if why]
        yield f"{one.label}: failed {'; '.join(sides)}"


def _figure(one: Change) -> str:
    column = BY_NAME[one.column]
    return f"{column.title}, {column.unit}"


def _outcome(outcome: str, remarks: Iterable[str], numbers: dict[str, int]) -> str:
    """Return an outcome with the numbers of its remarks, which ``numbers`` gathers."""
    told = [str(numbers.setdefault(remark, len(numbers) + 1)) for remark in remarks]
    return f"{outcome} ({', '.join(told)})" if told else outcome


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
