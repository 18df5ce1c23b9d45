"""The loss of quality on the same samples."""

import numpy as np
import pytest

from ovtool.core.paired import paired_difference
from ovtool.evaluation.metrics import Judge

LABELS = (0, 1, 2, 1, 0, 2)
BEFORE = np.eye(3)[[0, 1, 2, 0, 0, 1]]  # wrong at 3 and 5


def top1(**changes):
    return Judge("top1", "labels", ("y",), (0,), {"y": None}, "y", LABELS, **changes)


def test_loss_counts_the_samples():
    after = np.eye(3)[[0, 2, 0, 1, 0, 0]]  # wrong at 1, 2 and 5
    figures = top1().score({"y": after}, {"y": BEFORE}, 6).figures
    assert (figures["samples_lost"], figures["samples_won"]) == (2, 1)
    expected = paired_difference(2, 1, 6)
    assert figures["quality_loss"] == pytest.approx(1 / 6)
    assert figures["quality_loss_ci_low"] == expected.low
    assert figures["quality_loss_ci_high"] == expected.high
    assert figures["accuracy_top1"] == 0.5


def test_output_that_is_not_finite_is_lost():
    after = np.full((6, 3), np.nan)
    figures = top1().score({"y": after}, {"y": BEFORE}, 6).figures
    assert (figures["samples_lost"], figures["samples_won"]) == (4, 0)


def test_no_loss_without_a_reference():
    assert "quality_loss" not in top1().score({"y": BEFORE}, None, 6).figures


def mae(labels):
    return Judge("mae", "labels", ("y",), (0,), {}, "y", labels)


def test_loss_of_error_is_the_growth_of_its_mean():
    labels = tuple(np.array([value]) for value in (1.0, 2.0, 4.0))
    before = np.array([[1.5], [2.0], [4.0]])
    after = np.array([[1.75], [2.25], [3.75]])
    figures = mae(labels).score({"y": after}, {"y": before}, 3).figures
    assert figures["quality_loss"] == pytest.approx(0.25)
    assert figures["quality_loss_ci_low"] == pytest.approx(0.25)
    assert "samples_lost" not in figures


def test_one_sample_has_no_loss_of_error():
    judge = mae((np.array([1.0]),))
    figures = judge.score({"y": np.array([[2.0]])}, {"y": np.array([[1.0]])}, 1).figures
    assert "quality_loss" not in figures


def test_loss_of_texts_is_paired_by_line():
    """Two lines of four and two characters: one more wrong character, of the second line."""
    judge = Judge(
        "characters", "labels", ("y",), (0,), {}, "y", ("abab", "ab"), alphabet=("", "a", "b")
    )
    before = np.array([[1, 2, 1, 2], [1, 2, 0, 0]])
    after = np.array([[1, 2, 1, 2], [1, 1, 0, 0]])
    figures = judge.score({"y": after}, {"y": before}, 2).figures
    assert figures["quality_loss"] == pytest.approx(1 / 6)
    assert figures["quality_loss_ci_low"] <= 1 / 6 <= figures["quality_loss_ci_high"]


def test_loss_of_masks_has_no_interval():
    truth = tuple(np.array([[0, 1], [1, 0]]) for _ in range(3))
    right = np.stack([np.stack([1 - mask, mask]) for mask in truth]).astype(np.float32)
    wrong = right.copy()
    wrong[0, :, 0, 0] = [0, 1]
    judge = Judge("iou", "labels", ("y",), (0,), {}, "y", truth)
    figures = judge.score({"y": wrong}, {"y": right}, 3).figures
    assert figures["quality_loss"] == pytest.approx(1 - figures["mean_iou"])
    assert "quality_loss_ci_low" not in figures
