"""Mutations of files: of bytes, of words and numbers in text, and of JSON documents."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

_WORD = re.compile(
    rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
    rb"|\"[^\"\n]{0,60}\"|'[^'\n]{0,60}'|[A-Za-z_]{2,30}"
)
NUMBERS = (
    *("0", "-1", "1", "2", "255", "2147483647", "2147483648", "-2147483649", "4294967296"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e308", "1e400"),
    *("-0.0", "NaN", "Infinity", "-Infinity", "0.5", "1000000000", "0x10", "1_000", "9" * 400),
)
TEXTS = (
    *('""', '"\\u0000"', '"\\ud800"', '"../../etc/passwd"', '"' + "a" * 5000 + '"', '"=1+1"'),
    *("null", "true", "[]", "{}", "[[]]", '"\\u001b[31m"', '"%s%n"', "[" * 3000, "&a", "*a"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 1e308, float("nan"), float("inf")),
    *("", "\0", "\ud800", "a" * 5000, "../x", "1", "nan", "\x1b[31m", [], {}, [[]], {"": None}),
)
_INTEGERS = (b"\xff", b"\x7f", b"\x80", b"\0", b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 8)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a damaged or hostile copy of a file."""
    kinds = [_bytes, _bytes, _words]
    if data[:1] in b"{[" and data[:1]:
        kinds += [_document, _document]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        data = rng.choice(kinds)(data, rng)
    return data


def _bytes(data: bytes, rng: random.Random) -> bytes:
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 64, 1024))
    end = place + length
    what = rng.randrange(7)
    if what == 0:
        return data[:place]
    if what == 1:
        return data[:place] + data[end:]
    if what == 2:
        return data[:place] + data[place:end] + data[place:]
    if what == 3:
        return data[:place] + rng.randbytes(length) + data[place:]
    if what == 4:
        value = rng.choice(_INTEGERS)
        return data[:place] + value + data[place + len(value) :]
    if what == 5:
        other = rng.randrange(len(data) + 1)
        return data[:place] + data[other : other + length] + data[end:]
    if not data:
        return b"\0"
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _words(data: bytes, rng: random.Random) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return _bytes(data, rng)
    word = rng.choice(words)
    if rng.random() < 0.2:
        new = rng.choice(words)[0]
    else:
        new = rng.choice(NUMBERS if word[0][:1] in b"-0123456789" else (*TEXTS, *NUMBERS)).encode()
    if rng.random() < 0.3:  # of the same length, as in formats with offsets
        new = new[: len(word[0])].ljust(len(word[0]))
    return data[: word.start()] + new + data[word.end() :]


def _document(data: bytes, rng: random.Random) -> bytes:
    """Change a JSON document, or a line of a file of JSON lines."""
    lines = data.split(b"\n")
    whole = not lines[0].endswith(b"}") or len(lines) == 1
    place = rng.randrange(len(lines))
    try:
        document = json.loads(data if whole else lines[place])
    except (ValueError, RecursionError):
        return _words(data, rng)
    changed = json.dumps(_change(document, rng)).encode()
    if whole:
        return changed
    return b"\n".join([*lines[:place], changed, *lines[place + 1 :]])


def _change(document: Any, rng: random.Random) -> Any:
    """Replace, remove, add or repeat a value somewhere in a document."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.05:
        return rng.choice(VALUES)
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key, what = rng.choice(keys), rng.random()
    if what < 0.1:
        del document[key]
    elif what < 0.2 and isinstance(document, dict):
        document[rng.choice(("", "crc32", "\0", "schema_version", key))] = rng.choice(VALUES)
    elif what < 0.2:
        document.append(rng.choice((*VALUES, document[key])))
    else:
        document[key] = _change(document[key], rng)
    return document
