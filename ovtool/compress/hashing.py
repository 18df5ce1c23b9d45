"""Weights that share values by a hash of their position (Chen et al. 2015, HashedNets)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ovtool.compress.method import Compressed, Method, Work
from ovtool.compress.sharing import TabledSettings, shared, trained_with
from ovtool.compress.tables import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HashingSettings(TabledSettings):
    """Settings of hashed weights."""

    ratio: float = Field(
        0.125, gt=0, lt=1, description="values that a layer really has, as a share of its weights"
    )


def hashed(values: NDArray[np.float32], ratio: float, seed: int) -> Table:
    """Return a table whose places come from a hash and whose values are the means of the weights.

    The mean of a bucket is the value that makes the squared error least.  The paper's hash of the
    sign is left out: means of the weights themselves would come to nothing.

    Args:
        values: A layer's weights.
        ratio: Table entries a weight.
        seed: Of the hash.
    """
    buckets = max(1, round(values.size * ratio))
    positions = np.arange(values.size, dtype=np.uint64)
    places = (_mixed(positions, seed) % np.uint64(buckets)).astype(np.int64)
    counts = np.bincount(places, minlength=buckets)
    sums = np.bincount(places, values.ravel().astype(np.float64), buckets)
    means = (sums / np.maximum(counts, 1)).astype(np.float32)
    return Table(means, places.reshape(values.shape))


def _mixed(positions: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return 64 well mixed bits of each position: SplitMix64 (Steele, Lea, Flood 2014)."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    mixed = start + positions * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _apply(work: Work[HashingSettings]) -> Compressed:
    settings = work.settings
    return shared(
        work,
        # Layers have a hash each, as many runs of one seed as there are layers.
        lambda values, place: hashed(values, settings.ratio, settings.seed * 1_000_003 + place),
        always=True,
    )


HASH = Method(
    HashingSettings,
    frozenset(),
    _apply,
    "parameters: values that are really there; an IR stores the places besides, in 8 to 32 bits",
    also=trained_with,
)
