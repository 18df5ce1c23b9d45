"""k-means of numbers on a line, exact in each step and fast: everything works on sorted sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Start = Literal["linear", "density", "random"]


def starts(
    ordered: NDArray[np.float64], clusters: int, how: Start, seed: int
) -> NDArray[np.float64]:
    """Return the centroids to begin with, as Deep Compression compares them (Han et al. 2016, 3.2).

    Args:
        ordered: The numbers, ascending.
        clusters: How many centroids; fewer are returned where they coincide.
        how: ``linear`` divides the range evenly, ``density`` the numbers themselves, ``random``
            takes some of them (Forgy).
        seed: Of random ones.
    """
    if how == "linear":
        found = np.linspace(ordered[0], ordered[-1], clusters)
    elif how == "density":
        found = np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters)
    else:
        rng = np.random.default_rng(seed)
        found = rng.choice(ordered, min(clusters, len(ordered)), replace=False)
    return np.unique(found)


def lloyd(
    ordered: NDArray[np.float64], centroids: NDArray[np.float64], iterations: int
) -> NDArray[np.float64]:
    """Return centroids after Lloyd's iterations (1982), until nothing moves.

    On a line clusters are runs of the ordered numbers, so that a step takes a search and a
    difference of running sums a cluster.  A cluster without a number stays where it is, for it
    may get some; in the end those that have none are left out.

    Args:
        ordered: The numbers, ascending.
        centroids: Where to begin, ascending.
        iterations: At most so many steps.
    """
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    bounds = np.empty(0, np.int64)
    for _ in range(iterations):
        inner = np.searchsorted(ordered, between(centroids), side="right")
        now = np.concatenate([[0], inner, [len(ordered)]])
        if np.array_equal(now, bounds):
            break
        bounds = now
        counts = np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(counts, 1)
        centroids = np.where(counts > 0, means, centroids)
    return centroids[np.unique(nearest(ordered, centroids))]


def between(centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the midpoints of neighbours: where one cluster ends and the next begins."""
    return (centroids[1:] + centroids[:-1]) / 2


def nearest(numbers: NDArray[np.floating], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of the nearest centroid of each number; of two, the lower one."""
    return np.searchsorted(between(centroids), numbers, side="left")
