import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ovtool.graph import huffman

frequencies = st.lists(st.integers(1, 10_000), min_size=1, max_size=60)


def code_words(lengths):
    """The canonical code of these lengths, as strings of 0 and 1."""
    words, word, before = [""] * len(lengths), 0, 0
    for length, place in sorted((int(n), place) for place, n in enumerate(lengths)):
        word <<= length - before
        words[place] = format(word, f"0{length}b")
        word, before = word + 1, length
    return words


def decode(bits, words):
    places, word = {word: place for place, word in enumerate(words)}, ""
    for bit in bits:
        word += bit
        if word in places:
            yield places[word]
            word = ""
    assert word == ""


def heap_bits(counts):
    """Size by the usual heap: the sum of all joined weights."""
    heap, total = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total or sum(counts)


@given(frequencies)
def test_code_is_optimal_and_within_a_bit_of_the_entropy(counts):
    array = np.array(counts)
    lengths = huffman.compute_code_lengths(array)
    mean = (array * lengths).sum() / array.sum()
    assert (array * lengths).sum() == heap_bits(counts)
    assert mean >= huffman.compute_entropy_bits(array) - 1e-9
    if len(counts) > 1:
        assert mean < huffman.compute_entropy_bits(array) + 1
        assert sum(2.0 ** -int(n) for n in lengths) == 1, "Kraft: complete"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300))
def test_coded_symbols_can_be_decoded(symbols):
    kinds, places, counts = np.unique(symbols, return_inverse=True, return_counts=True)
    words = code_words(huffman.compute_code_lengths(counts))
    bits = "".join(words[place] for place in places)
    assert [kinds[place] for place in decode(bits, words)] == symbols
    table = len(kinds) * (8 + huffman._LENGTH_BITS)
    assert huffman.compute_coded_bits(counts, 8, 1e9) == len(bits) + table


def test_code_that_cannot_be_shorter_is_not_built(monkeypatch):
    monkeypatch.setattr(huffman, "compute_code_lengths", None)
    assert huffman.compute_coded_bits(np.ones(1000, np.int64), 32, 32 * 1000) == 32 * 1000


def relative(weights, width):
    """Pairs of distance and value as in Deep Compression, with fillers for long distances."""
    longest, pairs, since = 1 << width, [], 0
    for weight in weights:
        since += 1
        if weight:
            pairs.append((since, weight))
            since = 0
        elif since == longest:
            pairs.append((since, 0))
            since = 0
    while pairs and pairs[-1][1] == 0:
        pairs.pop()  # the length is known
    return pairs


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 9)), min_size=1, max_size=60),
    st.integers(0, 50),
)
def test_sparse_size_is_that_of_the_relative_indices(runs, tail):
    weights = [w for zeros, value in runs for w in (*[0] * zeros, value)] + [0] * tail
    array = np.array(weights)
    places = np.flatnonzero(array)
    counts = np.unique(array[places], return_counts=True)[1]
    sizes = []
    for width in huffman._GAP_BITS:
        pairs = relative(weights, width)
        # The distances locate every weight.
        ends = np.cumsum([distance for distance, _ in pairs]) - 1
        assert [(e, v) for e, (_, v) in zip(ends, pairs, strict=True) if v] == list(
            zip(places, array[places], strict=True)
        )
        size = 0
        for column, bits in ((0, width), (1, 32)):
            stream = np.unique([pair[column] for pair in pairs], return_counts=True)[1]
            size += huffman.compute_coded_bits(stream, bits, 1e9)
        sizes.append(size)
    assert huffman.compute_sparse_bits(places, counts, 32, 1e9) == min(sizes)
