"""Text of models as text on a terminal, in CSV and in Markdown."""

import csv
import io
import re
import unicodedata

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.escaping import escape_md, format_note, quote_cell, quote_column, quote_controls
from ovtool.core.notes import Note


@given(st.text())
def test_quoted_text_has_no_controls(text):
    quoted = quote_controls(text)
    assert not [c for c in quoted if unicodedata.category(c) == "Cc" and c not in "\t\n"]
    assert not set(quoted) & set("\u202e\u2066\u2028")
    assert text == quoted or re.search(r"\\x|\\u|\\r", quoted)


def test_escape_sequences_become_visible():
    assert quote_controls("\x1b[2Ja\r\x9b\u202eb") == r"\x1b[2Ja\r\x9b\u202eb"


@given(st.text(alphabet=st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"])))
def test_no_cell_is_a_formula(text):
    stream = io.StringIO()
    csv.writer(stream).writerow([quote_cell(text)])
    (row,) = csv.reader(io.StringIO(stream.getvalue()))
    assert not row[0].startswith(("=", "+", "-", "@", "\t"))
    assert row[0].removeprefix("'") == text.removeprefix("'") or row[0] == f"'{text}"


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text):
    escaped = escape_md(text)
    assert len(escaped.splitlines()) <= 1
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_]", escaped)


def test_a_note_starts_with_a_capital_letter():
    assert format_note(Note("id", "it wobbles", "5%", "wait")) == "- It wobbles (5%). To do: wait."


def test_a_column_is_quoted_like_its_cells():
    cells = ["=1", None, "a", "-b", "\tc", "+", ""]
    column = pa.chunked_array([pa.array(cells, pa.string())])
    expected = [None if cell is None else quote_cell(cell) for cell in cells]
    assert quote_column(column).to_pylist() == expected
    numbers = pa.chunked_array([[-1.0, 2.0]])
    assert quote_column(numbers) is numbers
