"""What each type of operation does: how many operations beside multiply-adds, and what it moves.

The multiply-adds of convolutions, matrix products, attention and recurrent cells are those of
:mod:`ovtool.flops`.  Everything else counts one for each addition, multiplication, comparison or
function evaluated:

- pooling: ``|output| |K|`` (each value of a window is added or compared once); adaptive pooling
  the same with windows of ``floor(i I / O)`` to ``ceil((i + 1) I / O)``.
- reduction: ``|input|``, one for each value that goes into a result.
- elementwise operations and activations: ``|output|``, one for each value, whatever the function.
- softmax: ``5 |x|`` (largest, difference, exponential, sum, quotient).
- normalization: of mean and variance ``5 |x|`` (sum, difference, square, sum of these, quotient),
  of the length alone ``3 |x|`` (square, sum, quotient).  Scale and shift are operations of their
  own in the graph, and count there.
- interpolation: ``2 |output| points`` for the points that a value is mixed from: 2 an axis where
  linear, 4 where cubic, none where the nearest one is taken.
- data movement (reshaping, joining, cutting, looking up, changing type or quantizing): 0.

What the graph computes from constants and shapes alone is done once, when it is compiled, and is
not work of an inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ovtool import flops
from ovtool.geometry import EACH_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal[
    "multiply-add", "pooling", "reduction", "elementwise", "normalization", "interpolation",
    "movement", "view",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """How a type of operation is counted.

    Args:
        kind: A ``view`` moves no data, it is only looked at in another shape.
        operations: Of an operation with static shapes: how many beside multiply-adds.
    """

    kind: Kind
    operations: Callable[[Any], int]


def elements(shape: Any) -> int:
    """Return the number of values of a static shape."""
    return math.prod(int(size) for size in shape)


def _each_input(factor: int = 1) -> Callable[[Any], int]:
    return lambda o: factor * elements(o.get_input_shape(0))


def _each_output(operation: Any) -> int:
    return elements(operation.get_output_shape(0))


def _nothing(_: Any) -> int:
    return 0


def _pooling(operation: Any) -> int:
    return elements(operation.get_output_shape(0)) * elements(operation.get_attributes()["kernel"])


def _adaptive_pooling(operation: Any) -> int:
    taken, given = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = [
        sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        for n, m in zip(map(int, taken[2:]), map(int, given[2:]), strict=True)
    ]
    return elements(taken[:2]) * math.prod(axes)


_POINTS = {"nearest": 0, "linear": 2, "linear_onnx": 2, "cubic": 4}


def _interpolation(operation: Any) -> int:
    mode = operation.get_attributes()["mode"]
    taken, given = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = sum(int(a) != int(b) for a, b in zip(taken, given, strict=True))
    return 2 * elements(given) * _POINTS[mode] ** axes if _POINTS[mode] and axes else 0


_ELEMENTWISE = (
    "Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "Ceiling", "Clamp", "Cos", "Cosh", "Divide", "Elu", "Equal", "Erf",
    "Exp", "Floor", "FloorMod", "Gelu", "Greater", "GreaterEqual", "HSigmoid", "HSwish",
    "HardSigmoid", "IsFinite", "IsInf", "IsNaN", "Less", "LessEqual", "Log", "LogicalAnd",
    "LogicalNot", "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mish", "Mod", "Multiply",
    "Negative", "NotEqual", "PRelu", "Power", "Relu", "Round", "Select", "Selu", "Sigmoid", "Sign",
    "Sin", "Sinh", "SoftPlus", "SoftSign", "Sqrt", "SquaredDifference", "Subtract", "Swish", "Tan",
    "Tanh",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogicalAnd", "ReduceLogicalOr", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "CumSum",
)  # fmt: skip
_MOVEMENTS = (
    "Assign", "BatchToSpace", "Broadcast", "Concat", "Convert", "ConvertLike", "DepthToSpace",
    "FakeConvert", "FakeQuantize", "Gather", "GatherElements", "GatherND", "OneHot", "Pad",
    "Range", "ReadValue", "ReverseSequence", "Roll", "ScatterElementsUpdate",
    "ScatterNDUpdate", "ScatterUpdate", "ShuffleChannels", "Slice", "SpaceToBatch", "SpaceToDepth",
    "Split", "StridedSlice", "Tile", "Transpose", "VariadicSplit",
)  # fmt: skip
_VIEWS = ("Identity", "Reshape", "ShapeOf", "Squeeze", "Unsqueeze")

# From the type of an operation to how it is counted; a type that is not here is not counted.
RULES: Mapping[str, Rule] = {
    **{name: Rule("multiply-add", _nothing) for name in flops.RULES},
    **{name: Rule("elementwise", _each_output) for name in _ELEMENTWISE},
    **{name: Rule("reduction", _each_input()) for name in _REDUCTIONS},
    **{name: Rule("movement", _nothing) for name in _MOVEMENTS},
    **{name: Rule("view", _nothing) for name in _VIEWS},
    "AvgPool": Rule("pooling", _pooling),
    "MaxPool": Rule("pooling", _pooling),
    "AdaptiveAvgPool": Rule("pooling", _adaptive_pooling),
    "AdaptiveMaxPool": Rule("pooling", _adaptive_pooling),
    "BatchNormInference": Rule("normalization", _each_input(4)),
    "GroupNormalization": Rule("normalization", _each_input(7)),
    "MVN": Rule("normalization", _each_input(5)),
    "NormalizeL2": Rule("normalization", _each_input(3)),
    "RMS": Rule("normalization", _each_input(4)),
    "Softmax": Rule("normalization", _each_input(5)),
    "LogSoftmax": Rule("normalization", _each_input(5)),
    "Interpolate": Rule("interpolation", _interpolation),
}


_SHAPES = ("i32", "i64")
"""Types of shapes, axes and places; weights in whole numbers are of fewer bits."""


def at_compile_time(operation: Any, known: set[str]) -> bool:
    """Whether an operation needs nothing that an inference brings.

    Args:
        operation: One of a graph in topological order.
        known: Names of those before it of which this is so.
    """
    kind = operation.get_type_name()
    if kind == "Constant":
        return True
    if kind in EACH_TIME:
        return False
    if kind == "ShapeOf":
        return bool(operation.input_value(0).get_partial_shape().is_static)
    inputs = [value.get_source_output().get_node() for value in operation.inputs()]
    return bool(inputs) and all(node.get_friendly_name() in known for node in inputs)


def constants_behind(output: Any) -> Iterator[Any]:
    """Yield the constants that a value is made of, each once, without those of shapes and axes."""
    seen: set[str] = set()
    front = [output.get_node()]
    while front:
        node = front.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if node.get_type_name() == "Constant":
            if node.get_element_type().get_type_name() not in _SHAPES:
                yield node
        elif node.get_type_name() != "ShapeOf":
            front += [value.get_source_output().get_node() for value in node.inputs()]
