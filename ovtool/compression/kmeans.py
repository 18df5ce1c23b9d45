"""One-dimensional k-means with exact, fast steps on sums of sorted numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Start = Literal["linear", "density", "random"]


def initial_centroids(
    ordered: NDArray[np.float64], clusters: int, how: Start, seed: int
) -> NDArray[np.float64]:
    """Return the initial centroids, as Deep Compression compares them (Han et al. 2016, 3.2).

    ``linear`` divides the range of the ascending numbers evenly, ``density`` divides the numbers
    evenly, ``random`` selects numbers (Forgy). Coinciding centroids are merged.
    """
    if how == "linear":
        centroids = np.linspace(ordered[0], ordered[-1], clusters)
    elif how == "density":
        centroids = np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters)
    else:
        rng = np.random.default_rng(seed)
        centroids = rng.choice(ordered, min(clusters, len(ordered)), replace=False)
    return np.unique(centroids)


def run_lloyd(
    ordered: NDArray[np.float64], centroids: NDArray[np.float64], iterations: int
) -> NDArray[np.float64]:
    """Return the centroids after Lloyd's algorithm (1982); numbers and centroids are ascending.

    One-dimensional clusters are runs of the sorted numbers, so a step is a search and a difference
    of cumulative sums per cluster. An empty cluster keeps its centroid, since it may get numbers
    later; the result has no empty clusters.
    """
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    bounds = np.empty(0, np.int64)
    for _ in range(iterations):
        inner = np.searchsorted(ordered, midpoints(centroids), side="right")
        updated = np.concatenate([[0], inner, [len(ordered)]])
        if np.array_equal(updated, bounds):
            break
        bounds = updated
        counts = np.diff(bounds)
        means = np.diff(sums[bounds]) / np.maximum(counts, 1)
        centroids = np.where(counts > 0, means, centroids)
    return centroids[np.unique(nearest_centroids(ordered, centroids))]


def midpoints(centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the midpoints of adjacent centroids, which are the cluster boundaries."""
    return (centroids[1:] + centroids[:-1]) / 2


def nearest_centroids(
    numbers: NDArray[np.floating], centroids: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the index of the nearest centroid of each number; the lower one in a tie."""
    return np.searchsorted(midpoints(centroids), numbers, side="left")
