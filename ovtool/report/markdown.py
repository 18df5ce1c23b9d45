"""The report as Markdown: the recommendation, the table of variants, the charts, what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.markdown import escape, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.report.content import Content
    from ovtool.report.summary import Summary
    from ovtool.selection.choice import Choice


def markdown(content: Content) -> str:
    """Return the report; charts are referred to as ``charts/NAME.svg`` beside it."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield f"# {escape(content.title)}"
    yield ""
    if content.choice is None:
        yield f"**No recommendation** ({escape(content.objective)}). {escape(content.no_choice)}"
    else:
        yield from _choice(content.choice, content.objective)
    if content.explanations:
        yield from ("", "## Why so", "")
        yield from (note(one) for one in content.explanations)
    yield from ("", "## Variants", "")
    yield from ["Nothing was measured."] if content.summary is None else _table(content.summary)
    yield from ("", "## Charts", "")
    for chart in content.charts.drawn:
        yield f"![{escape(chart.title)}](charts/{chart.name}.svg)"
        yield ""
    for reason in content.charts.left_out:
        yield f"- Not drawn: {escape(reason)}"
    yield from ("", "## What could not run", "")
    for missing in content.background.not_there:
        yield f"- {escape(missing.device)} was not there: {escape(missing.reason)}"
    for failed in content.failed:
        yield f"- {escape(failed.label)}: {escape(failed.reason)}"
    if not (content.failed or content.background.not_there):
        yield "Every trial ran on every device that was asked for."
    if content.background.notes:
        yield from ("", "## Notes", "")
        yield from (note(one) for one in content.background.notes)
    yield from ("", "## Environments", "")
    yield from (f"- {one.name}: {escape(one.machine)}" for one in content.machines)


def _choice(choice: Choice, objective: str) -> Iterator[str]:
    yield f"**{escape(choice.headline)}** (asked for: {escape(objective)})"
    yield ""
    yield from (f"- {escape(reason)}" for reason in choice.reasons)
    yield f"- How sure: {escape(choice.confidence.sentence)}."
    if choice.ties:
        yield f"- Within the noise of: {escape(choice.ties_text)}."
    if choice.warnings:
        yield from ("", "Before relying on it:", "")
        yield from (note(one) for one in choice.warnings)
    if choice.runners_up:
        yield from ("", "Next best:", "")
        yield from (f"- {escape(r.label)}: {escape(r.lacks)}" for r in choice.runners_up)
    yield from ("", "```python", choice.snippet.rstrip(), "```")


def _table(summary: Summary) -> Iterator[str]:
    yield f"| {' | '.join(escape(heading) for heading in summary.headings)} |"
    yield f"|{' --- |' * len(summary.headings)}"
    for row in summary.rows:
        cells = ("<br>".join(escape(line) for line in c.split("\n")) for c in row.cells)
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield escape(summary.caption)
