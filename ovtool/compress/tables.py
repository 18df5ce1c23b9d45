"""Weights as a small table of values and the places in it, in arrays and in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.compress.layers import Stored

# Widths that the CPU plugin reads right, the narrowest first: most entries -> type.
_WIDTHS = {4: "u2", 16: "u4", 256: "u8", 1 << 16: "u16"}
_WIDEST = "i32"


@dataclass(frozen=True, slots=True)
class Table:
    """Shared weights.

    Args:
        values: [entries] the values that weights share.
        places: Of each weight its value's place in the table, in the shape of the weights.
        held: Whether the first value is zero and stays it in training.
    """

    values: NDArray[np.float32]
    places: NDArray[np.int64]
    held: bool = False

    @property
    def type(self) -> str:
        """The narrowest type of OpenVINO that holds the places."""
        fits = (name for most, name in _WIDTHS.items() if len(self.values) <= most)
        return next(fits, _WIDEST)

    @property
    def stored_bits(self) -> int:
        """Size of places and table, the table in f32."""
        bits = int("".join(filter(str.isdigit, self.type)))
        return self.places.size * bits + 32 * len(self.values)

    def weights(self) -> NDArray[np.float32]:
        """Return the weights that the table stands for."""
        return self.values[self.places]


def write(stored: Stored, table: Table, scale: NDArray[np.float32] | None = None) -> None:
    """Put a table in place of a layer's weights, as ``Gather(table, places)``.

    The plugins fold it while they compile, so the layer runs as one of plain weights.

    Args:
        stored: The weights.
        table: In the shape that the layer reads.
        scale: Multiplies the looked-up values, broadcast; None: by nothing.
    """
    import openvino as ov
    from openvino import opset15 as op

    name = stored.constant.get_friendly_name()
    kind = stored.layer.input_value(stored.index).get_element_type()
    places = low_bit(table.places, ov.Type(table.type), f"{name}/indices")
    if table.type != _WIDEST:
        places = op.convert(places, "i32")
    values = op.constant(table.values, name=f"{name}/table")
    node: Any = op.gather(values, places, op.constant(np.int32(0)))
    if scale is not None:
        node = op.multiply(node, op.constant(scale.astype(np.float32)))
    if kind != ov.Type.f32:
        node = op.convert(node, kind.get_type_name())
    stored.replace(node)


def low_bit(values: NDArray[Any], kind: ov.Type, name: str) -> ov.Node:
    """Return a constant of unsigned integers of any width, packed where it is below a byte."""
    import openvino as ov
    from openvino import opset15 as op

    bits = int(kind.bitwidth)
    if bits >= 8:
        number = f"{kind.get_type_name()[0]}{bits // 8}"
        return op.constant(np.ascontiguousarray(values.astype(number)), name=name)
    packed = ov.Tensor(pack(values, bits), list(values.shape), kind)
    constant = op.constant(packed)
    constant.set_friendly_name(name)
    return constant


def pack(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return values of 1, 2 or 4 bits as bytes; the first is lowest, but highest where of 1 bit."""
    flat = values.astype(np.uint8).ravel()
    if bits == 1:
        return np.packbits(flat)
    fit = 8 // bits
    rows = np.concatenate([flat, np.zeros(-len(flat) % fit, np.uint8)]).reshape(-1, fit)
    shifted = rows << np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)
