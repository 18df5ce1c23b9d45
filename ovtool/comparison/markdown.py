"""A comparison of two sweeps as Markdown for a pull request: changes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.comparison import text
from ovtool.core.escaping import escape_md, format_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.comparison import Comparison


def to_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown; figures without a change are folded."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"## {escape_md(comparison.a.name)} → {escape_md(comparison.b.name)}"
    yield ""
    yield (
        f"**{escape_md(text.headline(comparison))}** {escape_md(text.machines_text(comparison))}"
    )
    yield from _section("Speed", text.changes_table(comparison))
    yield from _section("Quality", text.quality_table(comparison))
    yield from _list("Model size", text.size_lines(comparison))
    yield from _list("Failed", text.failure_lines(comparison))
    yield from _list("Only in A", comparison.only_a)
    yield from _list("Only in B", comparison.only_b)
    if comparison.differences:
        yield from ("", "### Differences between A and B", "")
        yield from _table(("", "A", "B"), text.difference_rows(comparison))
    if comparison.notes:
        yield from ("", "### Notes", "", *(format_note(n) for n in comparison.notes))
    yield from ("", "### Method", "")
    yield from (f"- {escape_md(line)}" for line in text.method_lines(comparison))


def _section(title: str, table: text.TextTable) -> Iterator[str]:
    if not table.rows:
        return
    changed = [row.cells for row in table.rows if not row.same]
    same = [row.cells for row in table.rows if row.same]
    yield from ("", f"### {title}", "")
    yield from _table(table.headings, changed) if changed else ("No change.",)
    if table.remarks:
        remarks = (
            f"({number}) {escape_md(remark)}" for number, remark in enumerate(table.remarks, 1)
        )
        yield from ("", "<br>".join(remarks))
    if same:
        yield from ("", f"<details><summary>{len(same)} the same</summary>", "")
        yield from _table(table.headings, same)
        yield from ("", "</details>")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(escape_md(cell) for cell in row)} |"


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"### {title}", "", *(f"- {escape_md(item)}" for item in items))
