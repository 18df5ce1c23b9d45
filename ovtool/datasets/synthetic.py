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
from ovtool.datasets.value_flow import TABLE, trace_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.datasets.value_flow import InputUse

Kind = Literal["normal", "whole", "ones", "count"]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The valid values of an input."""

    kind: Kind
    """``normal`` is N(0, 1); ``whole`` is uniform over ``minimum``..``maximum``; ``ones``;
    ``count`` counts up from 0 along the last axis and restarts after ``maximum``."""
    maximum: int | None = None
    """Largest value of ``whole`` and ``count``; None is the largest of the type."""
    reason: str = ""
    """Evidence for the range."""
    minimum: int = 0
    """Smallest value of ``whole``."""
    unlimited: bool = False
    """Whether the graph accepts every integer of the type, so the range is only a guess."""

    @property
    def text(self) -> str:
        """Description of the values."""
        values = {"normal": "N(0, 1)", "ones": "ones", "count": "counted up from 0"}.get(self.kind)
        if values is None:
            zeros = self.minimum == self.maximum == 0
            values = "zeros" if zeros else f"{self.minimum}..{self.maximum}"
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

    Masks are ones, token types and segments are zeros, positions count up.  Integers of 8 and 16
    bits are pixels or audio: all values.  Others are 0 or 1, which are valid in any vocabulary.
    """
    for pattern, value_range in _BY_NAME:
        if pattern.search(name.lower()) and (dtype.kind != "f" or value_range.kind == "ones"):
            return value_range
    if dtype.kind == "f":
        return NORMAL
    if dtype.kind != "b" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return ValueRange("whole", int(limits.max), minimum=int(limits.min))
    return ZEROS_AND_ONES


def input_ranges(model: ov.Model) -> dict[str, ValueRange]:
    """Return the valid values of each input by name, in input order.

    An input that indexes a constant table is limited to its rows.  An input that indexes a
    computed tensor or a state (such as the beams of a text generator) is 0.
    """
    ranges = {}
    for index, port in enumerate(model.inputs):
        name = port_name(port.get_names(), "input", index)
        dtype = port.get_element_type().to_dtype()
        ranges[name] = _input_range(range_by_name(name, dtype), dtype, trace_input(port))
    return ranges


def _input_range(named: ValueRange, dtype: np.dtype[Any], use: InputUse) -> ValueRange:
    """Return the range by name, narrowed by the lookups of the graph."""
    if not use.limits:
        if named.kind == "whole" and dtype.kind in "iu" and named != ZEROS:
            return ZEROS_AND_ONES if use.structural else replace(named, unlimited=True)
        return named
    tightest = min(use.limits, key=lambda limit: limit.maximum)
    if named.kind == "count" and tightest.maximum:
        return replace(named, maximum=tightest.maximum, reason=tightest.reason)
    minimum = min(max(limit.minimum for limit in use.limits), tightest.maximum)
    return ValueRange("whole", tightest.maximum, tightest.reason, minimum)


def index_maxima(model: ov.Model) -> dict[str, int]:
    """Return the largest valid value of each input whose values all index an embedding table.

    Inputs that index no constant table, or only with a part of their values, are left out.
    """
    maxima = {}
    for index, port in enumerate(model.inputs):
        limits = [u.maximum for u in trace_input(port, whole=True).limits if u.reason == TABLE]
        if limits:
            maxima[port_name(port.get_names(), "input", index)] = min(limits)
    return maxima


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
        minimum = max(values.minimum, 0 if dtype.kind in "bu" else -limit - 1)
        return generator.integers(minimum, maximum, size, np.int64, endpoint=True).astype(dtype)
    positions = np.arange(size[-1] if size else 1, dtype=np.int64) % (maximum + 1)
    return np.broadcast_to(positions if size else positions[0], size).astype(dtype)


def _max_exact_integer(dtype: np.dtype[Any]) -> int:
    """Return the largest integer up to which a type represents every integer exactly."""
    if dtype.kind == "b":
        return 1
    if dtype.kind == "f":
        return int(2 ** (np.finfo(dtype).nmant + 1))
    return min(int(np.iinfo(dtype).max), 2**62)
