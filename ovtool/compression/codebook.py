"""Weights as a small codebook of values and indices into it, in arrays and in a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.graph.weights import LayerWeights

# Index types that the CPU plugin reads correctly, the narrowest first: maximum entries -> type.
_INDEX_TYPES = {2: "u1", 4: "u2", 16: "u4", 256: "u8", 1 << 16: "u16"}
_WIDEST_TYPE = "i32"


@dataclass(frozen=True, slots=True)
class Codebook:
    """Shared weights.

    ``values`` are [entries]; ``indices`` have the shape of the weights. ``zero_first``: the first
    value is zero and training keeps it. ``compute`` creates the operations that compute the indices
    for a shape, in place of stored indices.
    """

    values: NDArray[np.float32]
    indices: NDArray[np.int64]
    zero_first: bool = False
    compute: Callable[[tuple[int, ...]], Any] | None = None

    @property
    def index_type(self) -> str:
        """The narrowest OpenVINO type for the indices."""
        fits = (name for limit, name in _INDEX_TYPES.items() if len(self.values) <= limit)
        return next(fits, _WIDEST_TYPE)

    @property
    def stored_bits(self) -> int:
        """Size of the values, in f32, and of the stored indices, in bits."""
        if self.compute is not None:
            return 32 * len(self.values)
        bits = int("".join(filter(str.isdigit, self.index_type)))
        return self.indices.size * bits + 32 * len(self.values)

    def weights(self) -> NDArray[np.float32]:
        """Return the weights."""
        return self.values[self.indices]


def write_codebook(
    stored: LayerWeights, codebook: Codebook, scale: NDArray[np.float32] | None = None
) -> None:
    """Replace a layer's weights by ``Gather(values, indices)``.

    The plugins fold it during compilation, so the layer runs like a layer with plain weights.

    The indices have the shape that the layer reads; ``scale`` is a factor that broadcasts.
    """
    import openvino as ov
    from openvino import opset15 as op

    name = stored.constant.get_friendly_name()
    kind = stored.layer.input_value(stored.index).get_element_type()
    indices: Any
    if codebook.compute is not None:
        indices = codebook.compute(codebook.indices.shape)
    else:
        indices = low_bit_constant(codebook.indices, codebook.index_type, f"{name}/indices")
        if codebook.index_type != _WIDEST_TYPE:
            indices = op.convert(indices, "i32")
    values = op.constant(codebook.values, name=f"{name}/table")
    node: Any = op.gather(values, indices, op.constant(np.int32(0)))
    if scale is not None:
        node = op.multiply(node, op.constant(scale.astype(np.float32)))
    if kind != ov.Type.f32:
        node = op.convert(node, kind.get_type_name())
    stored.replace(node)


def low_bit_constant(values: NDArray[Any], type_name: str, name: str) -> ov.Node:
    """Return a constant of integers of any width, packed for widths below a byte."""
    import openvino as ov
    from openvino import opset15 as op

    kind = getattr(ov.Type, type_name)  # ov.Type("u2") would be numpy's, of two bytes
    bits = int(kind.bitwidth)
    whole = values.astype(f"{type_name[0]}{max(1, bits // 8)}")
    return op.constant(np.ascontiguousarray(whole), dtype=kind, name=name)
