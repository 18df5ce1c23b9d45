"""A comparison of two sweeps as Markdown for a pull request: what changed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.report import compare_text as text
from ovtool.report.markdown import escape, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.report.compare import Comparison
    from ovtool.report.compare_text import Line


def markdown(found: Comparison) -> str:
    """Return the comparison; what is the same is folded away."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Comparison) -> Iterator[str]:
    yield f"## {escape(found.a.name)} → {escape(found.b.name)}"
    yield ""
    yield f"**{escape(text.headline(found))}** {escape(text.machines(found))}"
    changes = text.change_lines(found)
    yield from _folded("Speed", text.CHANGE_HEADINGS, changes)
    yield from _folded("Quality", text.QUALITY_HEADINGS, text.quality_lines(found))
    yield from _list("Size of the models", [text.size_text(one) for one in found.sizes])
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


def _folded(title: str, headings: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    shown = [line.cells for line in lines if not line.same]
    same = [line.cells for line in lines if line.same]
    yield from ("", f"### {title}", "")
    yield from _table(headings, shown) if shown else ("Nothing changed.",)
    if same:
        yield from ("", f"<details><summary>{len(same)} the same</summary>", "")
        yield from _table(headings, same)
        yield from ("", "</details>")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        cells = ("<br>".join(escape(part) for part in cell.split("\n")) for cell in row)
        yield f"| {' | '.join(cells)} |"


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"### {title}", "", *(f"- {escape(item)}" for item in items))
