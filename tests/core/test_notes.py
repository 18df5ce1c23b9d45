"""The table of notes against the calls of the package."""

from __future__ import annotations

import ast
import re
import string
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import ovtool
from ovtool.core import notes
from ovtool.core.notes import NOTES, make_note


@cache
def calls_by_function() -> defaultdict[str, list[tuple[str, ast.Call]]]:
    """Return every call of a named function in the package, with its place."""
    root, found = Path(ovtool.__file__).parent, defaultdict(list)
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found[node.func.id].append((f"{path.relative_to(root)}:{node.lineno}", node))
    return found


def calls(function: str = "make_note") -> list[tuple[str, ast.Call]]:
    return calls_by_function()[function]


def ids_of(call: ast.Call) -> set[str]:
    """Return the ids that a call can make: a literal, or all that an f-string matches."""
    first = call.args[0]
    if isinstance(first, ast.Constant):
        return {str(first.value)} & NOTES.keys()
    assert isinstance(first, ast.JoinedStr), "an id is a literal or an f-string"
    parts = [
        re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z0-9]+" for p in first.values
    ]
    return {known for known in NOTES if re.fullmatch("".join(parts), known)}


def fields_of(note_id: str) -> set[str]:
    parsed = (part for text in NOTES[note_id] for part in string.Formatter().parse(text))
    return {name for _, name, _, _ in parsed if name is not None}


CALLS = list(calls())


@pytest.mark.parametrize("call", [c for _, c in CALLS], ids=[place for place, _ in CALLS])
def test_call_names_known_ids_and_fills_their_fields(call):
    ids = ids_of(call)
    assert ids
    assert all(fields_of(known) == {k.arg for k in call.keywords} for known in ids)


def test_every_row_is_used():
    assert set().union(*(ids_of(call) for _, call in CALLS)) == NOTES.keys()


def test_no_note_is_written_elsewhere():
    literals = (ast.Constant, ast.JoinedStr)
    assert not [place for place, c in calls("Note") if c.args and isinstance(c.args[0], literals)]


def test_ids_are_unique_and_in_kebab_case():
    table = next(
        node.value
        for node in ast.parse(Path(notes.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign)
    )
    keys = [key.value for key in table.keys]
    assert len(keys) == len(set(keys)) == len(NOTES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in keys)


@pytest.mark.parametrize("note_id", NOTES)
def test_sentences_are_short_and_have_no_full_stop(note_id):
    message, remedy = NOTES[note_id]
    assert 0 < len(message) <= 200
    assert len(remedy) <= 100
    assert not message.endswith(".")
    assert not remedy.endswith(".")


def test_note_has_its_evidence_and_values():
    note = make_note("rate-by-capacity", "throughput 81 samples/s", rate=50.0)
    assert (note.id, note.evidence) == ("rate-by-capacity", "throughput 81 samples/s")
    assert "50" in note.remedy


@pytest.mark.parametrize("arguments", [("no-such-note",), ("rate-by-capacity",)])
def test_unknown_id_or_missing_value_raises(arguments):
    with pytest.raises(KeyError):
        make_note(*arguments)
