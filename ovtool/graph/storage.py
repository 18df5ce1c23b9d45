"""Storage of the weights of a model: counts, zeros, distinct values, and size under a code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.third_party import read_graph
from ovtool.graph import huffman
from ovtool.graph.parameters import count_parameters
from ovtool.graph.weights import classify_codebook, drop_shared, find_weights

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.variant import Variant
    from ovtool.graph.weights import LayerWeights

KEY = "storage"
"""Key in the details of a step."""

_SIGNED_FLOATS = {"f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "f4e2m1"}
_CHUNK = 1 << 18
"""Symbols that are counted at once."""
_NF4_ZERO = 7  # index of 0 in the table of NormalFloat (Dettmers et al. 2023, QLoRA)


@dataclass(frozen=True, slots=True)
class Storage:
    """Storage of the weights of all layers, without biases, scales and tables.

    Args:
        parameters: Number of parameters, biases included; see :mod:`ovtool.graph.parameters`.
        nonzero_pct: Share of nonzero weights.
        distinct_weights: Distinct stored values, before scales, summed over the layers.
        distinct_most: Maximum of the distinct values of a layer.
        coded_mib: Theoretical size of both files with the smallest representation of each layer:
            as stored, under a Huffman code, or as relative indices and values of nonzero weights,
            each under a Huffman code (Han et al. 2016, Deep Compression). The size includes the
            codes, and everything else as stored.
        weights_mib: Size of the weights as stored.
        coded_weights_mib: Theoretical size of the weights in the smallest representation.
    """

    parameters: int
    nonzero_pct: float | None
    distinct_weights: int
    distinct_most: int
    coded_mib: float
    weights_mib: float
    coded_weights_mib: float


@dataclass(frozen=True, slots=True)
class _LayerStorage:
    address: int
    weights: int
    nonzero: int
    distinct: int
    stored_bits: int
    coded_bits: float


def measure_storage(xml: Path, model: ov.Model) -> Storage:
    """Measure all stored weights of a saved model, as read from this file."""
    layers = _measure_layers(model)
    total = sum(layer.weights for layer in layers)
    by_address = {layer.address: layer for layer in layers}.values()  # equal ones are stored once
    saved = sum(layer.stored_bits - layer.coded_bits for layer in by_address)
    size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    return Storage(
        sum(count.values for count in count_parameters(model).values()),
        round(100 * sum(layer.nonzero for layer in layers) / total, 3) if total else None,
        sum(layer.distinct for layer in layers),
        max((layer.distinct for layer in layers), default=0),
        units.mib(size - int(saved // 8)),
        units.mib(sum(layer.stored_bits for layer in by_address) / 8),
        units.mib(sum(layer.coded_bits for layer in by_address) / 8),
    )


def count_nonzero(model: ov.Model) -> tuple[int, int]:
    """Return the number of weights of all layers, and of the nonzero ones."""
    layers = _measure_layers(model)
    return sum(layer.weights for layer in layers), sum(layer.nonzero for layer in layers)


def _measure_layers(model: ov.Model) -> list[_LayerStorage]:
    return [_measure_layer(weights) for weights in drop_shared(find_weights(model))]


def recorded_storage(variant: Variant) -> Storage | None:
    """Return the storage in the record of a variant; None where the record has none."""
    steps = variant.record.steps
    recorded = steps[-1].details.get(KEY) if steps else None
    return None if recorded is None else Storage(**recorded)


def load_storage(variant: Variant) -> Storage:
    """Return the storage of a variant, from its record or else from its files."""
    recorded = recorded_storage(variant)
    if recorded is not None:
        return recorded
    return measure_storage(variant.xml, read_graph(variant.xml))


def _measure_layer(weights: LayerWeights) -> _LayerStorage:
    symbols = read_symbols(weights.constant)
    bits = int(weights.constant.get_element_type().bitwidth)
    flat, zeros = symbols.ravel(), _find_zeros(weights, symbols).ravel()
    nonzero = flat.size - int(np.count_nonzero(zeros))
    counts = _count_symbols(flat, bits)
    stored_bits = flat.size * bits
    coded_bits = huffman.compute_coded_bits(counts, bits, stored_bits)
    if nonzero < flat.size:
        nonzero_counts = _count_symbols(flat[~zeros], bits)
        # Positions take eight bytes for each weight, and most layers have too few zeros.
        if huffman.compute_least_sparse_bits(nonzero_counts) < coded_bits:
            positions = np.flatnonzero(~zeros)
            coded_bits = huffman.compute_sparse_bits(positions, nonzero_counts, bits, coded_bits)
    address = weights.constant.data.ctypes.data
    return _LayerStorage(address, flat.size, nonzero, len(counts), stored_bits, coded_bits)


def _count_symbols(symbols: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return the number of occurrences of each symbol that occurs."""
    if bits > 16:
        return np.unique(symbols, return_counts=True)[1]
    counts = np.zeros(1 << bits, np.int64)
    for start in range(0, symbols.size, _CHUNK):  # NumPy widens what it counts to 64 bits
        counts += np.bincount(symbols[start : start + _CHUNK], minlength=len(counts))
    return counts[counts > 0]


def read_symbols(constant: Any) -> NDArray[Any]:
    """Return the bit patterns of a constant as unsigned integers, in its shape."""
    bits, shape = int(constant.get_element_type().bitwidth), list(constant.output(0).get_shape())
    data: NDArray[Any] = constant.data
    if bits >= 8:
        return data.view(f"u{bits // 8}").reshape(shape)
    packed, count = data.reshape(-1).view(np.uint8), math.prod(shape)
    if bits in (3, 6):
        return unpack_three_bytes(packed, bits)[:count].reshape(shape)
    return unpack_bits(packed, bits, count).reshape(shape)


def unpack_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Return symbols of 1, 2 or 4 bits; the first is the lowest, or the highest if of 1 bit."""
    if bits == 1:
        return np.unpackbits(packed, count=count)
    symbols = np.empty((packed.size, 8 // bits), np.uint8)
    for place in range(8 // bits):  # faster than one expression with a short last dimension
        symbols[:, place] = (packed >> np.uint8(place * bits)) & np.uint8((1 << bits) - 1)
    return symbols.reshape(-1)[:count]


def unpack_three_bytes(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return symbols of 3 or 6 bits, from OpenVINO's groups of three bytes.

    Two bytes hold the low bits of 8 or 4 symbols, the third byte the high bits; the first symbol is
    the highest.
    """
    low, high = (2, 1) if bits == 3 else (4, 2)
    rows = packed.reshape(-1, 3)

    def split(columns: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
        shifts = np.arange(8 - width, -1, -width, dtype=np.uint8)
        parts = (columns[:, :, None] >> shifts) & np.uint8((1 << width) - 1)
        return parts.reshape(len(rows), -1)

    return (split(rows[:, :2], low) | split(rows[:, 2:], high) << np.uint8(low)).ravel()


def _find_zeros(weights: LayerWeights, symbols: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which weights are zero; scales are never zero."""
    for node in reversed(weights.path):
        if classify_codebook(node) == "stored":
            table = node.input_value(0).get_node()
            while table.get_type_name() == "Convert":
                table = table.input_value(0).get_node()
            entries: NDArray[np.bool_] = table.get_data(dtype=np.float32).ravel() == 0
            return np.asarray(entries[symbols])
        if node.get_type_name() == "Subtract":
            zero_point = _read_zero_point(node.input_value(1))
            return np.asarray(_to_integers(weights, symbols) == zero_point)
        if node.get_type_name() in {"Multiply", "FakeQuantize"}:
            break
    kind = weights.constant.get_element_type()
    if kind.get_type_name() in _SIGNED_FLOATS:
        symbols = symbols & symbols.dtype.type(2 ** (int(kind.bitwidth) - 1) - 1)
    return np.asarray(symbols == (_NF4_ZERO if kind.get_type_name() == "nf4" else 0))


def _to_integers(weights: LayerWeights, symbols: NDArray[Any]) -> NDArray[Any]:
    """Return the integers that bit patterns represent."""
    kind = weights.constant.get_element_type()
    if not kind.get_type_name().startswith("i"):
        return symbols
    bits = int(kind.bitwidth)
    half = 1 << (bits - 1)
    wide: NDArray[Any] = symbols.astype(np.int16 if bits <= 8 else np.int64)
    return np.asarray((wide ^ half) - half)


def _read_zero_point(output: Any) -> NDArray[Any]:
    """Return a zero point, through conversions and reshapes."""
    node = output.get_node()
    shape = list(output.get_shape())
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    array: NDArray[Any] = node.get_data(dtype=np.float32)
    return array.reshape(shape)
