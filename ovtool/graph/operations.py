"""The operations of a model's graph: those that depend on its inputs, and those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openvino as ov

_NO_WORK = ("Parameter", "Result", "Constant")


@dataclass(frozen=True, slots=True)
class Operations:
    """A model's operations, sorted.

    Args:
        moving: Those that depend on an input, each after those that it reads.
        fixed: Names of the nodes that depend on none, constants among them.
    """

    moving: tuple[Any, ...]
    fixed: frozenset[str]


def operations(model: ov.Model) -> Operations:
    """Sort the operations of a model, always in the same order for the same file."""
    moving: list[Any] = []
    fixed: set[str] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        sources = [port.get_source_output().get_node().get_name() for port in node.inputs()]
        if kind != "Parameter" and all(source in fixed for source in sources):
            fixed.add(node.get_name())
        elif kind not in _NO_WORK:
            moving.append(node)
    return Operations(tuple(moving), frozenset(fixed))
