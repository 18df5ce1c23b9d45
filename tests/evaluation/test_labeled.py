"""mAP and mean IoU, against hand-made boxes and masks and the Jaccard index of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from ovtool.core.errors import InputError
from ovtool.datasets.samples import Boxes
from ovtool.evaluation.labeled import (
    read_class_map,
    read_detections,
    score_detections,
    score_masks,
)

RNG = np.random.default_rng(0)


def boxes(*rows, crowd=False):
    """Labels of rows (left, top, right, bottom, class)."""
    array = np.array(rows, np.float32).reshape(-1, 5)
    return Boxes(array[:, :4], array[:, 4].astype(np.int64), np.full(len(array), crowd))


def found(*rows, places=4):
    """An output [places, 6] of (left, top, right, bottom, score, class), padded by score 0."""
    array = np.zeros((places, 6), np.float32)
    array[: len(rows)] = np.array(rows, np.float32).reshape(-1, 6)
    return array


def mean_precision(outputs, labels):
    return score_detections(outputs, labels).figures["mean_average_precision"]


def test_map_of_hand_made_boxes():
    labels = [boxes((0, 0, 10, 10, 1)), boxes((0, 0, 20, 20, 1))]
    exact = np.stack([found((0, 0, 10, 10, 0.9, 1)), found((0, 0, 20, 20, 0.8, 1))])
    assert mean_precision({"y": exact}, labels) == pytest.approx(1)
    # IoU 0.80 in the second image: counted at the 7 thresholds from 0.50 to 0.80.
    shifted = exact.copy()
    shifted[1, 0, :4] = (0, 0, 20, 16)
    precision = (51 / 101 * 3 + 7) / 10  # at the 3 others, recall ends at one of two: 51 of 101
    assert mean_precision({"y": shifted}, labels) == pytest.approx(precision, abs=1e-3)
    assert mean_precision({"y": exact * [1, 1, 1, 1, 1, 0]}, labels) == 0


def test_map_reads_named_outputs_and_reports_other_classes():
    labels = [boxes((0, 0, 10, 10, 18))]
    outputs = {
        "boxes": [np.array([[0, 0, 10, 10]], np.float32)],
        "scores": [np.array([0.5], np.float32)],
        "labels": [np.array([18])],
    }
    assert mean_precision(outputs, labels) == pytest.approx(1)
    outputs["labels"] = [np.array([16])]
    result = score_detections(outputs, labels)
    assert result.figures["mean_average_precision"] == 0
    assert [note.id for note in result.notes] == ["classes-differ"]


def test_a_crowd_matches_without_counting():
    outputs = {"y": np.stack([found((0, 0, 10, 10, 0.9, 1), (50, 50, 60, 60, 0.95, 1))])}
    plain, crowd = boxes((0, 0, 10, 10, 1)), boxes((40, 40, 90, 90, 1), crowd=True)
    merged = Boxes(
        *(np.concatenate([getattr(plain, n), getattr(crowd, n)]) for n in plain.__slots__)
    )
    assert mean_precision(outputs, [merged]) == pytest.approx(1)
    assert mean_precision(outputs, [plain]) < 0.6  # without the crowd it is a false detection


def test_no_labeled_box_has_no_figure():
    result = score_detections({"y": np.stack([found()])}, [boxes()])
    assert result.figures == {}
    assert [note.id for note in result.notes] == ["no-labeled-boxes"]


def test_outputs_of_another_form_are_rejected_with_their_shapes():
    with pytest.raises(InputError, match=r"y \[samples, 84, 9\]"):
        read_detections({"y": np.zeros((2, 84, 9))})


@pytest.mark.parametrize("last", [False, True])
def test_mean_iou_is_the_jaccard_index(last):
    scores, masks = RNG.standard_normal((5, 4, 8, 6)), RNG.integers(0, 4, (5, 8, 6))
    masks[:, :2] = 255
    counted = masks != 255
    expected = jaccard_score(masks[counted], scores.argmax(1)[counted], average="macro")
    outputs = scores.transpose(0, 2, 3, 1) if last else scores
    figures = score_masks("y", outputs, list(masks)).figures
    assert figures["mean_iou"] == pytest.approx(expected)
    assert figures["mean_iou_ci_low"] < figures["mean_iou"] < figures["mean_iou_ci_high"]


def test_mean_iou_by_hand():
    mask = np.array([[0, 0, 1, 1]])
    predicted = np.array([[[0, 1, 1, 1]]])  # class 0: 1 of 2, class 1: 2 of 3; classes 2 absent
    assert score_masks("y", predicted, [mask]).figures == {"mean_iou": pytest.approx(7 / 12)}


def test_a_mask_is_sampled_at_the_pixels_of_a_smaller_output():
    mask = np.repeat(np.repeat(np.array([[0, 1], [1, 0]]), 4, 0), 4, 1)
    predicted = np.array([[[0, 1], [1, 0]]])
    assert score_masks("y", predicted, [mask]).figures["mean_iou"] == 1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (np.array([[[0.2, 0.7]]]), [[0, 1]]),  # probabilities of one class
        (np.array([[[-3.0, 0.2]]]), [[0, 1]]),  # logits of one class
        (np.array([[2, 5]]), [[2, 5]]),  # class indices
        (np.array([[[0.1, 2.0]], [[0.3, 1.0]]]), [[1, 0]]),
    ],
)
def test_class_maps(row, expected):
    assert read_class_map("y", row, (1, 2)).tolist() == expected


@pytest.mark.parametrize(
    ("output", "mask", "value"),
    [
        (np.zeros((1, 3, 4, 4)), np.full((4, 4), 3), "class 3 .* 0 to 2"),
        (np.zeros((1, 5)), np.zeros((4, 4), int), r"y \[samples, 5\]"),
    ],
)
def test_masks_that_do_not_fit_are_rejected(output, mask, value):
    with pytest.raises(InputError, match=value):
        score_masks("y", output, [mask])
