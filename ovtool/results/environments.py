"""Facts of environments as flat text, and the differences between two environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MACHINE_FACTS = (
    "cpu", "cpu_flags", "physical_cores", "logical_cpus", "memory_gib", "architecture", "host",
)  # fmt: skip
"""Facts that identify a machine, next to the names of its devices (``devices.NAME.name``)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that differs between two environments; None where an environment lacks the fact."""

    name: str
    a: str | None
    b: str | None

    @property
    def of_machine(self) -> bool:
        """Whether the fact identifies the machine, and not software or settings."""
        return self.name.partition(".")[0] in _MACHINE_FACTS or (
            self.name.startswith("devices.") and self.name.endswith(".name")
        )


def flatten_facts(value: object, path: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted name, text)."""
    if isinstance(value, dict):
        return [
            fact
            for name, inner in value.items()
            for fact in flatten_facts(inner, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(value, list):
        return [(path, ", ".join(str(item) for item in value))]
    return [(path, str(value))]


def compare_facts(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return the facts that differ, facts of the machine first."""
    facts_a, facts_b = dict(flatten_facts(dict(a))), dict(flatten_facts(dict(b)))
    differences = [
        Difference(name, facts_a.get(name), facts_b.get(name))
        for name in {**facts_a, **facts_b}
        if facts_a.get(name) != facts_b.get(name)
    ]
    return tuple(sorted(differences, key=lambda difference: not difference.of_machine))
