"""A comparison of two sweeps as Markdown for a pull request: what changed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.comparison import text
from ovtool.core.markdown import escape, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.compare import Comparison
    from ovtool.comparison.text import Lines


def markdown(found: Comparison) -> str:
    """Return the comparison; what is the same is folded away."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Comparison) -> Iterator[str]:
    yield f"## {escape(found.a.name)} → {escape(found.b.name)}"
    yield ""
    yield f"**{escape(text.headline(found))}** {escape(text.machines(found))}"
    yield from _folded("Speed", text.changes(found))
    yield from _folded("Quality", text.quality(found))
    yield from _list("Size of the models", text.sizes(found))
    yield from _list("Failed", list(text.failures(found)))
    yield from _list("Only in A", found.only_a)
    yield from _list("Only in B", found.only_b)
    if found.differences:
        yield from ("", "### What differs between A and B", "")
        yield from _table(("", "A", "B"), text.differences(found))
    if found.notes:
        yield from ("", "### Notes", "", *(note(one) for one in found.notes))
    yield from ("", "### How it was told", "")
    yield from (f"- {escape(line)}" for line in text.method(found))


def _folded(title: str, table: Lines) -> Iterator[str]:
    if not table.lines:
        return
    shown = [line.cells for line in table.lines if not line.same]
    same = [line.cells for line in table.lines if line.same]
    yield from ("", f"### {title}", "")
    yield from _table(table.headings, shown) if shown else ("Nothing changed.",)
    if table.remarks:
        told = (f"({number}) {escape(one)}" for number, one in enumerate(table.remarks, 1))
        yield from ("", "<br>".join(told))
    if same:
        yield from ("", f"<details><summary>{len(same)} the same</summary>", "")
        yield from _table(table.headings, same)
        yield from ("", "</details>")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(escape(cell) for cell in row)} |"


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"### {title}", "", *(f"- {escape(item)}" for item in items))
