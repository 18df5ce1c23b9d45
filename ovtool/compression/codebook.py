"""Weights as a small table of values and the places in it, in arrays and in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.graph.weights import Stored

# Widths that the CPU plugin reads right, the narrowest first: most entries -> type.
_WIDTHS = {2: "u1", 4: "u2", 16: "u4", 256: "u8", 1 << 16: "u16"}
_WIDEST = "i32"


@dataclass(frozen=True, slots=True)
class Table:
    """Shared weights.

    Args:
        values: [entries] the values that weights share.
        places: Of each weight its value's place in the table, in the shape of the weights.
        held: Whether the first value is zero and stays it in training.
        compute: Makes the operations that compute the places in a graph, in a shape; None where
            they are stored.
    """

    values: NDArray[np.float32]
    places: NDArray[np.int64]
    held: bool = False
    compute: Callable[[tuple[int, ...]], Any] | None = None

    @property
    def type(self) -> str:
        """The narrowest type of OpenVINO that holds the places."""
        fits = (name for most, name in _WIDTHS.items() if len(self.values) <= most)
        return next(fits, _WIDEST)

    @property
    def stored_bits(self) -> int:
        """Size of the table, in f32, and of places that are stored."""
        if self.compute is not None:
            return 32 * len(self.values)
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
    places: Any
    if table.compute is not None:
        places = table.compute(table.places.shape)
    else:
        places = low_bit(table.places, table.type, f"{name}/indices")
        if table.type != _WIDEST:
            places = op.convert(places, "i32")
    values = op.constant(table.values, name=f"{name}/table")
    node: Any = op.gather(values, places, op.constant(np.int32(0)))
    if scale is not None:
        node = op.multiply(node, op.constant(scale.astype(np.float32)))
    if kind != ov.Type.f32:
        node = op.convert(node, kind.get_type_name())
    stored.replace(node)


def low_bit(values: NDArray[Any], type_name: str, name: str) -> ov.Node:
    """Return a constant of integers of any width, packed where it is below a byte."""
    import openvino as ov
    from openvino import opset15 as op

    kind = getattr(ov.Type, type_name)  # ov.Type("u2") would be numpy's, of two bytes
    bits = int(kind.bitwidth)
    whole = values.astype(f"{type_name[0]}{max(1, bits // 8)}")
    return op.constant(np.ascontiguousarray(whole), dtype=kind, name=name)
