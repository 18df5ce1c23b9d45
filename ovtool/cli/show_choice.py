"""How a recommendation is printed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.core.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.results.rows import Row
    from ovtool.selection.choice import Choice
    from ovtool.selection.pareto import Front


def choice(found: Choice, *, json: bool) -> None:
    """Print a recommendation."""
    if json:
        terminal.answer_json(found.to_json())
        return
    say = functools.partial(terminal.say, terminal.console())
    say(found.headline, style="bold")
    for reason in found.reasons:
        say(f"- {reason}")
    say(f"How sure: {found.confidence.sentence}.")
    if found.ties:
        say(f"Within the noise of it: {found.ties_text}.")
    settings = ", ".join(f'"{k}": "{v}"' for k, v in found.properties.items())
    say(f"OpenVINO properties: {{{settings}}}")
    if found.explanations:
        say("Why so:")
    for note in found.explanations:
        say(f"- {note.message} ({note.evidence})" + (f"; {note.remedy}" if note.remedy else ""))
    if found.runners_up:
        say("Runners-up:")
    for runner in found.runners_up:
        say(f"- {runner.label}: {runner.lacks}")
    several = [(found.label, found.winner), *((r.label, r.row) for r in found.runners_up)]
    _table("recommended, next best", several, found.front.columns)
    terminal.notes(found.warnings)


def front(found: Front) -> None:
    """Print a Pareto front."""
    rows = list(zip(found.labels, found.rows, strict=True))
    caption = (
        f"{len(rows)} of {found.of} rows: no other one is at least as good in everything that is"
        " known of them, and better in something."
    )
    if found.left_out:
        from ovtool.results.wording import words

        caption += f" Measured nowhere: {', '.join(words(n) for n in found.left_out)}."
    _table("Pareto front", rows, found.columns, caption)


def _table(
    heading: str, rows: Sequence[tuple[str, Row]], columns: Sequence[str], caption: str = ""
) -> None:
    from ovtool.results.wording import figure_text
    from ovtool.results.wording import heading as column_heading

    shown = [BY_NAME[name] for name in columns]
    headings = [column_heading(name) for name in columns]
    cells = [
        (
            label,
            *(
                figure_text(row, c.name).removesuffix(f" {c.unit}").replace(" [", "\n[")
                for c in shown
            ),
        )
        for label, row in rows
    ]
    terminal.table((heading, *headings), cells, caption, right=headings)
