"""Weights that share values by a hash of their position (Chen et al. 2015, HashedNets).

What is stored is the table of values and the coefficients of the hash: the graph computes every
weight's place in the table, and the engine does so once, while it compiles.  The hash is a
polynomial over the integers modulo a prime (Wegman and Carter 1981), whose every step fits 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ovtool.compression.codebook import Table
from ovtool.compression.method import Compressed, Method, Work
from ovtool.compression.methods.weight_sharing import TabledSettings, shared, trained_with

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIME = 46337
"""The largest prime whose square fits 31 bits with something added."""
_TERMS = 4
_GRAPH_BYTES = 16_000
"""About what the operations of a hash take in model.xml: less than this of places is stored."""


class HashingSettings(TabledSettings):
    """Settings of hashed weights."""

    ratio: float = Field(
        0.125, gt=0, lt=1, description="values that a layer really has, as a share of its weights"
    )
    keep_spread: bool = Field(
        False,
        description="values start as widely spread as the layer's weights, not as their means: for "
        "training a network that is not trained yet",
    )


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash of positions: in arrays, and as operations of a graph.

    A position is ``high * PRIME + low``.  The hash is a polynomial in ``low`` whose coefficients
    are linear in ``high``; where there are more buckets than the prime, two of them make a number.

    Args:
        buckets: Below the square of the prime.
        coefficients: [1 or 2, terms, 2] from 0 to below the prime.
    """

    buckets: int
    coefficients: NDArray[np.int64]

    @classmethod
    def seeded(cls, buckets: int, seed: int) -> Hash:
        """Return one of the family."""
        several = 1 if buckets <= PRIME else 2
        rng = np.random.default_rng(seed)
        return cls(buckets, rng.integers(0, PRIME, (several, _TERMS, 2)))

    def places(self, count: int) -> NDArray[np.int64]:
        """Return the buckets of the positions from 0 on."""
        high, low = np.divmod(np.arange(count, dtype=np.int64), PRIME)
        number = np.zeros(count, np.int64)
        for terms in self.coefficients:
            value = np.zeros(count, np.int64)
            for by_high, fixed in terms:
                value = (value * low + (by_high * high + fixed) % PRIME) % PRIME
            number = number * PRIME + value
        return number % self.buckets

    def operations(self, shape: tuple[int, ...]) -> Any:
        """Return a node of the buckets of positions, in the shape of the weights."""
        from openvino import opset15 as op

        def number(value: int) -> Any:
            return op.constant(np.int32(value))

        count = int(np.prod(shape))
        prime = number(PRIME)
        positions = op.range(number(0), number(count), number(1), "i32")
        high, low = op.divide(positions, prime), op.floor_mod(positions, prime)
        found = None
        for terms in self.coefficients.tolist():
            value = None
            for by_high, fixed in terms:
                term: Any = number(fixed)
                if count > PRIME:
                    linear = op.add(op.multiply(high, number(by_high)), number(fixed))
                    term = op.floor_mod(linear, prime)
                if value is not None:
                    term = op.floor_mod(op.add(op.multiply(value, low), term), prime)
                value = term
            found = value if found is None else op.add(op.multiply(found, prime), value)
        places = op.floor_mod(found, number(self.buckets))
        return op.reshape(places, op.constant(np.array(shape, np.int64)), special_zero=False)


def hashed(
    values: NDArray[np.float32], ratio: float, seed: int, *, keep_spread: bool = False
) -> Table:
    """Return a table whose places come from a hash and whose values are the means of the weights.

    The mean of a bucket is the value that makes the squared error least.  Means of random weights
    shrink with their number, and with them the signals of a network that is not trained yet.  The
    paper's hash of the
    sign is left out: means of the weights themselves would come to nothing.

    Args:
        values: A layer's weights.
        ratio: Table entries a weight.
        seed: Of the hash.
        keep_spread: Whether the values are scaled to the standard deviation of the weights.
    """
    buckets = max(1, round(values.size * ratio))
    chosen = Hash.seeded(buckets, seed)
    places = chosen.places(values.size)
    counts = np.bincount(places, minlength=buckets)
    sums = np.bincount(places, values.ravel().astype(np.float64), buckets)
    exact = sums / np.maximum(counts, 1)
    if keep_spread and exact.std() > 0:
        exact *= values.std() / exact.std()
    means = exact.astype(np.float32)
    table = Table(means, places.reshape(values.shape))
    if table.stored_bits / 8 - means.nbytes <= _GRAPH_BYTES:
        return table
    return Table(means, places.reshape(values.shape), compute=chosen.operations)


def _apply(work: Work[HashingSettings]) -> Compressed:
    settings = work.settings
    return shared(
        work,
        # Layers have a hash each, as many runs of one seed as there are layers.
        lambda values, place: hashed(
            values,
            settings.ratio,
            settings.seed * 1_000_003 + place,
            keep_spread=settings.keep_spread,
        ),
    )


HASHED_WEIGHTS = Method(
    HashingSettings,
    frozenset(),
    _apply,
    "size: a table of values and a hash that the graph computes while compiling; speed stays",
    also=trained_with,
)
