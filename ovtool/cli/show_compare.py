"""How a comparison of two sweeps is printed."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.comparison import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovtool.comparison.compare import Comparison
    from ovtool.comparison.text import Lines

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
    for lines in (text.changes(found), text.quality(found)):
        if lines.lines:
            _table(lines)
    _list(say, "Size:", text.sizes(found))
    _list(say, "Failed:", text.failures(found))
    _list(say, "Only in A:", found.only_a)
    _list(say, "Only in B:", found.only_b)
    for line in text.method(found):
        say(line, style="dim")
    terminal.notes(found.notes)


def _table(table: Lines) -> None:
    rows, before = [], ""
    for line in table.lines[:SHOWN]:
        label, *cells = line.cells
        rows.append(("" if label == before else label, *cells))
        before = label
    left = len(table.lines) - len(rows)
    remarks = [f"({number}) {remark}" for number, remark in enumerate(table.remarks, 1)]
    more = [f"{left} more lines: --out FILE.md and --json have them all"] if left else []
    terminal.table(table.headings, rows, "\n".join([*remarks, *more]))


def _list(say: functools.partial[None], title: str, items: Iterable[str]) -> None:
    told = list(items)
    if told:
        say(title)
    for item in told[:SHOWN]:
        say(f"- {item}")
    if len(told) > SHOWN:
        say(f"- and {len(told) - SHOWN} more")
