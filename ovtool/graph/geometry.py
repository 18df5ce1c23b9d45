"""Sizes of the arithmetic of an operation, which determine its speed together with its FLOPs.

Two layers of the same FLOPs may differ tenfold in time: a depthwise convolution reads much data for
each multiplication, a first layer has too few channels to fill a vector, a product of one row reads
each weight once. So an operation is described as a matrix product of [rows, inputs] and
[inputs, outputs], repeated ``kernel`` times, with a kind for its role in the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ovtool.graph.operations import VARYING_TYPES, count_elements, is_static, source_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import openvino as ov

    GeometryRule = Callable[[Any, list[bool]], "Geometry | None"]
    """Computes the sizes of an operation; takes whether each input is constant."""

GeometryKind = Literal[
    "stem", "convolution", "pointwise", "depthwise", "grouped", "product", "attention"
]
"""``stem``: a convolution of at most :data:`STEM` channels, such as the first one of a network;
``pointwise``: a 1x1 convolution; ``product``: rows by weights, recurrent cells included;
``attention``: a product of two activations."""
STEM = 4


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of an operation.

    Args:
        rows: Positions of the output (batch x height x width, or rows of a matrix).
        inputs: Channels that one output value sums over, or the inner dimension of a product.
        outputs: Channels of the output in one group, or columns of a product.
        kernel: Kernel positions that one output value sums over.
        stride: Input positions for each output position.
        weights: Number of weights; 0 if both operands are activations.
    """

    kind: GeometryKind
    rows: int
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    weights: int = 0


def compute_geometries(model: ov.Model) -> dict[str, Geometry]:
    """Return the sizes of the operations with static shapes, by friendly name."""
    sizes: dict[str, Geometry] = {}
    constant: set[str] = set()
    for operation in model.get_ordered_ops():
        kind, sources = operation.get_type_name(), source_names(operation)
        varies = kind in VARYING_TYPES
        if kind == "Constant" or (sources and not varies and constant.issuperset(sources)):
            constant.add(operation.get_name())
        elif kind in _RULES and is_static(operation):
            fixed = [name in constant for name in sources]
            if (geometry := _RULES[kind](operation, fixed)) is not None:
                sizes[operation.get_friendly_name()] = geometry
    return sizes


def parse_einsum(
    equation: str, shapes: Sequence[Sequence[int]]
) -> tuple[list[dict[str, int]], set[str]]:
    """Return the extents of the labels of each einsum operand, and the labels of the result.

    Each dimension of an ellipsis gets a label, counted from the right. Without ``->``, the result
    keeps the labels that occur once.

    >>> parse_einsum("bik,bkj->bij", [(2, 3, 4), (2, 4, 5)])[0]
    [{'b': 2, 'i': 3, 'k': 4}, {'b': 2, 'k': 4, 'j': 5}]
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands: list[dict[str, int]] = []
    hidden: set[str] = set()
    for term, shape in zip(left.split(","), shapes, strict=True):
        before, _, after = term.partition("...")
        dots = [f"...{i}" for i in range(len(shape) - len(before) - len(after), 0, -1)]
        hidden |= set(dots)
        sizes: dict[str, int] = {}
        for label, size in zip([*before, *dots, *after], shape, strict=True):
            sizes[label] = max(int(size), sizes.get(label, 1))
        operands.append(sizes)
    if arrow:
        return operands, set(right.replace(".", "")) | (hidden if "." in right else set())
    return operands, {
        label for label in left if label.isalpha() and left.count(label) == 1
    } | hidden


def _shape(operation: Any, index: int) -> list[int]:
    return [int(size) for size in operation.get_input_shape(index)]


def _convolution(*, grouped: bool = False, transposed: bool = False) -> GeometryRule:
    """Return the rule for weights [(groups,) outputs, inputs, kernel...].

    A transposed convolution has its inputs before its outputs, and spreads each input value over a
    kernel.
    """

    def rule(operation: Any, _: list[bool]) -> Geometry:
        weights = _shape(operation, 1)
        groups = weights.pop(0) if grouped else 1
        outputs, inputs, *window = weights
        positions = list(operation.get_output_shape(0))
        if transposed:
            outputs, inputs, positions = inputs, outputs, _shape(operation, 0)
        rows = int(positions[0]) * count_elements(positions[2:])
        kernel, stride = math.prod(window), math.prod(operation.get_attributes()["strides"])
        kind: GeometryKind = "convolution"
        if groups > 1 and inputs == 1:
            kind, outputs = "depthwise", groups * outputs
        elif groups > 1:
            kind, rows = "grouped", groups * rows
        elif kernel == 1:
            kind = "pointwise"
        elif inputs <= STEM:
            kind = "stem"
        return Geometry(kind, rows, inputs, outputs, kernel, stride, groups * math.prod(weights))

    return rule


def _matmul(operation: Any, fixed: list[bool]) -> Geometry:
    left, right = _shape(operation, 0), _shape(operation, 1)
    attributes = operation.get_attributes()
    inner = left[-2 if attributes["transpose_a"] and len(left) > 1 else -1]
    columns = 1 if len(right) == 1 else right[-2 if attributes["transpose_b"] else -1]
    size = count_elements(operation.get_output_shape(0))
    if fixed[1]:
        return Geometry("product", size // columns, inner, columns, weights=math.prod(right))
    rows = 1 if len(left) == 1 else left[-1 if attributes["transpose_a"] else -2]
    if fixed[0]:
        return Geometry("product", size // rows, inner, rows, weights=math.prod(left))
    return Geometry("attention", rows, inner, columns)


def _attention(operation: Any, _: list[bool]) -> Geometry:
    query, key = _shape(operation, 0), _shape(operation, 1)  # [..., L, E] and [..., S, E]
    return Geometry("attention", query[-2], query[-1], key[-2])


def _einsum(operation: Any, fixed: list[bool]) -> Geometry | None:
    """Return the sizes of a product of two operands; shared labels of the result are a batch."""
    shapes = [_shape(operation, index) for index in range(len(fixed))]
    operands, kept = parse_einsum(operation.get_attributes()["equation"], shapes)
    if len(operands) != 2:
        return None
    left, right = operands
    both = {label: max(left[label], right[label]) for label in left.keys() & right.keys()}
    batch = math.prod(size for label, size in both.items() if label in kept)
    inner = math.prod(size for label, size in both.items() if label not in kept)
    rows, columns = (
        math.prod(size for label, size in sizes.items() if label not in both) for sizes in operands
    )
    if fixed[1]:
        return Geometry("product", batch * rows, inner, columns, weights=math.prod(shapes[1]))
    if fixed[0]:
        return Geometry("product", batch * columns, inner, rows, weights=math.prod(shapes[0]))
    return Geometry("attention", rows, inner, columns)


def _recurrent(weights: int) -> GeometryRule:
    """Return the rule for W [..., gates, inputs] and R [..., gates, states], for one time step."""

    def rule(operation: Any, _: list[bool]) -> Geometry:
        w, r = _shape(operation, weights), _shape(operation, weights + 1)
        rows = _shape(operation, 0)[0]
        weight_count = math.prod(w) + math.prod(r)
        return Geometry("product", rows, w[-1] + r[-1], w[-2], weights=weight_count)

    return rule


_RULES: Mapping[str, GeometryRule] = {
    "Convolution": _convolution(),
    "GroupConvolution": _convolution(grouped=True),
    "ConvolutionBackpropData": _convolution(transposed=True),
    "GroupConvolutionBackpropData": _convolution(grouped=True, transposed=True),
    "MatMul": _matmul,
    "Einsum": _einsum,
    "ScaledDotProductAttention": _attention,
    "LSTMCell": _recurrent(3),
    "GRUCell": _recurrent(2),
    "RNNCell": _recurrent(2),
    "LSTMSequence": _recurrent(4),
    "GRUSequence": _recurrent(3),
    "RNNSequence": _recurrent(3),
}
