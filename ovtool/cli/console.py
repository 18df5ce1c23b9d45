"""What every verb prints with: consoles, tables, JSON, notes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ovtool.core import units

if TYPE_CHECKING:
    from rich.console import Console

    from ovtool.core.measurement import Note


def console(*, stderr: bool = False) -> Console:
    """Return a console; one that is no terminal gets plain text, wide enough not to be cut."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        return Console(stderr=stderr, highlight=False, width=max(made.width, 100))
    return made


def say(to: Console, text: str, style: str | None = None) -> None:
    """Print a line: its words wrap on a terminal, and elsewhere it stays one line."""
    to.print(text, markup=False, style=style, soft_wrap=not to.is_terminal)


def answer_json(document: Any) -> None:
    """Print one JSON document; what is not a number is null."""
    print(json.dumps(units.finite(document), indent=2, default=str))


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    right: Collection[str] = (),
) -> None:
    """Print a table; a cell may have several lines, and folds before anything is cut.

    Args:
        headings: Of the columns.
        rows: Their cells.
        caption: Below it.
        right: Headings of the columns that are set to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        justify: Literal["right", "left"] = "right" if heading in right else "left"
        drawn.add_column(heading, overflow="fold", justify=justify)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    shown = console()
    shown.print(drawn)
    if caption:
        say(shown, caption, "dim")


def notes(found: Sequence[Note]) -> None:
    """Print notes on stderr, a line each."""
    shown = console(stderr=True)
    for note in found:
        parts = (note.message, note.evidence, note.remedy)
        say(shown, f"warning: {'; '.join(p for p in parts if p)}")
