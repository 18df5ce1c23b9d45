"""Text of models and files, made safe for the terminal, CSV and Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from ovtool.core.notes import Note

# C0 and C1 without tab and line end, separators, and marks that reorder text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMULA = "^[=+\\-@\t\r]"


def quote_controls(text: str) -> str:
    r"""Return text with control characters as escapes, so that it cannot control a terminal.

    Tabs and line ends stay.

    >>> quote_controls("a\x1b]0;title\x07")
    'a\\x1b]0;title\\x07'
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def quote_nested(value: Any) -> Any:
    """Return text, or lists and dictionaries of text, with control characters as escapes.

    XML forbids them, Vega cannot parse its own expressions with some, such as U+2028, and others
    reorder the text of a page.  Text that is markup, and any other value, stays.
    """
    if isinstance(value, str):
        return value if hasattr(value, "__html__") else quote_controls(value)
    if isinstance(value, dict):
        return {quote_nested(name): quote_nested(each) for name, each in value.items()}
    return [quote_nested(each) for each in value] if isinstance(value, list | tuple) else value


def quote_cell(text: str) -> str:
    """Return a text cell of a CSV file that no spreadsheet takes for a formula.

    A leading apostrophe marks text in spreadsheets (OWASP, "CSV Injection").

    >>> quote_cell("=1+2"), quote_cell("conv1")
    ("'=1+2", 'conv1')
    """
    return f"'{text}" if re.match(_FORMULA, text) else text


def quote_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Apply :func:`quote_cell` to a column of a table; a column of numbers stays."""
    import pyarrow as pa
    from pyarrow import compute

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    formulas = compute.match_substring_regex(column, _FORMULA)
    if not compute.any(formulas).as_py():
        return column
    quoted = compute.replace_substring_regex(column, "^", "'", max_replacements=1)
    return compute.if_else(formulas, quoted, column)


def escape_md(text: str) -> str:
    """Return text in one line, escaped for Markdown and for HTML inside it."""
    flat = quote_controls(" ".join(text.split()))
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", flat)


def format_note(note: Note) -> str:
    """Return a note as an item of a list in Markdown."""
    message = escape_md(note.message)
    evidence = f" ({escape_md(note.evidence)})" if note.evidence else ""
    remedy = f" To do: {escape_md(note.remedy)}." if note.remedy else ""
    return f"- {message[:1].upper()}{message[1:]}{evidence}.{remedy}"
