"""How a comparison of two sweeps is printed."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from ovtool.cli import terminal
from ovtool.report import compare_text as text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovtool.report.compare import Comparison
    from ovtool.report.compare_text import Line

SHOWN = 60
"""Lines of a table; what is the same comes last and is left out first."""


def comparison(found: Comparison, out: str | None, *, json: bool) -> None:
    """Print a comparison: what came out, where the sides differ, then figure by figure."""
    if json:
        terminal.answer_json(found.to_json())
    else:
        _words(found)
    if out is not None:
        print(f"written: {out}", file=sys.stderr)


def _words(found: Comparison) -> None:
    say = functools.partial(terminal.say, terminal.console())
    if not found.same_machine:
        say(text.machines(found), style="bold")
    say(text.headline(found), style="bold")
    if found.same_machine:
        say(text.machines(found))
    if found.differences:
        terminal.table(("differs", "A", "B"), text.differences(found))
    _table(text.CHANGE_HEADINGS, text.change_lines(found))
    if found.quality:
        _table(text.QUALITY_HEADINGS, text.quality_lines(found))
    _list(say, "Size:", (text.size_text(one) for one in found.sizes))
    _list(say, "Failed:", text.failures(found))
    _list(say, "Only in A:", found.only_a)
    _list(say, "Only in B:", found.only_b)
    for line in text.method(found):
        say(line, style="dim")
    terminal.notes(found.notes)


def _table(headings: tuple[str, ...], lines: list[Line]) -> None:
    rows, before = [], ""
    for line in lines[:SHOWN]:
        label, *cells = line.cells
        rows.append(("" if label == before else label, *cells))
        before = label
    left = len(lines) - len(rows)
    more = f"{left} more lines: --out FILE.md and --json have them all" if left else ""
    terminal.table(headings, rows, more)


def _list(say: functools.partial[None], title: str, items: Iterable[str]) -> None:
    told = list(items)
    if told:
        say(title)
    for item in told[:SHOWN]:
        say(f"- {item}")
    if len(told) > SHOWN:
        say(f"- and {len(told) - SHOWN} more")
