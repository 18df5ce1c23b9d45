"""Random inputs in a model's valid range, inferred from its graph or from input names.

Indices out of range make an embedding lookup fail or read other memory, and a random mask is less
work than a mask of ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core.shapes import port_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import openvino as ov
    from numpy.typing import NDArray

Kind = Literal["normal", "whole", "ones", "count"]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The valid values of an input."""

    kind: Kind
    """``normal`` is N(0, 1); ``whole`` is uniform over 0..``maximum``; ``ones``; ``count`` counts
    up from 0 along the last axis and restarts after ``maximum``."""
    maximum: int | None = None
    """Largest value of ``whole`` and ``count``; None is the largest of the type."""
    reason: str = ""
    """Evidence for the range."""

    @property
    def text(self) -> str:
        """Description of the values."""
        values = {"normal": "N(0, 1)", "ones": "ones", "count": "counted up from 0"}.get(self.kind)
        if values is None:
            values = "zeros" if self.maximum == 0 else f"0..{self.maximum}"
        elif self.kind == "count" and self.maximum is not None:
            values = f"counted up within 0..{self.maximum}"
        return f"{values} ({self.reason})" if self.reason else values


NORMAL = ValueRange("normal")
ZEROS = ValueRange("whole", 0)
ZEROS_AND_ONES = ValueRange("whole", 1)
_BY_NAME = (
    (re.compile("mask"), ValueRange("ones")),
    (re.compile("token_?type|segment|beam_?idx"), ZEROS),
    (re.compile("position"), ValueRange("count")),
)


def range_by_name(name: str, dtype: np.dtype[Any]) -> ValueRange:
    """Infer the values of an input from its name and type alone.

    Masks are ones, token types and segments are zeros, positions count up and ``u8`` are pixels.
    Other integers are 0 or 1, which are valid in any vocabulary.
    """
    for pattern, value_range in _BY_NAME:
        if pattern.search(name.lower()) and (dtype.kind != "f" or value_range.kind == "ones"):
            return value_range
    if dtype.kind == "f":
        return NORMAL
    return ValueRange("whole", 255) if dtype == np.uint8 else ZEROS_AND_ONES


def input_ranges(model: ov.Model) -> dict[str, ValueRange]:
    """Return the valid values of each input by name, in input order.

    An input that indexes a constant table is limited to its rows.  An input that indexes a
    computed tensor or a state (such as the beams of a text generator) is 0.
    """
    ranges = {}
    for index, port in enumerate(model.inputs):
        name = port_name(port.get_names(), "input", index)
        named = range_by_name(name, port.get_element_type().to_dtype())
        limits = [limit for limit in _index_limits(port) if limit.maximum is not None]
        if not limits:
            ranges[name] = named
            continue
        tightest = min(limits, key=lambda limit: limit.maximum or 0)
        if named.kind == "count" and tightest.maximum:
            tightest = replace(named, maximum=tightest.maximum, reason=tightest.reason)
        ranges[name] = tightest
    return ranges


def generate(
    values: ValueRange, shape: Sequence[int], dtype: np.dtype[Any], generator: np.random.Generator
) -> NDArray[Any]:
    """Return random values in a range; a maximum that ``dtype`` cannot represent is lowered."""
    size = tuple(shape)
    if values.kind == "ones":
        return np.ones(size, dtype)
    if values.kind == "normal":
        return generator.standard_normal(size).astype(dtype)
    limit = _max_exact_integer(np.dtype(dtype))
    maximum = limit if values.maximum is None else min(values.maximum, limit)
    if values.kind == "whole":
        return generator.integers(0, maximum, size, np.int64, endpoint=True).astype(dtype)
    positions = np.arange(size[-1] if size else 1, dtype=np.int64) % (maximum + 1)
    return np.broadcast_to(positions if size else positions[0], size).astype(dtype)


def _max_exact_integer(dtype: np.dtype[Any]) -> int:
    """Return the largest integer up to which a type represents every integer exactly."""
    if dtype.kind == "b":
        return 1
    if dtype.kind == "f":
        return int(2 ** (np.finfo(dtype).nmant + 1))
    return min(int(np.iinfo(dtype).max), 2**62)


# Operations whose output contains the values of their first input unchanged.
_PASS_THROUGH = frozenset({
    "Convert", "ConvertLike", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Broadcast",
    "Tile", "Slice", "StridedSlice", "Split", "VariadicSplit", "Reverse",
})  # fmt: skip
_BAGS = frozenset({"EmbeddingBagOffsets", "EmbeddingBagOffsetsSum", "EmbeddingBagPacked",
                   "EmbeddingBagPackedSum", "EmbeddingSegmentsSum"})  # fmt: skip


def _index_limits(port: Any) -> Iterator[ValueRange]:
    """Yield the range of each lookup that uses an input's values as indices."""
    pending, seen = [port], set()
    while pending:
        for target in pending.pop().get_target_inputs():
            node, index = target.get_node(), target.get_index()
            kind = node.get_type_name()
            if (kind in _PASS_THROUGH and index == 0) or kind == "Concat":
                if node.get_name() not in seen:
                    seen.add(node.get_name())
                    pending += node.outputs()
            elif kind == "Gather" and index == 1:
                yield _row_range(node.input_value(0), _axis(node))
            elif kind == "GatherElements" and index == 1:
                yield _row_range(node.input_value(0), node.get_attributes()["axis"])
            elif kind in _BAGS and index == 1:
                yield _row_range(node.input_value(0), 0)
            elif kind in _BAGS and index == 2 and "Packed" not in kind:
                yield replace(ZEROS, reason="offsets of embedding bags")


def _axis(gather: Any) -> int | None:
    """Return the axis that a Gather indexes; None when it is computed."""
    axis = gather.input_value(2).get_node()
    if axis.get_type_name() != "Constant":
        return None
    return int(axis.get_data().reshape(-1)[0])


def _row_range(table: Any, axis: int | None) -> ValueRange:
    """Return the range of indices into a table along an axis."""
    shape = table.get_partial_shape()
    if axis is None or shape.rank.is_dynamic or not _is_constant(table.get_node()):
        return replace(ZEROS, reason="indices into a computed tensor")
    rows = shape[axis % shape.rank.get_length()].get_length()
    return ValueRange("whole", max(rows - 1, 0), reason="embedding table")


def _is_constant(node: Any) -> bool:
    """Whether an operation depends on neither an input nor a state."""
    pending, seen = [node], {node.get_name()}
    while pending:
        current = pending.pop()
        if current.get_type_name() in ("Parameter", "ReadValue"):
            return False
        for value in current.input_values():
            source = value.get_node()
            if source.get_name() not in seen:
                seen.add(source.get_name())
                pending.append(source)
    return True
