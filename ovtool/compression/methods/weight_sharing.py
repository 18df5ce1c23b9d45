"""Weights that share a few values: a codebook per layer, clustered by k-means (Han et al. 2016).

As in Deep Compression: cluster the weights of a layer, replace each weight by the nearest centroid,
then train only the centroids, each with the sum of the gradients of its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from ovtool.compression import kmeans
from ovtool.compression.codebook import Codebook
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.shared_weights import (
    SharedWeightsSettings,
    share_weights,
    shared_training_needs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLUSTERS = 16


class WeightSharingSettings(SharedWeightsSettings):
    """Settings of weight sharing."""

    clusters: int | None = Field(
        None, ge=2, le=256, description="number of shared values per layer; none: 16"
    )
    bits: int | None = Field(None, ge=1, le=8, description="sets clusters to 2^bits")
    start: Literal["linear", "density", "random"] = Field(
        "linear",
        description="initial centroids: even over the range, even over the weights, or random",
    )
    keep_zeros: bool = Field(True, description="zeros stay: zero is one of the shared values")
    iterations: int = Field(200, ge=1, description="maximum number of k-means steps")

    @model_validator(mode="after")
    def _check_one_number(self) -> WeightSharingSettings:
        if self.bits is not None and self.clusters is not None:
            raise ValueError("bits and clusters are exclusive: set one of them")
        return self

    @property
    def max_values(self) -> int:
        """Maximum number of shared values per layer."""
        return 2**self.bits if self.bits is not None else self.clusters or _CLUSTERS


def cluster_weights(values: NDArray[np.float32], settings: WeightSharingSettings) -> Codebook:
    """Return the codebook of k-means, with the nearest value for each weight.

    Weights with few enough distinct values keep these values.
    """
    flat = values.ravel().astype(np.float64)
    zeros = flat == 0
    zero_first = settings.keep_zeros and bool(zeros.any())
    ordered = np.sort(flat[~zeros] if zero_first else flat)
    clusters = settings.max_values - zero_first
    if not len(ordered):
        return Codebook(np.zeros(1, np.float32), np.zeros(values.shape, np.int64), zero_first)
    distinct = np.unique(ordered)
    if len(distinct) <= clusters:
        centroids = distinct
    else:
        initial = kmeans.initial_centroids(ordered, clusters, settings.start, settings.seed)
        centroids = kmeans.run_lloyd(ordered, initial, settings.iterations)
    indices = kmeans.nearest_centroids(flat, centroids)
    if zero_first:
        centroids = np.concatenate([[0.0], centroids])
        indices = np.where(zeros, 0, indices + 1)
    return Codebook(centroids.astype(np.float32), indices.reshape(values.shape), zero_first)


def _apply(context: MethodContext[WeightSharingSettings]) -> MethodResult:
    return share_weights(context, lambda values, _: cluster_weights(values, context.settings))


WEIGHT_SHARING = Method(
    WeightSharingSettings,
    frozenset(),
    _apply,
    "size; no speed, since the plugins look up the weights during compilation",
    conditional_needs=shared_training_needs,
    untrained="EfficientNet-Lite0 has 259 of 300 photographs right in FP32, 245 with 256 values a "
    "layer, 136 with 64",
)
