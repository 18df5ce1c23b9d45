"""Comparison of outputs by channel group, by values of a sample, and of varying size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovtool.evaluation.outputs import (
    compare_output,
    find_channel_groups,
    join_rows,
    read_rows,
    row_shape_text,
)

RNG = np.random.default_rng(0)


def detector(samples=6, places=20):
    """Boxes of pixels and scores, as one output [samples, 7, places]."""
    boxes = RNG.uniform(0, 640, (samples, 4, places))
    return np.concatenate([boxes, RNG.uniform(0, 1, (samples, 3, places))], 1).astype(np.float32)


def test_lost_scores_beside_boxes_are_the_worst_group():
    exact = detector()
    lost = exact.copy()
    lost[:, 4:] = 0
    boxes, scores = compare_output("y", lost, exact)
    assert (boxes.cosine.value, boxes.relative_error) == (1, 0)
    assert scores.cosine.value == 0
    deviation = exact[:, 4:] - exact[:, 4:].mean(0)
    expected = np.sqrt((exact[:, 4:] ** 2).mean() / (deviation**2).mean())
    assert scores.relative_error == pytest.approx(expected, rel=1e-4)
    assert scores.name == "y channels 4-6 of axis 1"
    (whole,) = compare_output("y", lost, exact, grouped=False)
    assert whole.cosine.value > 0.9999  # what one figure over all channels would show


@pytest.mark.parametrize(
    ("values", "axis", "groups"),
    [
        (detector(), 1, [[0, 1, 2, 3], [4, 5, 6]]),
        (detector().transpose(0, 2, 1), 2, [[0, 1, 2, 3], [4, 5, 6]]),
        (detector().reshape(2, 3, 7, 20), 2, [[0, 1, 2, 3], [4, 5, 6]]),
        (np.tile([1e5, 40.0, 0.7], (5, 1)), 1, [[0], [1], [2]]),
        (RNG.uniform(-1, 1, (5, 3, 4)) * 8, 1, []),
        (np.tile([0.5, 1e-5, 0.0], (5, 1)), 1, []),  # shares of one whole
        (np.tile([500.0, 400.0, 0.0], (5, 1)), 1, []),  # a channel of zeros has no range
        (np.ones((5, 3), bool), 1, []),
        (np.full((5, 3), np.nan), 1, []),
    ],
)
def test_channels_are_grouped_by_their_range(values, axis, groups):
    assert find_channel_groups(values) == (axis, groups)


def test_many_values_have_the_mean_cosine_of_the_samples():
    a, b = RNG.standard_normal((2, 7, 30))
    (part,) = compare_output("y", a, b)
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert part.cosine.value == pytest.approx(np.mean(cosines))
    assert part.max_abs_difference == pytest.approx(np.abs(a - b).max())


def test_one_value_a_sample_is_compared_over_the_samples():
    """The cosine of single positive values is always 1, however wrong they are."""
    exact = RNG.uniform(20, 60, (50, 1))
    shuffled = RNG.permutation(exact)
    (part,) = compare_output("age", shuffled, exact)
    centered = [x[:, 0] - exact.mean() for x in (shuffled, exact)]
    expected = np.corrcoef(*centered)[0, 1]
    assert part.cosine.value == pytest.approx(expected)
    assert part.cosine.low < part.cosine.value < part.cosine.high < 0.9
    error = np.sqrt(((shuffled - exact) ** 2).mean()) / exact.std()
    assert part.relative_error == pytest.approx(error)
    (same,) = compare_output("age", exact, exact)
    assert (same.cosine.value, same.relative_error) == (pytest.approx(1), 0)


def test_an_offset_lowers_the_cosine_of_few_values():
    exact = RNG.uniform(0, 5, (40, 3))
    (part,) = compare_output("scores", exact + 3, exact)
    assert part.cosine.value < 0.6


def test_samples_of_another_size_count_as_zero():
    exact = [RNG.uniform(1, 2, (2, n)) for n in (3, 4, 5, 6)]
    other = [exact[0], exact[1], exact[2], exact[3][:, :-1]]
    (part,) = compare_output("y", other, exact)
    assert part.cosine.value == pytest.approx(0.75)
    assert (part.samples, part.differing, part.differing_pct) == (3, 1, 25)
    assert part.relative_error == 0


@pytest.mark.parametrize(
    ("rows", "reference", "empty", "differing"),
    [
        (np.ones((0, 3))[:, :0], np.ones((0, 3))[:, :0], True, 0),
        (np.zeros((4, 3)), np.zeros((4, 3)), True, 0),
        ([np.ones((2, 0)), np.ones((2, 0))], [np.ones((2, 0)), np.ones((2, 0))], True, 0),
        (np.ones((4, 3)), np.ones((4, 2)), False, 4),
        (np.ones((4, 3)), np.ones((2, 3)), False, 0),  # requests of other batches
    ],
)
def test_nothing_compared_is_no_agreement(rows, reference, empty, differing):
    (part,) = compare_output("y", rows, reference)
    assert part.cosine is None
    assert part.relative_error is None
    assert part.reason
    assert (part.empty, part.differing) == (empty, differing)


@pytest.mark.slow
@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-1e300, 1e300)))
def test_equal_outputs_have_no_error(values):
    for part in compare_output("y", values, values):
        assert part.relative_error in (0, None)
        assert part.cosine is None or part.cosine.value == pytest.approx(1)


def test_rows_of_varying_size_survive_the_archive():
    rows = [RNG.uniform(0, 1, (2, n)) for n in (1, 0, 3)]
    archive = {
        "arr_0": np.concatenate([row.reshape(-1) for row in rows]),
        "shapes_0": np.array([row.shape for row in rows]),
    }
    read = read_rows(archive, 0)
    assert all((a == b).all() for a, b in zip(read, rows, strict=True))
    joined = join_rows([read, np.ones((2, 2, 1))])
    assert [row.shape for row in joined] == [(2, 1), (2, 0), (2, 3), (2, 1), (2, 1)]
    assert row_shape_text(joined) == "[samples, 2, ?]"
    assert join_rows([np.ones((2, 3)), np.ones((1, 3))]).shape == (3, 3)
