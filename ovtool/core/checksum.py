"""A checksum inside a JSON document: its last key, so that a flipped bit is an error."""

from __future__ import annotations

import re
import zlib

from ovtool.core.errors import InputError

KEY = "crc32"
_CHECKSUM = re.compile(rb',\s*"crc32":\s*"(?P<crc>[0-9a-f]{8})"\s*}\s*\Z')


def add_checksum(document: bytes | str) -> bytes:
    """Return a JSON object with its checksum as last key, and a line end."""
    content = document.encode() if isinstance(document, str) else document
    body = content.rstrip().removesuffix(b"}").rstrip()
    return b'%s, "%s": "%08x"}\n' % (body, KEY.encode(), zlib.crc32(body + b"}"))


def has_checksum(content: bytes) -> bool:
    """Whether a JSON object ends with a checksum."""
    return _CHECKSUM.search(content) is not None


def verify_checksum(content: bytes, where: str, hint: str = "") -> bytes:
    """Return a JSON object without its checksum; an object without one is not verified.

    Args:
        content: The object, as :func:`add_checksum` returns it.
        where: The file or the line, for the error.
        hint: What to do about a damaged object.

    Raises:
        InputError: The checksum does not match.
    """
    match = _CHECKSUM.search(content)
    if match is None:
        return content
    document = content[: match.start()] + b"}"
    if zlib.crc32(document) != int(match["crc"], 16):
        remedy = hint or f"restore the file; if you edited it yourself, remove its key {KEY}"
        raise InputError(
            f"{where}: the checksum does not match: the file was edited or is damaged", remedy
        )
    return document
