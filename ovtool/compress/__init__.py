"""Methods that make a model smaller or faster: one table of them, one file a family.

A method takes a saved variant and gives another one; the first is never changed.  To add one,
write a :class:`~ovtool.compress.method.Method` and give it a row below.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovtool.compress.method import (
    Material,
    Need,
    Setting,
    Settings,
    described,
    load,
    parse_settings,
)
from ovtool.compress.run import compress
from ovtool.compress.table import METHODS

__all__ = [
    "METHODS",
    "Material",
    "MethodInfo",
    "Setting",
    "Settings",
    "compress",
    "methods",
    "parse_settings",
]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a user must know of a method to choose and set it."""

    name: str
    summary: str
    needs: frozenset[Need]
    changes: str
    settings: tuple[Setting, ...]


def methods() -> tuple[MethodInfo, ...]:
    """Return every method with its settings; neither openvino nor nncf is imported."""
    return tuple(
        MethodInfo(
            name,
            METHODS.entry(name).summary,
            load(name).needs,
            load(name).changes,
            described(load(name).settings),
        )
        for name in METHODS
    )
