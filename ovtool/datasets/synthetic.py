"""Random inputs that a model really takes, by its graph and, failing that, by their names.

Values out of range make a table of embeddings fail or read elsewhere, and a mask of random bits is
less work than one that hides nothing.
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
class Range:
    """The values that an input takes.

    Args:
        kind: ``normal`` is N(0, 1); ``whole`` numbers are uniform from 0 to ``most``; ``ones``;
            ``count`` counts up from 0 along the last axis, beginning anew after ``most``.
        most: The greatest value of ``whole`` and ``count``; None is as great as the type holds.
        why: What says so.
    """

    kind: Kind
    most: int | None = None
    why: str = ""

    @property
    def text(self) -> str:
        """The values in words."""
        values = {"normal": "N(0, 1)", "ones": "ones", "count": "counted up from 0"}.get(self.kind)
        if values is None:
            values = "zeros" if self.most == 0 else f"0..{self.most}"
        elif self.kind == "count" and self.most is not None:
            values = f"counted up within 0..{self.most}"
        return f"{values} ({self.why})" if self.why else values


NORMAL = Range("normal")
ZEROS = Range("whole", 0)
BOTH = Range("whole", 1)
_BY_NAME = (
    (re.compile("mask"), Range("ones")),
    (re.compile("token_?type|segment|beam_?idx"), ZEROS),
    (re.compile("position"), Range("count")),
)


def by_name(name: str, dtype: np.dtype[Any]) -> Range:
    """Return the values of an input of which the name and type are all that is known.

    Masks hide nothing, token types and segments are the first, positions count up, ``u8`` are
    pixels; other whole numbers are 0 or 1, which any vocabulary takes.

    Args:
        name: Of the input.
        dtype: Its type.
    """
    for pattern, found in _BY_NAME:
        if pattern.search(name.lower()) and (dtype.kind != "f" or found.kind == "ones"):
            return found
    if dtype.kind == "f":
        return NORMAL
    return Range("whole", 255) if dtype == np.uint8 else BOTH


def ranges(model: ov.Model) -> dict[str, Range]:
    """Return the values that each input takes, by name, in the order of the inputs.

    An input that is the indices of a table of constants takes those of its rows.  Where it indexes
    what is calculated, or the state (the beams of a text generator), it is 0.
    """
    found = {}
    for place, port in enumerate(model.inputs):
        name = port_name(port.get_names(), "input", place)
        named = by_name(name, port.get_element_type().to_dtype())
        limits = [limit for limit in _index_limits(port) if limit.most is not None]
        if not limits:
            found[name] = named
            continue
        least = min(limits, key=lambda limit: limit.most or 0)
        counted = named.kind == "count" and bool(least.most)
        found[name] = replace(named, most=least.most, why=least.why) if counted else least
    return found


def make(
    wanted: Range, shape: Sequence[int], dtype: np.dtype[Any], generator: np.random.Generator
) -> NDArray[Any]:
    """Return values of a range.

    Args:
        wanted: What values.
        shape: Of the array, all of it fixed.
        dtype: Of the array; a limit that it does not hold exactly is lowered to one that it does.
        generator: Where random values come from.
    """
    size = tuple(shape)
    if wanted.kind == "ones":
        return np.ones(size, dtype)
    if wanted.kind == "normal":
        return generator.standard_normal(size).astype(dtype)
    held = _most_of(np.dtype(dtype))
    most = held if wanted.most is None else min(wanted.most, held)
    if wanted.kind == "whole":
        return generator.integers(0, most, size, np.int64, endpoint=True).astype(dtype)
    places = np.arange(size[-1] if size else 1, dtype=np.int64) % (most + 1)
    return np.broadcast_to(places if size else places[0], size).astype(dtype)


def _most_of(dtype: np.dtype[Any]) -> int:
    """Return the greatest whole number up to which a type holds all of them."""
    if dtype.kind == "b":
        return 1
    if dtype.kind == "f":
        return int(2 ** (np.finfo(dtype).nmant + 1))
    return min(int(np.iinfo(dtype).max), 2**62)


# Operations whose output holds the very values of their first input.
_PASSES = frozenset(
    {
        "Convert", "ConvertLike", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Broadcast",
        "Tile", "Slice", "StridedSlice", "Split", "VariadicSplit", "Reverse",
    }
)  # fmt: skip
_BAGS = frozenset({"EmbeddingBagOffsets", "EmbeddingBagOffsetsSum", "EmbeddingBagPacked",
                   "EmbeddingBagPackedSum", "EmbeddingSegmentsSum"})  # fmt: skip


def _index_limits(port: Any) -> Iterator[Range]:
    """Yield what each of the places says where an input's values come as indices."""
    waiting, seen = [port], set()
    while waiting:
        for target in waiting.pop().get_target_inputs():
            node, place = target.get_node(), target.get_index()
            kind = node.get_type_name()
            if (kind in _PASSES and place == 0) or kind == "Concat":
                if node.get_name() not in seen:
                    seen.add(node.get_name())
                    waiting += node.outputs()
            elif kind == "Gather" and place == 1:
                yield _rows(node.input_value(0), _axis(node))
            elif kind == "GatherElements" and place == 1:
                yield _rows(node.input_value(0), node.get_attributes()["axis"])
            elif kind in _BAGS and place == 1:
                yield _rows(node.input_value(0), 0)
            elif kind in _BAGS and place == 2 and "Packed" not in kind:
                yield replace(ZEROS, why="where bags of a table begin")


def _axis(gather: Any) -> int | None:
    """Return the axis that a Gather indexes; None where it is calculated."""
    axis = gather.input_value(2).get_node()
    if axis.get_type_name() != "Constant":
        return None
    return int(axis.get_data().reshape(-1)[0])


def _rows(table: Any, axis: int | None) -> Range:
    """Return the range of indices into a table along an axis."""
    shape = table.get_partial_shape()
    if axis is None or shape.rank.is_dynamic or not _is_constant(table.get_node()):
        return replace(ZEROS, why="indices into what is calculated")
    rows = shape[axis % shape.rank.get_length()].get_length()
    return Range("whole", max(rows - 1, 0), why="table of embeddings")


def _is_constant(node: Any) -> bool:
    """Whether nothing that an operation is calculated from is an input or the state."""
    waiting, seen = [node], {node.get_name()}
    while waiting:
        one = waiting.pop()
        if one.get_type_name() in ("Parameter", "ReadValue"):
            return False
        for value in one.input_values():
            before = value.get_node()
            if before.get_name() not in seen:
                seen.add(before.get_name())
                waiting.append(before)
    return True
