"""Text as Markdown."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.markdown import escape


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text):
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_]", escaped)
