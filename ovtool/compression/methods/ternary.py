"""Weights of three values or of two, with a scale for each output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import Field

from ovtool.compression.codebook import Table, write
from ovtool.compression.layer_selection import Layered, chosen
from ovtool.compression.method import Compressed, Method, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Codes(Protocol):
    """Makes codes and scales of weights, [channels, weights of a channel]."""

    def __call__(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Return them."""


class FewValuesSettings(Layered):
    """Settings of ternary and binary weights; both papers leave the outer layers as they are."""

    keep_first: bool = Field(True, description="leave the first layer as it is")
    keep_last: bool = Field(True, description="leave the last layer as it is")


def ternary(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes of -1, 0 and 1 and the scale of each channel (Li et al. 2016, TWN).

    A weight is 0 up to ``0.7 * mean|w|``; the scale is the mean size of the others, which makes
    the squared error least for these codes.  The paper takes both over a layer; here they are of
    each output channel.

    Args:
        rows: [channels, weights of a channel].
    """
    sizes = np.abs(rows)
    codes = np.sign(rows) * (sizes > 0.7 * sizes.mean(1, keepdims=True))
    used = np.abs(codes)
    scales = (sizes * used).sum(1) / np.maximum(used.sum(1), 1)
    return codes.astype(np.int8), scales.astype(np.float32)


def binary(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return codes of -1 and 1 and the scale ``mean|w|`` of each channel (Rastegari et al. 2016).

    These are the weights of XNOR-Net (Binary-Weight-Network); activations stay as they are.

    Args:
        rows: [channels, weights of a channel].
    """
    codes = np.where(rows < 0, -1, 1).astype(np.int8)
    return codes, np.abs(rows).mean(1).astype(np.float32)


def _apply(work: Work[FewValuesSettings], codes_of: Codes, values_of: list[int]) -> Compressed:
    """Put a table of ``values_of`` and scales in place of weights.

    A table, and no zero point to subtract: the CPU plugin folds the one while it compiles, and
    computes the other for convolutions at each inference.
    """
    entries = np.array(values_of, np.float32)
    found = chosen(work.model, work.settings, embeddings=False)
    work.progress.start("putting weights in few values", len(found))
    error = total = 0.0
    for stored in found:
        values = stored.values()
        axes = stored.channel_axes
        rows = np.moveaxis(values, axes, range(len(axes)))
        outer = rows.shape[: len(axes)]
        codes, scales = codes_of(rows.reshape(int(np.prod(outer)), -1))
        back = np.moveaxis(codes.reshape(rows.shape), range(len(axes)), axes)
        shape = [size if axis in axes else 1 for axis, size in enumerate(values.shape)]
        scale = scales.reshape(outer).reshape(shape)
        error += float(np.square(values - back * scale).sum())
        total += float(np.square(values).sum())
        write(stored, Table(entries, np.searchsorted(entries, back)), scale)
        work.progress.advance()
    relative = float(np.sqrt(error / total)) if total else 0.0
    return Compressed(work.model, {"layers": len(found), "relative_error": relative})


TERNARY = Method(
    FewValuesSettings,
    frozenset(),
    lambda work: _apply(work, ternary, [-1, 0, 1]),
    "size: 2 bits a weight; no speed, for no engine multiplies by three values",
)
BINARY = Method(
    FewValuesSettings,
    frozenset(),
    lambda work: _apply(work, binary, [-1, 1]),
    "size: 1 bit a weight; no speed, for no engine multiplies by two values here",
)
