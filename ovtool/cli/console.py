"""Output of all verbs: lines, tables, JSON and notes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.escaping import quote_controls
from ovtool.core.terminal import WARNING, get_console, write_line, write_status

if TYPE_CHECKING:
    from ovtool.core.notes import Note

JSON_SCHEMA = 1
"""Version of the JSON documents; it changes when a field is removed or changes its meaning."""
_MIN_NAME_WIDTH = 12
"""Columns that a layer name keeps even on a narrow terminal."""


def print_line(text: str, style: str | None = None) -> None:
    """Print a line of the answer on stdout."""
    write_line(get_console(), text, style)


def text_width() -> int:
    """Return the width that text on stdout has, in columns."""
    return get_console().width


def print_unwrapped(text: str, end: str = "\n") -> None:
    """Print text on stdout as it is, for paths and programs that are copied."""
    print(quote_controls(text), end=end)


def print_status(text: str) -> None:
    """Print progress or a warning on stderr, where it does not mix with the answer."""
    write_status(get_console(stderr=True), text)


def print_question(text: str) -> None:
    """Print a line on stderr that the user needs for an answer."""
    write_line(get_console(stderr=True), text)


def print_notes(notes: Sequence[Note]) -> None:
    """Print notes on stderr, one line per note."""
    for note in notes:
        print_status(f"{WARNING}{note.text}")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document with its schema version; NaN and infinity become null."""
    versioned = {"schema": JSON_SCHEMA, **document}
    print(json.dumps(units.finite(versioned), indent=2, default=str))


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    right: Collection[str] = (),
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table; long cells fold.

    ``right`` names the right-aligned columns; ``styles`` has the style of a cell by its text.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(
            Text(quote_controls(heading)),
            overflow="fold",
            justify="right" if heading in right else "left",
        )
    for row in rows:
        table.add_row(*(Text(quote_controls(c), (styles or {}).get(c, "")) for c in row))
    get_console().print(table)
    if caption:
        print_line(caption, "dim")


def name_width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the width that the other columns of a table leave for a column of names."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return max(_MIN_NAME_WIDTH, get_console().width - sum(widths) - 2 * len(widths) - 2)


def print_layer_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    names: Sequence[str],
    caption: str = "",
    right: Collection[str] = (),
) -> None:
    """Print a table with the layer names as last column, shortened to the remaining width."""
    room = name_width(headings[:-1], rows)
    cells = [[*row, units.shortened(name, room)] for row, name in zip(rows, names, strict=True)]
    print_table(headings, cells, caption, right)
