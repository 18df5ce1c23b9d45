"""What a model's weights take: how many, how many not zero, how few values, and coded how small."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.graph import huffman
from ovtool.graph import weights as stored_weights

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.variant import Variant
    from ovtool.graph.weights import Stored

KEY = "storage"
"""Of a step's details, under which it is."""

_SIGNED_FLOATS = {"f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "f4e2m1"}
_NF4_ZERO = 7  # place of 0 in the table of NormalFloat (Dettmers et al. 2023, QLoRA)


@dataclass(frozen=True, slots=True)
class Storage:
    """What the weights of a model's layers are; biases, scales and tables are none.

    Args:
        parameters: Number of weights; those that layers share count once.
        nonzero_pct: Share of them that is not zero; None without any.
        distinct_weights: Distinct stored values, before scales, summed over the layers.
        distinct_most: The most of them in one layer.
        coded_mib: ON PAPER: what the two files would take with the weights of each layer stored
            as what is least: as they are, under a Huffman code, or as relative indices and values
            of what is not zero, under a Huffman code each (Han et al. 2016, Deep Compression).
            The codes are counted in, and everything else as it is.
        weights_mib: What the weights alone take as they are stored.
        coded_weights_mib: ON PAPER: what the weights alone would take so coded.
    """

    parameters: int
    nonzero_pct: float | None
    distinct_weights: int
    distinct_most: int
    coded_mib: float
    weights_mib: float
    coded_weights_mib: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Layer:
    weights: int
    nonzero: int
    distinct: int
    stored_bits: int
    coded_bits: float


def storage(xml: Path, model: ov.Model) -> Storage:
    """Look at all stored weights of a saved model.

    Args:
        xml: Its file, with the one of the weights beside it.
        model: As read from there.
    """
    found = _layers(model)
    total = sum(layer.weights for layer in found)
    saved = sum(layer.stored_bits - layer.coded_bits for layer in found)
    size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    return Storage(
        total,
        round(100 * sum(layer.nonzero for layer in found) / total, 3) if total else None,
        sum(layer.distinct for layer in found),
        max((layer.distinct for layer in found), default=0),
        units.mib(size - int(saved // 8)),
        units.mib(sum(layer.stored_bits for layer in found) / 8),
        units.mib(sum(layer.coded_bits for layer in found) / 8),
    )


def counted(model: ov.Model) -> tuple[int, int]:
    """Return the number of weights of a model's layers, and of those that are not zero."""
    found = _layers(model)
    return sum(layer.weights for layer in found), sum(layer.nonzero for layer in found)


def _layers(model: ov.Model) -> list[_Layer]:
    constants = {_place(stored): stored for stored in stored_weights.weights(model)}
    return [_layer(stored) for stored in constants.values()]


def storage_of(variant: Variant) -> Storage:
    """Return it for a variant on disk: as its record has it, or from its files."""
    import openvino as ov

    steps = variant.record.steps
    known = steps[-1].details.get(KEY) if steps else None
    if known is not None:
        return Storage(**known)
    return storage(variant.xml, ov.Core().read_model(variant.xml))


def _place(stored: Stored) -> tuple[int, int]:
    """Return where in memory weights lie: constants of equal values are stored, and read, once."""
    data = stored.constant.data
    return data.ctypes.data, data.nbytes


def _layer(stored: Stored) -> _Layer:
    symbols = symbols_of(stored.constant)
    bits = int(stored.constant.get_element_type().bitwidth)
    zero = _zeros(stored, symbols)
    flat, places = symbols.ravel(), np.flatnonzero(~zero)
    counts = _counts(flat, bits)
    raw = flat.size * bits
    coded = huffman.coded_bits(counts, bits, raw)
    if len(places) < flat.size:
        some = _counts(flat[places], bits)
        coded = huffman.sparse_bits(places, some, bits, coded)
    return _Layer(flat.size, len(places), len(counts), raw, coded)


def _counts(symbols: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return how often each of the symbols occurs that do."""
    if bits <= 16:
        counts = np.bincount(symbols, minlength=1)
        return counts[counts > 0]
    return np.unique(symbols, return_counts=True)[1]


def symbols_of(constant: Any) -> NDArray[Any]:
    """Return the stored bit patterns of a constant as unsigned integers, in its shape."""
    bits, shape = int(constant.get_element_type().bitwidth), list(constant.output(0).get_shape())
    data: NDArray[Any] = constant.data
    if bits >= 8:
        return data.view(f"u{bits // 8}").reshape(shape)
    packed, count = data.reshape(-1).view(np.uint8), math.prod(shape)
    if bits in (3, 6):
        return unpacked_of_three(packed, bits)[:count].reshape(shape)
    return unpacked(packed, bits, count).reshape(shape)


def unpacked(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Return symbols of 1, 2 or 4 bits; the first is the lowest, but the highest where of 1 bit."""
    if bits == 1:
        return np.unpackbits(packed, count=count)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    every = (packed[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    return every.reshape(-1)[:count]


def unpacked_of_three(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return symbols of 3 or 6 bits, in OpenVINO's groups of three bytes.

    Two bytes have the low bits of 8 or 4 symbols, the third has the high ones; the first symbol is
    the highest.
    """
    low, high = (2, 1) if bits == 3 else (4, 2)
    rows = packed.reshape(-1, 3)

    def parts(found: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
        shifts = np.arange(8 - width, -1, -width, dtype=np.uint8)
        every = (found[:, :, None] >> shifts) & np.uint8((1 << width) - 1)
        return every.reshape(len(rows), -1)

    return (parts(rows[:, :2], low) | parts(rows[:, 2:], high) << np.uint8(low)).ravel()


def _zeros(stored: Stored, symbols: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of the stored weights come to zero; scales are never zero."""
    for node in reversed(stored.passed):
        if stored_weights.codebook(node) == "stored":
            table = node.input_value(0).get_node()
            while table.get_type_name() == "Convert":
                table = table.input_value(0).get_node()
            entries: NDArray[np.bool_] = table.get_data(dtype=np.float32).ravel() == 0
            zero: NDArray[np.bool_] = entries[symbols]
            return zero
        if node.get_type_name() == "Subtract":
            found: NDArray[np.bool_] = _numbers(stored, symbols) == _constant(node.input_value(1))
            return found
        if node.get_type_name() in {"Multiply", "FakeQuantize"}:
            break
    kind = stored.constant.get_element_type()
    if kind.get_type_name() in _SIGNED_FLOATS:
        symbols = symbols & symbols.dtype.type(2 ** (int(kind.bitwidth) - 1) - 1)
    plain: NDArray[np.bool_] = symbols == (_NF4_ZERO if kind.get_type_name() == "nf4" else 0)
    return plain


def _numbers(stored: Stored, symbols: NDArray[Any]) -> NDArray[Any]:
    """Return the integers that bit patterns stand for."""
    kind = stored.constant.get_element_type()
    if not kind.get_type_name().startswith("i"):
        return symbols
    half = 1 << (int(kind.bitwidth) - 1)
    numbers: NDArray[Any] = (symbols.astype(np.int64) ^ half) - half
    return numbers


def _constant(output: Any) -> NDArray[Any]:
    """Return a zero point, behind changes of its type or shape."""
    node = output.get_node()
    shape = list(output.get_shape())
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    array: NDArray[Any] = node.get_data(dtype=np.float32)
    return array.reshape(shape)
