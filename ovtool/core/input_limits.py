"""Limits of what a file may become in memory: arrays, and nested documents.

A compressed file, or a header with a large shape, is small on the disk and may be larger than the
memory.  Readers call :func:`require_memory` with the size that a file declares, before they read.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from ovtool.core.errors import InputError

SHARE = 0.5
"""Part of the memory limit of the command that the arrays of one file may take."""
VARIABLE = "OVTOOL_MEMORY_LIMIT"
"""Environment variable of the memory limit of a command; ``ovtool.system.memory_limit`` sets it."""
MAX_DEPTH = 20
"""Levels of a YAML document."""
MAX_DIGITS = 9
"""Digits of a class index."""


def memory_limit() -> int | None:
    """Return the memory limit of this process in bytes; None without one."""
    if sys.platform != "linux":
        return None
    import resource

    limits = [resource.getrlimit(each)[0] for each in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)


def largest_size() -> int:
    """Return the largest size of the arrays of a file in bytes: half of the memory limit.

    Without a limit, half of the available memory.
    """
    import psutil

    limit = memory_limit()
    return int(SHARE * (psutil.virtual_memory().available if limit is None else limit))


def require_memory(size: int, what: str) -> None:
    """Refuse arrays that are larger than :func:`largest_size`.

    Raises:
        InputError: They are.
    """
    limit = largest_size()
    if size > limit:
        raise InputError(
            f"{what} would take {_gib(size)} GiB of memory, more than {_gib(limit)} GiB",
            f"use fewer samples, or set {VARIABLE}: a file may take half of it",
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g}" if size < 1 << 80 else f"2^{math.floor(math.log2(size)) - 30}"


def parse_json(content: bytes | str) -> Any:
    """Return a JSON document.

    Raises:
        ValueError: The content is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class YamlStructureError(ValueError):
    """A YAML document has a structure that can crash or stall a parser, at a line from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def check_yaml(text: str) -> None:
    """Refuse aliases, tags and deep nesting, which can crash or stall a parser.

    Raises:
        YamlStructureError: The document has one of them.
        YAMLError: The text is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in YAML(typ="rt").parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            message = f"*{event.anchor}: aliases are not supported; write the value"
            raise YamlStructureError(line, message)
        if getattr(event, "tag", None):
            raise YamlStructureError(line, f"{event.tag}: tags are not supported")
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlStructureError(line, f"more than {MAX_DEPTH} levels deep")
