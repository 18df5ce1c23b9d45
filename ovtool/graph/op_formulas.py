"""Formulas for the arithmetic of one operation except multiply-adds; see :mod:`.op_rules`.

Each takes an operation with static shapes. It returns None if the arithmetic depends on data, or on
attributes without a convention.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.graph.geometry import parse_einsum
from ovtool.graph.operations import count_elements

if TYPE_CHECKING:
    from collections.abc import Callable

_PER_POINT = 2
"""Operations for each interpolated point: a product and a sum."""
_CORNERS = 4
"""Points of an image that linear interpolation reads."""


def _input_size(operation: Any, index: int = 0) -> int:
    return count_elements(operation.get_input_shape(index))


def _output_size(operation: Any) -> int:
    return count_elements(operation.get_output_shape(0))


def _constant(operation: Any, index: int) -> list[int] | None:
    """Return the integers of a constant input; None if the input is not constant."""
    source = operation.input_value(index).get_node()
    if source.get_type_name() != "Constant":
        return None
    return [int(value) for value in source.get_data().reshape(-1)]


def nothing(_: Any) -> int:
    """Return 0."""
    return 0


def each_input(factor: int = 1) -> Callable[[Any], int]:
    """Return the rule ``factor |input|``."""
    return lambda operation: factor * _input_size(operation)


def each_output(factor: int = 1) -> Callable[[Any], int]:
    """Return the rule ``factor |output|``."""
    return lambda operation: factor * _output_size(operation)


def pooling(operation: Any) -> int:
    """Return ``|output| |K|``."""
    return _output_size(operation) * count_elements(operation.get_attributes()["kernel"])


def adaptive_pooling(operation: Any) -> int:
    """Return the number of values of all windows."""
    source, target = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = [
        sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        for n, m in zip(map(int, source[2:]), map(int, target[2:]), strict=True)
    ]
    return count_elements(source[:2]) * math.prod(axes)


def roi_pooling(operation: Any) -> int | None:
    """Return one linear sample for each output; maxima depend on the size of the regions."""
    if operation.get_attributes()["method"] != "bilinear":
        return None
    return _output_size(operation) * _PER_POINT * _CORNERS


def roi_align(operation: Any) -> int | None:
    """Return ``sampling_ratio^2`` linear samples for each output; a ratio of 0 is adaptive."""
    side = int(operation.get_attributes()["sampling_ratio"])
    return _output_size(operation) * side * side * (_PER_POINT * _CORNERS + 1) if side else None


def position_sensitive_pooling(operation: Any) -> int | None:
    """Return ``spatial_bins`` linear samples for each output; averages are of whole regions."""
    attributes = operation.get_attributes()
    if attributes["mode"] == "average":
        return None
    samples = attributes["spatial_bins_x"] * attributes["spatial_bins_y"]
    return _output_size(operation) * int(samples) * (_PER_POINT * _CORNERS + 1)


def mean_variance(operation: Any) -> int:
    """Return ``5 |x|``, or ``2 |x|`` if only the mean is subtracted."""
    return _input_size(operation) * (5 if operation.get_attributes()["normalize_variance"] else 2)


def local_response(operation: Any) -> int | None:
    """Return ``(|K| + 5) |x|`` for a window of ``size`` on each axis."""
    axes = _constant(operation, 1)
    if axes is None:
        return None
    window = math.prod([int(operation.get_attributes()["size"])] * len(axes))
    return _input_size(operation) * (window + 5)


_POINTS = {"nearest": 0, "linear": 2, "linear_onnx": 2, "cubic": 4}
"""Points on each axis; those of area and of the modes of Pillow depend on the scale."""


def interpolation(operation: Any) -> int | None:
    """Return ``2 |output| points``; None if the number of points depends on the scale."""
    attributes = operation.get_attributes()
    points = _POINTS.get(attributes["mode"])
    source, target = operation.get_input_shape(0), operation.get_output_shape(0)
    sizes = [(int(a), int(b)) for a, b in zip(source, target, strict=True)]
    shrinks = any(a > b for a, b in sizes)
    if points is None or (points and attributes["antialias"] and shrinks):
        return None
    total = math.prod(points for a, b in sizes if a != b)
    return _PER_POINT * count_elements(target) * total if total > 1 else 0


def grid_sample(operation: Any) -> int:
    """Return ``2 |output| points``."""
    points = {"nearest": 0, "bilinear": 2, "bicubic": 4}[operation.get_attributes()["mode"]]
    return _PER_POINT * _output_size(operation) * points**2


def deformable_convolution(operation: Any) -> int:
    """Return a linear sample of each input channel at each kernel position, and the mask.

    Data is [N, C, Y, X], weights [C_out, C / G, K...].
    """
    batch, channels = operation.get_input_shape(0)[:2]
    positions = count_elements(operation.get_output_shape(0)[2:])
    kernel = count_elements(operation.get_input_shape(2)[2:])
    samples = int(batch * channels) * positions * kernel
    masked = bool(operation.get_input_size() > 3)
    return samples * (_PER_POINT * _CORNERS + masked)


def einsum(operation: Any) -> int | None:
    """Return the sums of a single operand; None if the order of products is undefined."""
    shapes = [operation.get_input_shape(i) for i in range(operation.get_input_size())]
    operands, kept = parse_einsum(operation.get_attributes()["equation"], shapes)
    if len(operands) > 1:
        return 0 if len(operands) == 2 else None
    return math.prod(operands[0].values()) if operands[0].keys() - kept else 0


def attention(operation: Any) -> int:
    """Return scale, mask and softmax of the scores [..., L, S]."""
    attributes, inputs = operation.get_attributes(), operation.get_input_size()
    rows = count_elements(operation.get_output_shape(0)[:-1])
    scores = rows * int(operation.get_input_shape(1)[-2])
    masked = bool(attributes["causal"] or (inputs > 3 and len(operation.get_input_shape(3))))
    return scores * (1 + masked + 5)


def recurrent(operations: int, *, weights: int) -> Callable[[Any], int]:
    """Return the rule for ``operations`` on each value of the state in each step.

    LSTM 17: two sums and a function for each of 4 gates, 3 for the cell, 2 for the output. GRU 14:
    the same sums for 3 gates, 1 to reset, 4 to update; a separate bias is 1 more. RNN 3. Input
    ``weights`` is W, [gates hidden, n] or [directions, gates hidden, n].
    """

    def rule(operation: Any) -> int:
        attributes, w = operation.get_attributes(), operation.get_input_shape(weights)
        sequence = len(w) == 3
        steps = count_elements(operation.get_input_shape(0)[: 2 if sequence else 1])
        states = steps * int(attributes["hidden_size"]) * (int(w[0]) if sequence else 1)
        return states * (operations + bool(attributes.get("linear_before_reset")))

    return rule


def region_yolo(operation: Any) -> int:
    """Return the sigmoid of x, y and objectness, and the sigmoid or softmax of the classes."""
    attributes = operation.get_attributes()
    batch, _, *positions = operation.get_input_shape(0)
    if attributes["do_softmax"]:
        regions, values = int(attributes["num"]), 3 + 5 * int(attributes["classes"])
    else:
        regions, values = len(attributes["mask"]), 3 + int(attributes["classes"])
    return int(batch) * count_elements(positions) * regions * values


def scattering(operation: Any) -> int:
    """Return ``|updates|`` if the updates are reduced, 0 if they are written."""
    reduced = operation.get_attributes().get("reduction", "none") != "none"
    return _input_size(operation, 2) if reduced else 0


def embedding_bag(*, weights: int) -> Callable[[Any], int]:
    """Return the rule for a table, indices, and weights of the indices at input ``weights``."""

    def rule(operation: Any) -> int:
        row = count_elements(operation.get_input_shape(0)[1:])
        looked_up = _input_size(operation, 1) * row
        weighted = bool(operation.get_input_size() > weights)
        mean = operation.get_attributes().get("reduction") == "mean"
        return looked_up * (1 + weighted) + (_output_size(operation) if mean else 0)

    return rule


def top_k(operation: Any) -> int:
    """Return ``|x|`` to select, and ``|output| ceil(log2 k)`` to sort."""
    attributes = operation.get_attributes()
    k = int(operation.get_output_shape(0)[attributes["axis"]])
    levels = 0 if attributes["sort"] == "none" or not k else (k - 1).bit_length()
    return _input_size(operation) + _output_size(operation) * levels


def binary_search(*, values: int, ordered: int) -> Callable[[Any], int]:
    """Return the rule ``|values| ceil(log2(n + 1))`` for rows of n sorted values."""

    def rule(operation: Any) -> int:
        n = int(operation.get_input_shape(ordered)[-1])
        return _input_size(operation, values) * n.bit_length()

    return rule


def fourier(operation: Any) -> int | None:
    """Return ``5 N log2 N`` for each complex transform, ``2.5 N log2 N`` for each real one.

    Complex values are pairs on a last axis of 2.
    """
    kind = operation.get_type_name()
    source, target = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = _constant(operation, 1)
    if axes is None:
        return None
    rank = len(source) if kind == "RDFT" else len(source) - 1
    axes = [axis % rank for axis in axes]
    sizes = [int(size) for size in (target if kind == "IRDFT" else target[:-1])]
    if kind == "RDFT":  # its result has N // 2 + 1 values on the last axis
        sizes[axes[-1]] = int(source[axes[-1]])
        if operation.get_input_size() > 2:
            signal = _constant(operation, 2)
            if signal is None:
                return None
            sizes[axes[-1]] = signal[-1] if signal[-1] >= 0 else sizes[axes[-1]]
    points = math.prod(sizes[axis] for axis in axes)
    factor = 2.5 if kind in ("RDFT", "IRDFT") else 5.0
    return _transforms(math.prod(sizes) // points if points else 0, points, factor)


def _transforms(count: int, points: int, factor: float) -> int:
    return round(count * factor * points * math.log2(points)) if count else 0


def short_time_fourier(operation: Any) -> int | None:
    """Return a real transform of each frame of N values, after N products with the window."""
    size = _constant(operation, 2)
    if size is None:
        return None
    points = size[0]
    frames = _output_size(operation) // (2 * (points // 2 + 1))
    return frames * points + _transforms(frames, points, 2.5)
