"""Operations of a graph: their order, their shapes, and whether they depend on the inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import openvino as ov

NO_WORK = ("Parameter", "Result", "Constant")
"""Types of nodes that compute nothing."""
VARYING_TYPES = ("Multinomial", "RandomUniform", "ReadValue")
"""Types of operations with a new result at each inference, even if all inputs are constants."""
_SHAPE_TYPES = ("i32", "i64")
"""Element types of shapes, axes and positions; integer weights have fewer bits."""


def sort_operations(model: ov.Model) -> tuple[list[Any], set[str]]:
    """Return the operations that depend on an input, sorted, and the names of all other nodes.

    Each operation comes after its sources. The order is the same for the same file.
    """
    moving: list[Any] = []
    fixed: set[str] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind != "Parameter" and fixed.issuperset(source_names(node)):
            fixed.add(node.get_name())
        elif kind not in NO_WORK:
            moving.append(node)
    return moving, fixed


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


def is_compile_time(operation: Any, known: set[str]) -> bool:
    """Return whether the compiler can compute an operation, from constants and shapes only.

    ``known`` holds the friendly names of the earlier operations for which this is true.
    """
    kind = operation.get_type_name()
    if kind == "Constant":
        return True
    if kind in VARYING_TYPES:
        return False
    if kind == "ShapeOf":
        return bool(operation.input_value(0).get_partial_shape().is_static)
    sources = [value.get_node().get_friendly_name() for value in operation.input_values()]
    return bool(sources) and known.issuperset(sources)


def find_constants(output: Any) -> Iterator[Any]:
    """Yield the constants that a value depends on, each once, except shapes and axes."""
    seen: set[str] = set()
    stack = [output.get_node()]
    while stack:
        node = stack.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if node.get_type_name() == "Constant":
            if node.get_element_type().get_type_name() not in _SHAPE_TYPES:
                yield node
        elif node.get_type_name() != "ShapeOf":
            stack += [value.get_node() for value in node.input_values()]
