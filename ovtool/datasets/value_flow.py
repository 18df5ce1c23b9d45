"""How a graph uses the values of an input: as indices, as shapes, or in arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class IndexLimit:
    """The valid values of an input that are used as indices."""

    minimum: int
    maximum: int
    reason: str


@dataclass(slots=True)
class InputUse:
    """How the values of an input are used."""

    limits: list[IndexLimit]
    """One for each lookup by the values."""
    structural: bool = False
    """Whether values are shapes, counts or lengths, or indices computed in an unknown way."""


@dataclass(frozen=True, slots=True)
class _Flow:
    """A tensor that holds ``scale * value + offset`` of the values of an input."""

    scale: float | None = 1.0
    """Positive; None after any other operation."""
    offset: float = 0.0
    cap: float = math.inf
    """Largest possible value whatever the input, such as 999 after a modulo of 1000."""


# Operations whose output contains the values of their first input unchanged.
PASS_THROUGH = frozenset({
    "Convert", "ConvertLike", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Broadcast",
    "Tile", "Slice", "StridedSlice", "Split", "VariadicSplit", "Reverse",
})  # fmt: skip
_BAGS = frozenset({"EmbeddingBagOffsets", "EmbeddingBagOffsetsSum", "EmbeddingBagPacked",
                   "EmbeddingBagPackedSum", "EmbeddingSegmentsSum"})  # fmt: skip
_INDEXED = {
    "Gather": 1, "GatherElements": 1, "GatherND": 1, "ScatterUpdate": 1,
    "ScatterElementsUpdate": 1, "ScatterNDUpdate": 1, "OneHot": 0, **dict.fromkeys(_BAGS, 1),
}  # fmt: skip
"""Operations with the position of their indices."""
# Operations with the positions of shapes, counts, lengths and axes.
_STRUCTURAL = {
    "Range": (0, 1, 2), "Reshape": (1,), "Broadcast": (1, 2), "Tile": (1,), "Pad": (1, 2),
    "Slice": (1, 2, 3, 4), "StridedSlice": (1, 2, 3), "TopK": (1,), "Interpolate": (1, 2, 3),
    "OneHot": (1,), "Unsqueeze": (1,), "Squeeze": (1,), "Transpose": (1,), "Split": (1,),
    "VariadicSplit": (1, 2), "ReverseSequence": (1,), "Reverse": (1,), "Gather": (2,),
    "ScatterUpdate": (3,), "ScatterElementsUpdate": (3,), "CumSum": (1,), "Eye": (0, 1, 2, 3),
    "RandomUniform": (0,), "Multinomial": (1,), "NonMaxSuppression": (2,), "Roll": (1, 2),
    "LSTMSequence": (3,), "GRUSequence": (2,), "RNNSequence": (2,), "CTCGreedyDecoder": (1,),
    "CTCLoss": (1, 2, 3, 4), "Loop": tuple(range(99)), "TensorIterator": tuple(range(99)),
    "If": tuple(range(1, 99)), "EmbeddingSegmentsSum": (2, 3), "DFT": (1, 2), "IDFT": (1, 2),
    "STFT": (2, 3), "RDFT": (1, 2), "IRDFT": (1, 2), "SpaceToBatch": (1, 2, 3),
    "BatchToSpace": (1, 2, 3), "ConvolutionBackpropData": (2,), "AdaptiveAvgPool": (1,),
    "AdaptiveMaxPool": (1,), "SearchSorted": (), "Bucketize": (),
}  # fmt: skip
# Operations whose output is true or false, which limits no input.
_CONDITIONS = frozenset({
    "Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr",
    "LogicalNot", "LogicalXor", "IsNaN", "IsInf", "IsFinite", "ShapeOf",
})  # fmt: skip


_PARTS = frozenset({"Slice", "StridedSlice", "Split", "VariadicSplit"})
"""Operations that may leave out values."""
TABLE = "embedding table"
"""Reason of the limit of a lookup in a constant."""


def trace_input(port: Any, *, whole: bool = False) -> InputUse:
    """Return how the values of an input are used, by following them through the graph.

    With ``whole``, only uses of all values of the input count, not those of a slice.
    """
    use = InputUse([])
    pending, seen = [(port, _Flow())], set()
    while pending:
        output, flow = pending.pop()
        for target in output.get_target_inputs():
            node, index = target.get_node(), target.get_index()
            kind = node.get_type_name()
            if (
                kind in _CONDITIONS
                or (whole and kind in _PARTS)
                or (node.get_name(), index) in seen
            ):
                continue
            seen.add((node.get_name(), index))
            if _INDEXED.get(kind) == index:
                _add_limit(use, node, flow)
            elif kind in _BAGS and index == 2 and "Packed" not in kind:
                use.limits.append(IndexLimit(0, 0, "offsets of embedding bags"))
            elif index in _STRUCTURAL.get(kind, ()) or (kind.startswith("Reduce") and index == 1):
                use.structural = True
            elif (after := _after(node, index, flow)) is not None:
                pending += [(each, after) for each in node.outputs()]
    return use


def _after(node: Any, index: int, flow: _Flow) -> _Flow | None:
    """Return what an operation makes of a flow; None where its values cannot be indices later."""
    kind = node.get_type_name()
    if (kind in PASS_THROUGH or kind in _INDEXED) and index == 0:
        return flow
    if kind in {"Concat", "Select", "Maximum"} and not (kind == "Select" and index == 0):
        return flow
    if kind == "Clamp":
        return replace(flow, cap=float(node.get_attributes()["max"]))
    other = None
    if len(node.input_values()) == 2:
        other = _constant(node.input_value(1 - index))
    changed = None if other is None else _affine(kind, index, flow, other)
    if changed is not None:
        return changed
    if node.output(0).get_element_type().is_real():
        return None
    return _Flow(scale=None)


def _affine(kind: str, index: int, flow: _Flow, constant: NDArray[Any]) -> _Flow | None:
    """Return a flow after an operation with a constant; None for another operation."""
    if flow.scale is None or not constant.size:
        return None
    low, high = float(constant.min()), float(constant.max())
    modulo = kind in {"Mod", "FloorMod"} and index == 0 and low > 0
    if modulo or kind == "Minimum" or (kind == "BitwiseAnd" and low >= 0):
        return replace(flow, cap=high - 1 if modulo else high)
    if kind == "Add" or (kind == "Subtract" and index == 0):
        step = high if kind == "Add" else -low
        return replace(flow, offset=flow.offset + step, cap=flow.cap + step)
    if kind in {"Multiply", "Divide"} and index == 0 and low == high and low > 0:
        factor = low if kind == "Multiply" else 1 / low
        return _Flow(flow.scale * factor, flow.offset * factor, flow.cap * factor)
    return None


def _add_limit(use: InputUse, node: Any, flow: _Flow) -> None:
    """Add the limit of a lookup by a flow."""
    rows, reason = _rows(node)
    if rows is not None and flow.cap <= rows - 1:
        return
    if rows is None:
        use.limits.append(IndexLimit(0, 0, reason))
    elif flow.scale is None:
        use.structural = True
    else:
        lowest = max(0, math.ceil(-flow.offset / flow.scale))
        highest = math.floor((max(rows - 1, 0) - flow.offset) / flow.scale)
        use.limits.append(IndexLimit(lowest, max(highest, lowest), reason))


def _rows(node: Any) -> tuple[int | None, str]:
    """Return the number of rows that a lookup chooses from, and what they are; None if unknown."""
    kind = node.get_type_name()
    if kind == "OneHot":
        depth = _constant(node.input_value(1))
        return (None, "depth unknown") if depth is None else (int(depth.reshape(-1)[0]), "one-hot")
    table = node.input_value(0)
    shape = table.get_partial_shape()
    axis: int | None = 0
    if kind in {"Gather", "ScatterUpdate", "ScatterElementsUpdate"}:
        value = _constant(node.input_value(2 if kind == "Gather" else 3))
        axis = None if value is None else int(value.reshape(-1)[0])
    elif kind == "GatherElements":
        axis = int(node.get_attributes()["axis"])
    constant = kind in {"Gather", "GatherElements", *_BAGS} and _is_constant(table.get_node())
    if axis is None or shape.rank.is_dynamic or shape[axis % shape.rank.get_length()].is_dynamic:
        return None, "indices into a computed tensor"
    if "ND" in kind and any(dimension.is_dynamic for dimension in shape):
        return None, "indices into a computed tensor"
    if kind in {"Gather", "GatherElements", *_BAGS} and not constant:
        return None, "indices into a computed tensor"
    sizes = [d.get_length() for d in shape] if "ND" in kind else []
    rows = min(sizes) if sizes else shape[axis % shape.rank.get_length()].get_length()
    return int(rows), TABLE if constant else "rows of a tensor"


def _constant(value: Any) -> NDArray[Any] | None:
    """Return the array of a constant, also behind a conversion of its type."""
    node = value.get_node()
    while node.get_type_name() in {"Convert", "Unsqueeze", "Squeeze", "Reshape", "Broadcast"}:
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data()) if node.get_type_name() == "Constant" else None


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
