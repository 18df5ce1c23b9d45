"""The report as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.escaping import escape_md, format_note
from ovtool.selection.hosts import HEADINGS, MAX_HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.report.content import Content
    from ovtool.report.summary import Summary
    from ovtool.selection.choice import Choice


def format_markdown(content: Content) -> str:
    """Return the report; it refers to the charts as ``charts/NAME.svg``."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    yield from (f"# {escape_md(content.title)}", "")
    if content.choice is None:
        objective, reason = escape_md(content.objective), escape_md(content.no_choice)
        yield f"**No recommendation** ({objective}). {reason}"
    else:
        yield from _choice(content.choice, content.objective)
    if content.explanations:
        yield from ("", "## Explanations", "")
        yield from (format_note(explanation) for explanation in content.explanations)
    yield from ("", "## Variants", "")
    yield from ["Nothing was measured."] if content.summary is None else _table(content.summary)
    yield from ("", "## Charts", "")
    for chart in content.charts.drawn:
        yield from (f"![{escape_md(chart.title)}](charts/{chart.name}.svg)", "")
    for omitted in content.charts.omitted:
        yield f"- Not drawn: {escape_md(omitted.title)} ({escape_md(omitted.reason)})"
    for rows in content.charts.excluded_rows:
        yield f"- Not in the charts: {escape_md(rows)}"
    yield from ("", "## Failed trials and unavailable devices", "")
    for device in content.table.unavailable:
        yield f"- {escape_md(device.device)} was not available: {escape_md(device.reason)}"
    for failed in content.failed:
        yield f"- {escape_md(failed.label)}: {escape_md(failed.reason)}"
    if not (content.failed or content.table.unavailable):
        yield "None: all trials ran on all requested devices."
    if content.table.notes:
        yield from ("", "## Notes", "")
        yield from (format_note(each) for each in content.table.notes)
    yield from ("", "## Environments", "")
    yield from (f"- {env.name}: {escape_md(env.machine)}" for env in content.environments)


def _choice(choice: Choice, objective: str) -> Iterator[str]:
    for doubt in choice.doubts:
        yield from (f"{doubt.title}: {escape_md(doubt.text)}", "")
    yield from (
        f"**{escape_md(choice.headline)}** (objective: {escape_md(objective)})",
        "",
    )
    yield from (f"- {escape_md(reason)}" for reason in choice.reasons)
    if choice.passed_over_text:
        yield f"- Passed over {escape_md(choice.passed_over_text)}."
    yield f"- Confidence: {escape_md(choice.confidence.sentence)}."
    if choice.ties:
        yield f"- No significant difference from: {escape_md(choice.ties_text)}."
    if choice.warnings:
        yield from ("", "Warnings:", "")
        yield from (format_note(warning) for warning in choice.warnings)
    if choice.runners_up:
        yield from ("", "Runners-up:", "")
        yield from (f"- {escape_md(r.label)}: {escape_md(r.shortfall)}" for r in choice.runners_up)
    if choice.hosts:
        yield from ("", "Best row of each machine:", "")
        yield from _lines_of_table(HEADINGS, [host.cells for host in choice.hosts[:MAX_HOSTS]])
        if len(choice.hosts) > MAX_HOSTS:
            yield from ("", f"{len(choice.hosts) - MAX_HOSTS} more machines.")
    yield from ("", "```python", choice.snippet.rstrip(), "```")


def _lines_of_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(escape_md(heading) for heading in headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        cells = ("<br>".join(escape_md(line) for line in cell.split("\n")) for cell in row)
        yield f"| {' | '.join(cells)} |"


def _table(summary: Summary) -> Iterator[str]:
    yield from _lines_of_table(summary.headings, [row.cells for row in summary.rows])
    yield from ("", escape_md(summary.caption))
