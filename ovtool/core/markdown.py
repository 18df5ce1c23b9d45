"""Text and notes as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovtool.core.notes import Note


def escape(text: str) -> str:
    """Return text in one line, escaped for Markdown and for HTML inside it."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", flat)


def note(item: Note) -> str:
    """Return a note as an item of a list."""
    evidence = f" ({escape(item.evidence)})" if item.evidence else ""
    remedy = f" To do: {escape(item.remedy)}." if item.remedy else ""
    return f"- {escape(item.message)}{evidence}.{remedy}"
