"""Sizes of weights under Huffman codes (Han et al. 2016, Deep Compression).

The sizes come from real codes, but are theoretical: no engine reads an IR in this form.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH_BITS = 8
"""A canonical code is stored as a list of symbols, each with the length of its code word."""
_GAP_BITS = (5, 8)
"""Widths of relative indices; the paper uses 5 in fully connected layers, 8 in convolutions."""


def compute_entropy_bits(counts: NDArray[np.int64]) -> float:
    """Return the entropy (Shannon 1948) of positive counts of symbols, in bits per symbol."""
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def compute_code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lengths of an optimal prefix code (Huffman 1952), in bits.

    A single symbol has one bit, since an empty code word cannot be decoded.
    """
    total = len(counts)
    if total == 1:
        return np.ones(1, np.int64)
    order = np.argsort(counts, kind="stable")
    leaves = deque(zip(counts[order].tolist(), order.tolist(), strict=True))
    merged: deque[tuple[int, int]] = deque()
    parent = [0] * (2 * total - 1)
    for node in range(total, 2 * total - 1):
        weight = 0
        for _ in range(2):
            # Merged nodes arise in the order of their weight: two queues are faster than a heap.
            queue = leaves if not merged or (leaves and leaves[0] <= merged[0]) else merged
            child_weight, child = queue.popleft()
            weight += child_weight
            parent[child] = node
        merged.append((weight, node))
    lengths = [0] * (2 * total - 1)
    for node in range(2 * total - 3, -1, -1):
        lengths[node] = lengths[parent[node]] + 1
    return np.array(lengths[:total], np.int64)


def compute_coded_bits(counts: NDArray[np.int64], symbol_bits: int, limit: float) -> float:
    """Return the size of symbols of a width under their Huffman code, including the code.

    The result is at most the limit. The code is not built if its size cannot be below the limit.
    """
    table = len(counts) * (symbol_bits + _LENGTH_BITS)
    if compute_entropy_bits(counts) * counts.sum() + table >= limit:
        return limit
    return min(limit, float((counts * compute_code_lengths(counts)).sum()) + table)


def compute_least_sparse_bits(counts: NDArray[np.int64]) -> float:
    """Return what :func:`compute_sparse_bits` is at least: each distance takes a bit or more."""
    if not len(counts):
        return 0.0
    return float((compute_entropy_bits(counts) + 1) * counts.sum())


def compute_sparse_bits(
    positions: NDArray[np.int64], counts: NDArray[np.int64], symbol_bits: int, limit: float
) -> float:
    """Return the size of sparse weights in the format of Deep Compression.

    Each nonzero weight is stored with its distance from the previous one. A distance out of range
    needs a filler, a zero in between. Distances and values have a Huffman code each. Positions are
    ascending. The limit is that of :func:`compute_coded_bits`.
    """
    if not len(positions):
        return min(limit, float(symbol_bits))
    if compute_least_sparse_bits(counts) >= limit:
        return limit
    best = limit
    distances = np.diff(positions, prepend=-1)
    for width in _GAP_BITS:
        fillers = int(((distances - 1) >> width).sum())
        # The distance of a filler is the longest one, 2^width.
        remainders = distances - (((distances - 1) >> width) << width)
        gaps = np.bincount(remainders, minlength=(1 << width) + 1)
        gaps[1 << width] += fillers
        values = np.append(counts, fillers) if fillers else counts
        coded = compute_coded_bits(gaps[gaps > 0], width, best) + compute_coded_bits(
            values, symbol_bits, best
        )
        best = min(best, coded)
    return best
