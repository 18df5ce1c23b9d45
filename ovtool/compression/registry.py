"""Methods that make a model smaller or faster: one table of them, one file a family.

A method takes a saved variant and gives another one; the first is never changed.  To add one,
write a :class:`~ovtool.compression.method.Method` and give it a row below.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ovtool.compression.method import (
    Material,
    Need,
    Setting,
    Settings,
    described,
    load,
    parse_settings,
)
from ovtool.compression.method_table import METHODS
from ovtool.compression.pipeline import compress

__all__ = [
    "METHODS",
    "Material",
    "MethodInfo",
    "Setting",
    "Settings",
    "compress",
    "method_info",
    "methods",
    "parse_settings",
]


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a user must know of a method to choose and set it.

    ``needs`` is what it needs whatever its settings; ``extra`` is the optional dependency group
    that it is installed with (``pip install 'ovtool[extra]'``).
    """

    name: str
    summary: str
    needs: frozenset[Need]
    changes: str
    extra: str | None
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"needs": sorted(self.needs)}


def method_info(name: str) -> MethodInfo:
    """Return a method with its settings; neither openvino, nncf nor torch is imported.

    Raises:
        InputError: There is no such method; the hint suggests the nearest.
    """
    entry, method = METHODS.entry(name), load(name)
    return MethodInfo(
        name, entry.summary, method.needs, method.changes, entry.extra, described(method.settings)
    )


def methods() -> tuple[MethodInfo, ...]:
    """Return every method with its settings, as :func:`method_info`."""
    return tuple(map(method_info, METHODS))
