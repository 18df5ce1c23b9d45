"""Ranges of 8-bit weights whose sums of two products fit 16 bits.

CPUs without VNNI multiply activations of 0 to 255 by weights of -127 to 127, and add the products
of two neighboring input channels in 16 bits, with saturation (VPMADDUBSW, Intel 64 Software
Developer's Manual). NNCF halves the range of all weights, so that every sum fits. Only weights of
the same sign add up, and a sum fits if their magnitudes add up to at most 128: most output channels
need much less than half the range. The kernels of depthwise convolutions add single products in 32
bits; those of other grouped convolutions pair channels in other ways, and keep half the range.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov
    from numpy.typing import NDArray

_LEVELS = 255


@contextlib.contextmanager
def fitted() -> Iterator[None]:
    """Let ``nncf.quantize`` with ``OverflowFix.ENABLE`` halve ranges of weights only where needed.

    The ranges change before NNCF corrects biases, which depend on them.
    """
    from nncf.quantization.algorithms.min_max.algorithm import MinMaxQuantization

    original = MinMaxQuantization.apply

    @functools.wraps(original)
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        model = original(self, *args, **kwargs)
        fit_ranges(model)
        return model

    MinMaxQuantization.apply = apply
    try:
        yield
    finally:
        MinMaxQuantization.apply = original


def fit_ranges(model: ov.Model) -> int:
    """Narrow the ranges of weights that are wider than sums of two products need, in place.

    Args:
        model: A graph whose weights have quantizers with half of their range.

    Returns:
        The number of layers whose ranges changed.
    """
    return sum(_fit(operation) for operation in model.get_ordered_ops())


def _fit(operation: Any) -> bool:
    from openvino import opset15 as op

    axis = _input_axis(operation)
    if axis is None:
        return False
    quantizer = operation.input_value(1).get_node()
    if quantizer.get_type_name() != "FakeQuantize":
        return False
    if quantizer.get_attributes()["levels"] != _LEVELS:
        return False
    weights = _read(quantizer.input_value(0).get_node())
    low, high = (_read(quantizer.input_value(port).get_node()) for port in (1, 2))
    if weights is None or high is None or low is None or not np.array_equal(low, -high):
        return False
    needed = _needed_range(weights, axis, high.shape)
    # NNCF's range is twice the largest weight, or more where that is nearly 0.
    fitted_high = np.clip(needed, high / 2, high).astype(high.dtype)
    ends = [op.constant(values).output(0) for values in (-fitted_high, fitted_high)]
    for port, end in enumerate(ends * 2, 1):
        quantizer.input(port).replace_source_output(end)
    return not np.array_equal(fitted_high, high)


def _input_axis(operation: Any) -> int | None:
    """Return the axis of the weights' input channels, -1 without pairs; None to keep the range."""
    kind = operation.get_type_name()
    if kind == "Convolution":
        return 1
    if kind == "ConvolutionBackpropData":
        return 0
    if kind not in ("GroupConvolution", "MatMul"):
        return None
    shape = operation.input_value(1).get_partial_shape()
    if kind == "GroupConvolution":
        # [groups, outputs of a group, inputs of a group, ...]
        return -1 if shape[1] == 1 and shape[2] == 1 else None
    if kind == "MatMul" and shape.rank == 2:
        return 1 if operation.get_attributes()["transpose_b"] else 0
    return None


def _needed_range(
    weights: NDArray[np.float32], axis: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the largest weight or sum of a pair for each range, as ``shape``."""
    largest = np.abs(weights)
    if axis >= 0:
        rows = np.moveaxis(weights, axis, 0)
        rows = np.concatenate([rows, np.zeros_like(rows[: len(rows) % 2])])
        first, second = rows[0::2], rows[1::2]
        sums = np.where(first * second > 0, np.abs(first + second), 0)
        pairs = np.repeat(sums, 2, axis=0)[: weights.shape[axis]]
        largest = np.maximum(largest, np.moveaxis(pairs, 0, axis))
    # The ranges broadcast to the weights, aligned at the last axis.
    full = (1,) * (weights.ndim - len(shape)) + tuple(shape)
    kept = tuple(index for index, size in enumerate(full) if size == 1)
    return np.asarray(largest.max(axis=kept, keepdims=True).reshape(shape))


def _read(node: Any) -> NDArray[np.float32] | None:
    """Return the values of a constant behind views of its type; None for other nodes."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return np.asarray(node.get_data(dtype=np.float32))
