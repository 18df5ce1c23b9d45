"""Ternary and binary weights, with a scale for each output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ovtool.compression.codebook import Codebook, write_codebook
from ovtool.compression.layer_selection import LayerSelectionSettings, select_weights
from ovtool.compression.method import Method, MethodContext, MethodResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encoding = tuple[NDArray[np.int8], NDArray[np.float32]]
    """Codes [channels, weights per channel] and scales [channels]."""


class LowBitSettings(LayerSelectionSettings):
    """Settings of ternary and binary weights; both papers skip the first and the last layer."""

    keep_first: bool = Field(True, description="skip the first layer")
    keep_last: bool = Field(True, description="skip the last layer")


def ternary(rows: NDArray[np.float32]) -> Encoding:
    """Return codes of -1, 0 and 1 and the scale of each row (Li et al. 2016, TWN).

    A weight is 0 up to ``0.7 * mean|w|``; the scale is the mean magnitude of the rest, which
    minimizes the squared error for these codes. The paper computes both per layer; a row here is an
    output channel.
    """
    sizes = np.abs(rows)
    codes = np.sign(rows) * (sizes > 0.7 * sizes.mean(1, keepdims=True))
    used = np.abs(codes)
    scales = (sizes * used).sum(1) / np.maximum(used.sum(1), 1)
    return codes.astype(np.int8), scales.astype(np.float32)


def binary(rows: NDArray[np.float32]) -> Encoding:
    """Return codes of -1 and 1 and the scale ``mean|w|`` of each row (Rastegari et al. 2016).

    These are the weights of XNOR-Net (Binary-Weight-Network); activations are not changed.
    """
    codes = np.where(rows < 0, -1, 1).astype(np.int8)
    return codes, np.abs(rows).mean(1).astype(np.float32)


def _apply(
    context: MethodContext[LowBitSettings],
    encode: Callable[[NDArray[np.float32]], Encoding],
    levels: list[int],
) -> MethodResult:
    """Replace weights by a codebook of ``levels`` and scales.

    A codebook rather than a zero point: the CPU plugin folds a codebook during compilation, but
    subtracts a zero point of convolutions in every inference.
    """
    entries = np.array(levels, np.float32)
    selected = select_weights(context.model, context.settings, embeddings=False)
    context.progress.start("replacing weights", len(selected))
    error = total = 0.0
    for stored in selected:
        values = stored.values()
        axes = stored.channel_axes
        rows = np.moveaxis(values, axes, range(len(axes)))
        outer = rows.shape[: len(axes)]
        codes, scales = encode(rows.reshape(int(np.prod(outer)), -1))
        restored = np.moveaxis(codes.reshape(rows.shape), range(len(axes)), axes)
        shape = [size if axis in axes else 1 for axis, size in enumerate(values.shape)]
        scale = scales.reshape(outer).reshape(shape)
        error += float(np.square(values - restored * scale).sum())
        total += float(np.square(values).sum())
        write_codebook(stored, Codebook(entries, np.searchsorted(entries, restored)), scale)
        context.progress.advance()
    relative = float(np.sqrt(error / total)) if total else 0.0
    return MethodResult(context.model, {"layers": len(selected), "relative_error": relative})


TERNARY = Method(
    LowBitSettings,
    frozenset(),
    lambda context: _apply(context, ternary, [-1, 0, 1]),
    "size: 2 bits per weight; no speed, since no engine computes in ternary weights",
    untrained="none: EfficientNet-Lite0 has 259 of 300 photographs right in FP32, 1 in ternary",
)
BINARY = Method(
    LowBitSettings,
    frozenset(),
    lambda context: _apply(context, binary, [-1, 1]),
    "size: 1 bit per weight; no speed, since no engine computes in binary weights",
)
