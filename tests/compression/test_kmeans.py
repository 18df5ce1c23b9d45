import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.compression import kmeans

numbers = st.lists(
    st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=2, max_size=40
).map(lambda actual: np.sort(np.array(actual)))
how = st.sampled_from(["linear", "density", "random"])


def error(ordered, centroids):
    return np.square(ordered - centroids[kmeans.nearest_centroids(ordered, centroids)]).sum()


@given(numbers, st.integers(1, 8), how)
def test_centroids_are_means_of_nonempty_clusters(ordered, clusters, start):
    first = kmeans.initial_centroids(ordered, clusters, start, 0)
    actual = kmeans.run_lloyd(ordered, first, 500)
    places = kmeans.nearest_centroids(ordered, actual)
    assert set(places) == set(range(len(actual)))
    assert len(actual) <= clusters
    for place, centroid in enumerate(actual):
        assert centroid == pytest.approx(ordered[places == place].mean(), abs=1e-9)
    distances = np.abs(ordered[:, None] - actual)
    assert np.abs(ordered - actual[places]) == pytest.approx(distances.min(1), abs=1e-9)
    assert error(ordered, actual) <= error(ordered, first) + 1e-9


def test_separate_groups_get_one_centroid_each():
    ordered = np.sort(np.concatenate([np.arange(4) * 0.1 + base for base in (-50, 0, 3, 40)]))
    actual = kmeans.run_lloyd(ordered, kmeans.initial_centroids(ordered, 4, "density", 0), 100)
    splits = itertools.combinations(range(1, len(ordered)), 3)
    best = min(
        sum(np.square(part - part.mean()).sum() for part in np.split(ordered, split))
        for split in splits
    )
    assert error(ordered, actual) == pytest.approx(best)


def test_initial_centroids_match_the_paper():
    ordered = np.array([0.0, 0.1, 0.2, 0.3, 10.0])
    assert kmeans.initial_centroids(ordered, 3, "linear", 0) == pytest.approx([0, 5, 10])
    assert kmeans.initial_centroids(ordered, 2, "density", 0) == pytest.approx([0.1, 0.3])
    random = kmeans.initial_centroids(ordered, 3, "random", 1)
    assert set(random) < set(ordered)
    assert np.array_equal(random, kmeans.initial_centroids(ordered, 3, "random", 1))
