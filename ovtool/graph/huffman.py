"""Huffman codes of stored weights, and the sizes that they come to (Han et al. 2016).

Sizes are counted from real codes, but on paper: no engine reads an IR coded this way.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH_BITS = 8
"""A canonical code is stored as a list of symbols with the length of each one's code word."""
_GAP_BITS = (5, 8)
"""Widths of relative indices; the paper has 5 in fully connected layers, 8 in convolutions."""


def entropy_bits(counts: NDArray[np.int64]) -> float:
    """Return the entropy of a distribution (Shannon 1948), in bits a symbol.

    Args:
        counts: How often each symbol occurs, all above 0.
    """
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lengths of an optimal prefix code (Huffman 1952), in bits.

    A single symbol has one bit: a code word of none cannot be told from another.

    Args:
        counts: How often each symbol occurs, all above 0.
    """
    total = len(counts)
    if total == 1:
        return np.ones(1, np.int64)
    order = np.argsort(counts, kind="stable")
    leaves = deque((int(counts[place]), int(place)) for place in order)
    joined: deque[tuple[int, int]] = deque()
    above = np.zeros(2 * total - 1, np.int64)
    for new in range(total, 2 * total - 1):
        weight = 0
        for _ in range(2):
            # Joined nodes come into being in the order of their weight: two queues, no heap.
            first = leaves if not joined or (leaves and leaves[0] <= joined[0]) else joined
            found = first.popleft()
            weight += found[0]
            above[found[1]] = new
        joined.append((weight, new))
    lengths = np.zeros(2 * total - 1, np.int64)
    for node in range(2 * total - 3, -1, -1):
        lengths[node] = lengths[above[node]] + 1
    return lengths[:total]


def coded_bits(counts: NDArray[np.int64], symbol_bits: int, limit: float) -> float:
    """Return the size of symbols under their Huffman code, with the code itself.

    Args:
        counts: How often each symbol occurs, all above 0.
        symbol_bits: Width of a symbol in the list that tells the code.
        limit: Where the size is certainly not below this, it is returned in its place: a code of a
            million symbols is not made for nothing.
    """
    table = len(counts) * (symbol_bits + _LENGTH_BITS)
    if entropy_bits(counts) * counts.sum() + table >= limit:
        return limit
    return min(limit, float((counts * code_lengths(counts)).sum()) + table)


def sparse_bits(
    places: NDArray[np.int64], counts: NDArray[np.int64], symbol_bits: int, limit: float
) -> float:
    """Return the size of sparse weights as Deep Compression stores them.

    Each weight that is not zero has its distance from the one before it; where that does not fit,
    a zero is stored in between.  Distances and values have a Huffman code each.

    Args:
        places: Of the weights that are not zero, ascending.
        counts: How often each value that is not zero occurs.
        symbol_bits: Width of a value.
        limit: As in :func:`coded_bits`.
    """
    if not len(places):
        return min(limit, float(symbol_bits))
    if (entropy_bits(counts) + 1) * counts.sum() >= limit:
        return limit  # a distance has a bit at least, and fillers only add to it
    best = limit
    distances = np.diff(places, prepend=-1)
    for width in _GAP_BITS:
        fillers = int(((distances - 1) >> width).sum())
        # A filler's own distance is the longest: 2^width.
        left = distances - (((distances - 1) >> width) << width)
        gaps = np.bincount(left, minlength=(1 << width) + 1)
        gaps[1 << width] += fillers
        values = np.append(counts, fillers) if fillers else counts
        coded = coded_bits(gaps[gaps > 0], width, best) + coded_bits(values, symbol_bits, best)
        best = min(best, coded)
    return best
