"""Operations of a graph: their order, their shapes, and whether they depend on the inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import openvino as ov

NO_WORK = ("Parameter", "Result", "Constant")
"""Types of nodes that compute nothing."""
VIEWS = ("Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Types of operations that only change the shape of their input."""
VARYING_TYPES = ("Multinomial", "RandomUniform", "ReadValue")
"""Types of operations with a new result at each inference, even if all inputs are constants."""
LOOP_TYPES = ("TensorIterator", "Loop")
BODY_TYPES = (*LOOP_TYPES, "If")
"""Types of operations that contain graphs."""
FLOATS = frozenset({"f64", "f32", "f16", "bf16"})
_SHOWN = 3
_SHAPE_TYPES = ("i32", "i64")
"""Element types of shapes, axes and positions, unless they are converted to floating point."""


@dataclass(frozen=True, slots=True)
class Body:
    """A graph inside of an operation.

    ``bound`` has the outer value of each input of the body that is the same in all iterations, by
    the unique name of the input.
    """

    model: ov.Model
    bound: dict[str, Any]


def describe_state(model: ov.Model) -> str:
    """Return the state of a graph (ReadValue and Assign) as text; empty without state."""
    infos = [variable.info for variable in model.get_variables()]
    shown = [f"{info.variable_id} {info.data_shape}" for info in infos[:_SHOWN]]
    more = ["..."] if len(infos) > _SHOWN else []
    return f"{units.count_text(len(infos), 'state')}: {', '.join(shown + more)}" if infos else ""


def find_bodies(operation: Any) -> list[Body]:
    """Return the graphs inside of an operation: one of a loop, two of an If, else none."""
    if operation.get_type_name() not in BODY_TYPES:
        return []
    bodies = []
    for branch in [(0,), (1,)] if operation.get_type_name() == "If" else [()]:
        model = operation.get_function(*branch)
        parameters = model.get_parameters()
        bound = {
            parameters[inner.body_parameter_index].get_name(): operation.input_value(
                inner.input_index
            )
            for inner in operation.get_input_descriptions(*branch)
            if inner.get_type_info().name == "InvariantInputDescription"
        }
        bodies.append(Body(model, bound))
    return bodies


def walk_operations(model: ov.Model) -> Iterator[Any]:
    """Yield all operations in order, those of a body after the operation that contains it."""
    for operation in model.get_ordered_ops():
        yield operation
        for body in find_bodies(operation):
            yield from walk_operations(body.model)


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


def is_constant(node: Any) -> bool:
    """Return whether a value depends on constants only: neither on inputs nor on states."""
    seen: set[str] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node.get_type_name() in {"Parameter", *VARYING_TYPES}:
            return False
        if node.get_name() not in seen:
            seen.add(node.get_name())
            stack += [value.get_node() for value in node.input_values()]
    return True


def find_constants(output: Any, bound: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Any]:
    """Yield the constants that a value depends on, each once, except shapes and axes.

    ``bound`` has the outer values of the inputs of a body, see :class:`Body`.
    """
    seen: set[str] = set()
    stack = [(output.get_node(), False)]
    while stack:
        node, converted = stack.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        kind = node.get_type_name()
        if kind == "Constant":
            if converted or node.get_element_type().get_type_name() not in _SHAPE_TYPES:
                yield node
        elif kind == "Parameter" and node.get_name() in bound:
            stack.append((bound[node.get_name()].get_node(), converted))
        elif kind != "ShapeOf":
            to_float = kind == "Convert" and node.get_element_type().get_type_name() in FLOATS
            converted = to_float or (converted and kind in _ARITHMETIC)
            stack += [(value.get_node(), converted) for value in node.input_values()]


_ARITHMETIC = {"Add", "Convert", "Divide", "Multiply", "Subtract"}
"""Types of operations whose inputs are all data, rather than shapes or axes."""
