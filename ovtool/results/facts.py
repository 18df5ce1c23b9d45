"""The facts of environments laid flat, and where two of them differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE = (
    "cpu",
    "cpu_flags",
    "physical_cores",
    "logical_cpus",
    "memory_gib",
    "architecture",
    "host",
)
"""Facts that tell one machine from another; those of its devices are ``devices.NAME.name``."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that two environments do not share; None where one of them does not have it."""

    name: str
    a: str | None
    b: str | None

    @property
    def of_machine(self) -> bool:
        """Whether it tells of another machine, and not of other software or settings."""
        return self.name.partition(".")[0] in MACHINE or (
            self.name.startswith("devices.") and self.name.endswith(".name")
        )


def flat(value: object, path: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted name, text)."""
    if isinstance(value, dict):
        return [
            pair
            for name, inner in value.items()
            for pair in flat(inner, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(value, list):
        return [(path, ", ".join(str(item) for item in value))]
    return [(path, str(value))]


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return the facts that differ, those of the machine first."""
    mine, theirs = dict(flat(dict(a))), dict(flat(dict(b)))
    found = [
        Difference(name, mine.get(name), theirs.get(name))
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    ]
    return tuple(sorted(found, key=lambda one: not one.of_machine))
