"""Operations other than multiply-adds of one operation, as :mod:`.op_rules` counts them.

Each takes an operation with static shapes, and returns None where its attributes, or inputs that
are not constant, leave open how much it does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.graph.geometry import extents

if TYPE_CHECKING:
    from collections.abc import Callable

_MIXED = 2
"""Operations for each point that a value is mixed from: a product and a sum."""
_CORNERS = 4
"""Points of an image that a value between them is mixed from, where linear."""


def elements(shape: Any) -> int:
    """Return the number of values of a static shape."""
    return math.prod(int(size) for size in shape)


def _read(operation: Any, place: int = 0) -> int:
    return elements(operation.get_input_shape(place))


def _written(operation: Any) -> int:
    return elements(operation.get_output_shape(0))


def _constant(operation: Any, place: int) -> list[int] | None:
    """Return the whole numbers of a constant input; None for another."""
    source = operation.input_value(place).get_node()
    if source.get_type_name() != "Constant":
        return None
    return [int(value) for value in source.get_data().reshape(-1)]


def nothing(_: Any) -> int:
    """Return 0."""
    return 0


def each_input(factor: int = 1) -> Callable[[Any], int]:
    """Return the rule ``factor |input|``."""
    return lambda operation: factor * _read(operation)


def each_output(factor: int = 1) -> Callable[[Any], int]:
    """Return the rule ``factor |output|``."""
    return lambda operation: factor * _written(operation)


def pooling(operation: Any) -> int:
    """Return ``|output| |K|``."""
    return _written(operation) * elements(operation.get_attributes()["kernel"])


def adaptive_pooling(operation: Any) -> int:
    """Return the values of all windows."""
    taken, given = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = [
        sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))
        for n, m in zip(map(int, taken[2:]), map(int, given[2:]), strict=True)
    ]
    return elements(taken[:2]) * math.prod(axes)


def roi_pooling(operation: Any) -> int | None:
    """Return one linear sample for each output; the largest of a region has as many as that has."""
    if operation.get_attributes()["method"] != "bilinear":
        return None
    return _written(operation) * _MIXED * _CORNERS


def roi_align(operation: Any) -> int | None:
    """Return ``sampling_ratio^2`` linear samples for each output; of 0 each region has its own."""
    side = int(operation.get_attributes()["sampling_ratio"])
    return _written(operation) * side * side * (_MIXED * _CORNERS + 1) if side else None


def position_sensitive_pooling(operation: Any) -> int | None:
    """Return ``spatial_bins`` linear samples for each output; averages are of whole regions."""
    told = operation.get_attributes()
    if told["mode"] == "average":
        return None
    samples = told["spatial_bins_x"] * told["spatial_bins_y"]
    return _written(operation) * int(samples) * (_MIXED * _CORNERS + 1)


def mean_variance(operation: Any) -> int:
    """Return ``5 |x|``, ``2 |x|`` where only the mean is taken away."""
    return _read(operation) * (5 if operation.get_attributes()["normalize_variance"] else 2)


def neighbours(operation: Any) -> int | None:
    """Return ``(|K| + 5) |x|`` for a window of ``size`` on each axis."""
    axes = _constant(operation, 1)
    if axes is None:
        return None
    window = math.prod([int(operation.get_attributes()["size"])] * len(axes))
    return _read(operation) * (window + 5)


_POINTS = {"nearest": 0, "linear": 2, "linear_onnx": 2, "cubic": 4}
"""On each axis; those of area and of Pillow's modes depend on the scale."""


def interpolation(operation: Any) -> int | None:
    """Return ``2 |output| points``; None where the points depend on the scale."""
    told = operation.get_attributes()
    points = _POINTS.get(told["mode"])
    taken, given = operation.get_input_shape(0), operation.get_output_shape(0)
    sizes = [(int(a), int(b)) for a, b in zip(taken, given, strict=True)]
    shrinks = any(a > b for a, b in sizes)
    if points is None or (points and told["antialias"] and shrinks):
        return None
    mixed = math.prod(points for a, b in sizes if a != b)
    return _MIXED * elements(given) * mixed if mixed > 1 else 0


def grid_sample(operation: Any) -> int:
    """Return ``2 |output| points``."""
    points = {"nearest": 0, "bilinear": 2, "bicubic": 4}[operation.get_attributes()["mode"]]
    return _MIXED * _written(operation) * points**2


def deformable_convolution(operation: Any) -> int:
    """Return a linear sample of each input channel at each place of the kernel, and the mask's.

    Data is [N, C, Y, X], weights [C_out, C / G, K...].
    """
    batch, channels = operation.get_input_shape(0)[:2]
    places = elements(operation.get_output_shape(0)[2:])
    samples = int(batch * channels) * places * elements(operation.get_input_shape(2)[2:])
    masked = bool(operation.get_input_size() > 3)
    return samples * (_MIXED * _CORNERS + masked)


def einsum(operation: Any) -> int | None:
    """Return the sums of a single operand; None where the order of products is open."""
    shapes = [operation.get_input_shape(i) for i in range(operation.get_input_size())]
    operands, kept = extents(operation.get_attributes()["equation"], shapes)
    if len(operands) > 1:
        return 0 if len(operands) == 2 else None
    return math.prod(operands[0].values()) if operands[0].keys() - kept else 0


def attention(operation: Any) -> int:
    """Return scale, mask and softmax of the scores [..., L, S]."""
    told, inputs = operation.get_attributes(), operation.get_input_size()
    scores = elements(operation.get_output_shape(0)[:-1]) * int(operation.get_input_shape(1)[-2])
    masked = bool(told["causal"] or (inputs > 3 and len(operation.get_input_shape(3))))
    return scores * (1 + masked + 5)


def recurrent(operations: int, *, weights: int) -> Callable[[Any], int]:
    """Return the rule for ``operations`` on each value of the state in each step.

    LSTM 17: two sums and a function for 4 gates, 3 for the cell, 2 for the output.  GRU 14: the
    same sums for 3 gates and 1 to reset, 4 to update; a bias of its own is 1 more.  RNN 3.

    Args:
        operations: On each value.
        weights: The input of W, [gates hidden, n], of a sequence with the directions before.
    """

    def rule(operation: Any) -> int:
        told, w = operation.get_attributes(), operation.get_input_shape(weights)
        sequence = len(w) == 3
        steps = elements(operation.get_input_shape(0)[: 2 if sequence else 1])
        states = steps * int(told["hidden_size"]) * (int(w[0]) if sequence else 1)
        return states * (operations + bool(told.get("linear_before_reset")))

    return rule


def region_yolo(operation: Any) -> int:
    """Return the logistic function of x, y and objectness, and that or the softmax of classes."""
    told = operation.get_attributes()
    batch, _, *places = operation.get_input_shape(0)
    if told["do_softmax"]:
        regions, each = int(told["num"]), 3 + 5 * int(told["classes"])
    else:
        regions, each = len(told["mask"]), 3 + int(told["classes"])
    return int(batch) * elements(places) * regions * each


def scattering(operation: Any) -> int:
    """Return ``|updates|`` where they are reduced, 0 where they are put in place."""
    reduced = operation.get_attributes().get("reduction", "none") != "none"
    return _read(operation, 2) if reduced else 0


def embedding_bag(*, weights: int) -> Callable[[Any], int]:
    """Return the rule for a table, indices, and weights of each index at input ``weights``."""

    def rule(operation: Any) -> int:
        looked_up = _read(operation, 1) * elements(operation.get_input_shape(0)[1:])
        weighted = bool(operation.get_input_size() > weights)
        mean = operation.get_attributes().get("reduction") == "mean"
        return looked_up * (1 + weighted) + (_written(operation) if mean else 0)

    return rule


def top_k(operation: Any) -> int:
    """Return ``|x|`` to select, and ``|output| ceil(log2 k)`` to sort."""
    told = operation.get_attributes()
    k = int(operation.get_output_shape(0)[told["axis"]])
    levels = 0 if told["sort"] == "none" or not k else (k - 1).bit_length()
    return _read(operation) + _written(operation) * levels


def binary_search(*, values: int, ordered: int) -> Callable[[Any], int]:
    """Return the rule ``|values| ceil(log2(n + 1))`` for rows of n sorted values."""

    def rule(operation: Any) -> int:
        n = int(operation.get_input_shape(ordered)[-1])
        return _read(operation, values) * n.bit_length()

    return rule


def fourier(operation: Any) -> int | None:
    """Return ``5 N log2 N`` for each complex transform, ``2.5 N log2 N`` for each real one.

    Complex values are pairs, on a last axis of 2.
    """
    kind = operation.get_type_name()
    taken, given = operation.get_input_shape(0), operation.get_output_shape(0)
    axes = _constant(operation, 1)
    if axes is None:
        return None
    rank = len(taken) if kind == "RDFT" else len(taken) - 1
    axes = [axis % rank for axis in axes]
    sizes = [int(size) for size in (given if kind == "IRDFT" else given[:-1])]
    if kind == "RDFT":  # whose result has N // 2 + 1 values on the last axis
        sizes[axes[-1]] = int(taken[axes[-1]])
        if operation.get_input_size() > 2:
            wanted = _constant(operation, 2)
            if wanted is None:
                return None
            sizes[axes[-1]] = wanted[-1] if wanted[-1] >= 0 else sizes[axes[-1]]
    points = math.prod(sizes[axis] for axis in axes)
    factor = 2.5 if kind in ("RDFT", "IRDFT") else 5.0
    return _transforms(math.prod(sizes) // points if points else 0, points, factor)


def _transforms(count: int, points: int, factor: float) -> int:
    return round(count * factor * points * math.log2(points)) if count else 0


def short_time_fourier(operation: Any) -> int | None:
    """Return a real transform of each frame of N, after N products with the window."""
    size = _constant(operation, 2)
    if size is None:
        return None
    points = size[0]
    frames = _written(operation) // (2 * (points // 2 + 1))
    return frames * points + _transforms(frames, points, 2.5)
