"""Weights that share values by a hash of their position (Chen et al. 2015, HashedNets).

The files store the shared values and the coefficients of the hash. The graph computes the index of
each weight's value; the engine evaluates this once, during compilation. The hash is a polynomial
over the integers modulo a prime (Wegman and Carter 1981); each step fits 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ovtool.compression.codebook import Codebook
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.shared_weights import (
    SharedWeightsSettings,
    share_weights,
    shared_training_needs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIME = 46337
"""The largest prime with a square that fits 31 bits with a remainder to spare."""
_TERMS = 4
_GRAPH_BYTES = 16_000
"""Approximate size of a hash in model.xml; smaller indices are stored instead."""


class HashedWeightsSettings(SharedWeightsSettings):
    """Settings of hashed weights."""

    ratio: float = Field(
        0.125, gt=0, lt=1, description="number of shared values as a share of the layer's weights"
    )
    keep_spread: bool = Field(
        False,
        description="scales the initial shared values to the standard deviation of the layer's "
        "weights, for networks that are not trained yet",
    )


@dataclass(frozen=True, slots=True)
class PositionHash:
    """A hash of positions, in arrays and as operations of a graph.

    A position is ``high * PRIME + low``. The hash is a polynomial in ``low`` with coefficients that
    are linear in ``high``; more buckets than the prime need two polynomials.

    There are fewer ``buckets`` than the square of the prime. ``coefficients`` are
    [1 or 2, terms, 2], from 0 to below the prime.
    """

    buckets: int
    coefficients: NDArray[np.int64]

    @classmethod
    def seeded(cls, buckets: int, seed: int) -> PositionHash:
        """Return a random hash."""
        polynomials = 1 if buckets <= PRIME else 2
        rng = np.random.default_rng(seed)
        return cls(buckets, rng.integers(0, PRIME, (polynomials, _TERMS, 2)))

    def hash_positions(self, count: int) -> NDArray[np.int64]:
        """Return the buckets of the positions from 0 to ``count`` - 1."""
        high, low = np.divmod(np.arange(count, dtype=np.int64), PRIME)
        number = np.zeros(count, np.int64)
        for terms in self.coefficients:
            value = np.zeros(count, np.int64)
            for by_high, fixed in terms:
                value = (value * low + (by_high * high + fixed) % PRIME) % PRIME
            number = number * PRIME + value
        return number % self.buckets

    def operations(self, shape: tuple[int, ...]) -> Any:
        """Return a node that computes the buckets of all positions, in the shape of the weights."""
        from openvino import opset15 as op

        def scalar(value: int) -> Any:
            return op.constant(np.int32(value))

        count = int(np.prod(shape))
        prime = scalar(PRIME)
        positions = op.range(scalar(0), scalar(count), scalar(1), "i32")
        high, low = op.divide(positions, prime), op.floor_mod(positions, prime)
        result = None
        for terms in self.coefficients.tolist():
            value = None
            for by_high, fixed in terms:
                term: Any = scalar(fixed)
                if count > PRIME:
                    linear = op.add(op.multiply(high, scalar(by_high)), scalar(fixed))
                    term = op.floor_mod(linear, prime)
                if value is not None:
                    term = op.floor_mod(op.add(op.multiply(value, low), term), prime)
                value = term
            result = value if result is None else op.add(op.multiply(result, prime), value)
        buckets = op.floor_mod(result, scalar(self.buckets))
        return op.reshape(buckets, op.constant(np.array(shape, np.int64)), special_zero=False)


def hash_weights(
    values: NDArray[np.float32], ratio: float, seed: int, *, keep_spread: bool = False
) -> Codebook:
    """Return a codebook with hashed indices and the means of the weights as values.

    The mean of a bucket minimizes the squared error. Means of random weights shrink with their
    number, and so do the signals of an untrained network. The paper's hash of the sign is omitted:
    it would make the means vanish.

    ``ratio`` is the number of shared values per weight. ``keep_spread`` scales the values to the
    standard deviation of the weights.
    """
    buckets = max(1, round(values.size * ratio))
    position_hash = PositionHash.seeded(buckets, seed)
    indices = position_hash.hash_positions(values.size)
    counts = np.bincount(indices, minlength=buckets)
    sums = np.bincount(indices, values.ravel().astype(np.float64), buckets)
    exact = sums / np.maximum(counts, 1)
    if keep_spread and exact.std() > 0:
        exact *= values.std() / exact.std()
    means = exact.astype(np.float32)
    codebook = Codebook(means, indices.reshape(values.shape))
    if codebook.stored_bits / 8 - means.nbytes <= _GRAPH_BYTES:
        return codebook
    return replace(codebook, compute=position_hash.operations)


def _apply(context: MethodContext[HashedWeightsSettings]) -> MethodResult:
    settings = context.settings
    return share_weights(
        context,
        # Each layer has its own hash; seeds of one layer never repeat in another.
        lambda values, index: hash_weights(
            values,
            settings.ratio,
            settings.seed * 1_000_003 + index,
            keep_spread=settings.keep_spread,
        ),
    )


HASHED_WEIGHTS = Method(
    HashedWeightsSettings,
    frozenset(),
    _apply,
    "size: shared values and a hash that the engine evaluates during compilation; no speed",
    conditional_needs=shared_training_needs,
)
