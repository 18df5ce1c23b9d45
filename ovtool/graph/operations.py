"""Operations of a graph: their order, their shapes, and whether they depend on the inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import openvino as ov

NO_WORK = ("Parameter", "Result", "Constant")
"""Types of nodes that compute nothing."""


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of a graph.

    Args:
        moving: Operations that depend on an input, each after its sources.
        fixed: Names of the nodes that depend on no input, constants included.
    """

    moving: tuple[Any, ...]
    fixed: frozenset[str]


def sort_operations(model: ov.Model) -> Operations:
    """Sort the operations of a graph. The order is the same for the same file."""
    moving: list[Any] = []
    fixed: set[str] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind != "Parameter" and fixed.issuperset(source_names(node)):
            fixed.add(node.get_name())
        elif kind not in NO_WORK:
            moving.append(node)
    return Operations(tuple(moving), frozenset(fixed))


def source_names(node: Any) -> list[str]:
    """Return the names of the nodes that a node reads."""
    return [value.get_node().get_name() for value in node.input_values()]


def is_static(node: Any) -> bool:
    """Return whether all shapes that a node reads and writes are known."""
    values = (*node.input_values(), *node.outputs())
    return all(value.get_partial_shape().is_static for value in values)


def count_elements(shape: Iterable[Any]) -> int:
    """Return the number of elements of a static shape."""
    return math.prod(int(size) for size in shape)
