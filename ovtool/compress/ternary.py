"""Weights of three values or of two, with a scale for each output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import Field

from ovtool.compress.layers import Layered, Stored, chosen
from ovtool.compress.method import Compressed, Method, Work
from ovtool.compress.tables import low_bit

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


def _apply(work: Work[FewValuesSettings], codes_of: Codes, kind: str) -> Compressed:
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
        _write(stored, back, scale, kind)
        work.progress.advance()
    relative = float(np.sqrt(error / total)) if total else 0.0
    return Compressed(work.model, {"layers": len(found), "relative_error": relative})


def _write(stored: Stored, codes: NDArray[Any], scale: NDArray[np.float32], kind: str) -> None:
    """Store codes in a low-bit type, as ``(codes - offset) * scale``.

    ``u2`` holds -1, 0 and 1 as 0, 1 and 2; ``u1`` holds -1 and 1 as 0 and 1, less 0.5, doubled.
    """
    import openvino as ov
    from openvino import opset15 as op

    name = stored.constant.get_friendly_name()
    reads = stored.layer.input_value(stored.index).get_element_type()
    stored_codes, offset = (codes + 1, 1.0) if kind == "u2" else ((codes + 1) // 2, 0.5)
    node: Any = op.convert(low_bit(stored_codes, kind, f"{name}/codes"), "f32")
    node = op.subtract(node, op.constant(np.float32(offset)))
    node = op.multiply(node, op.constant(scale if kind == "u2" else 2 * scale))
    if reads != ov.Type.f32:
        node = op.convert(node, reads.get_type_name())
    stored.replace(node)


TERNARY = Method(
    FewValuesSettings,
    frozenset(),
    lambda work: _apply(work, ternary, "u2"),
    "size: 2 bits a weight; no speed, for no engine multiplies by three values",
)
BINARY = Method(
    FewValuesSettings,
    frozenset(),
    lambda work: _apply(work, binary, "u1"),
    "size: 1 bit a weight; no speed, for no engine multiplies by two values here",
)
