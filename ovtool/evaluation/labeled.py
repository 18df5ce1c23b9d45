"""Metrics of detectors and segmenters: mean average precision and mean IoU.

Boxes are ``[left, top, right, bottom]`` in pixels of the model's input.  A detector has one output
[samples, boxes, 6] (left, top, right, bottom, score, class), or three outputs named ``boxes``,
``scores`` and ``labels`` (or ``classes``).
"""

from __future__ import annotations

import contextlib
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.registry import missing_package
from ovtool.core.statistics import CONFIDENCE, Interval
from ovtool.datasets.annotations import IGNORED
from ovtool.evaluation.outputs import row_shape_text
from ovtool.evaluation.scores import Score, check_labels, make_interval_figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ovtool.datasets.samples import Boxes
    from ovtool.evaluation.outputs import Rows

CONVENTION = (
    "a detector has an output [samples, boxes, 6] (x1, y1, x2, y2, score, class), or outputs named"
    " boxes, scores and labels"
)
_RESAMPLES = 400


def score_detections(outputs: Mapping[str, Rows], labels: Sequence[Boxes]) -> Score:
    """Return the mean average precision of detections, as COCO defines it, by pycocotools.

    Raises:
        InputError: The outputs do not have the form of a detector's.
        MissingDependencyError: pycocotools is not installed.
    """
    detections = read_detections(outputs)
    check_labels(detections, labels)
    classes = {int(c) for label in labels for c in label.classes}
    found = {int(c) for _, _, detected in detections for c in detected}
    notes: tuple[Note, ...] = ()
    if classes and found and not classes & found:
        evidence = f"labels {sorted(classes)[:5]}, outputs {sorted(found)[:5]}"
        notes = (make_note("classes-differ", evidence),)
    if not any((~label.crowd).any() for label in labels):
        return Score({}, (make_note("no-labeled-boxes"),))
    value = _coco_precision(detections, labels, sorted(classes)) if found else 0.0
    return Score({"mean_average_precision": value}, notes)


def _coco_precision(
    detections: Sequence[Detections], labels: Sequence[Boxes], classes: Sequence[int]
) -> float:
    """Return the average precision over classes and IoU thresholds, by pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise missing_package("metric map", error, "detection") from error

    expected = [
        {"image_id": image, "category_id": int(c), "iscrowd": int(crowd), **_extent(box)}
        for image, label in enumerate(labels)
        for box, c, crowd in zip(label.boxes, label.classes, label.crowd, strict=True)
    ]
    predicted = [
        {"image_id": image, "category_id": int(c), "score": float(score), **_extent(box)}
        for image, found in enumerate(detections)
        for box, score, c in zip(*found, strict=True)
    ]
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(labels))],
        "categories": [{"id": number} for number in classes],
        "annotations": [{"id": i, **entry} for i, entry in enumerate(expected, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(predicted), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _extent(box: NDArray[np.float32]) -> dict[str, Any]:
    left, top, right, bottom = map(float, box)
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height}


Detections = tuple["NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.int64]"]


def read_detections(outputs: Mapping[str, Rows]) -> list[Detections]:
    """Return boxes [boxes, 4], scores and classes of each sample; boxes with score 0 are padding.

    Raises:
        InputError: The outputs do not have the form of a detector's.
    """
    parts = {"boxes": ("boxes",), "scores": ("scores",), "labels": ("labels", "classes")}
    named = {
        part: next((outputs[n] for n in names if n in outputs), None)
        for part, names in parts.items()
    }
    if all(rows is not None for rows in named.values()):
        triples = zip(*(rows for rows in named.values() if rows is not None), strict=True)
        return [_detections(*map(np.asarray, triple)) for triple in triples]
    for rows in outputs.values():
        if all(np.asarray(row).ndim == 2 and np.asarray(row).shape[1] == 6 for row in rows):
            split = [np.split(np.asarray(row), [4, 5], axis=1) for row in rows]
            return [_detections(*three) for three in split]
    shapes = ", ".join(f"{name} {row_shape_text(rows)}" for name, rows in outputs.items())
    raise InputError(f"metric map does not fit the outputs {shapes}", CONVENTION)


def _detections(boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any]) -> Detections:
    flat = scores.reshape(-1).astype(np.float32)
    kept = np.isfinite(flat) & (flat > 0)
    return (
        boxes.reshape(-1, 4).astype(np.float32)[kept],
        flat[kept],
        np.rint(classes.reshape(-1)).astype(np.int64)[kept],
    )


def score_masks(name: str, outputs: Rows, labels: Sequence[NDArray[Any]]) -> Score:
    """Return the mean over the classes of intersection / union, summed over all samples.

    A class that neither the labels nor the outputs have does not count, nor do pixels of the label
    :data:`~ovtool.datasets.annotations.IGNORED`.  A mask of another size than the output is
    sampled at the centers of the output's pixels.  The interval is the percentile bootstrap over
    samples.

    Raises:
        InputError: The output is not a map of classes, or a label is not a class of the model.
    """
    check_labels(outputs, labels)
    pairs = []
    for row, label in zip(outputs, labels, strict=True):
        predicted = read_class_map(name, np.asarray(row), np.asarray(label).shape)
        pairs.append((predicted, _resample(np.asarray(label), predicted.shape)))
    masks = [label[label != IGNORED] for _, label in pairs]
    highest = max(int(part.max()) for part in (*masks, *(p for p, _ in pairs)) if part.size)
    shapes = np.asarray(outputs[0]).shape
    classes = _class_count(shapes, np.asarray(labels[0]).shape)
    if classes is not None and any((mask >= classes).any() for mask in masks):
        raise InputError(
            f"class {max(int(m.max()) for m in masks if m.size)} of a mask is out of range: the"
            f" model has classes 0 to {classes - 1}",
            f"use {IGNORED} for pixels that do not count",
        )
    count = highest + 1
    both = np.zeros((len(pairs), count))
    either = np.zeros((len(pairs), count))
    for index, (predicted, label) in enumerate(pairs):
        counted = label != IGNORED
        p, t = predicted[counted].reshape(-1), label[counted].reshape(-1)
        both[index] = np.bincount(t[p == t], minlength=count)
        either[index] = np.bincount(p, minlength=count) + np.bincount(t, minlength=count)
    either -= both
    value = float(_mean_iou(both.sum(0), either.sum(0)))
    if math.isnan(value):
        return Score({})
    drawn = np.random.default_rng(0).integers(0, len(pairs), (_RESAMPLES, len(pairs)))
    estimates = [_mean_iou(both[rows].sum(0), either[rows].sum(0)) for rows in drawn]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(estimates, [tail, 1 - tail])
    interval = Interval(value, min(float(low), value), max(float(high), value))
    if len(pairs) == 1:
        interval = Interval(value, math.nan, math.nan)
    return Score(make_interval_figures("mean_iou", interval, 0.0, 1.0))


def read_class_map(name: str, row: NDArray[Any], label: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the class of each pixel, [height, width], of one sample of an output.

    The output is [classes, height, width] or [height, width, classes] of scores, of which the
    highest counts; [1, height, width] or [height, width] of scores of class 1, beyond 0.5 for
    values from 0 to 1 and beyond 0 otherwise; or [height, width] of class indices.

    Raises:
        InputError: The output has another form.
    """
    if row.ndim == 3 and 1 in (row.shape[0], row.shape[2]):
        first = row.shape[0] == 1 and (row.shape[2] != 1 or _channels_first(row.shape, label))
        row = row[0] if first else row[..., 0]
    if row.ndim == 2:
        if row.dtype.kind in "iub":
            return row.astype(np.int64)
        shares = row.min(initial=0) >= 0 and row.max(initial=0) <= 1
        return (row > (0.5 if shares else 0)).astype(np.int64)
    if row.ndim == 3:
        return np.asarray(row.argmax(0 if _channels_first(row.shape, label) else 2))
    raise InputError(
        f"output {name} [samples, {', '.join(map(str, row.shape))}] is not a map of classes",
        "metric iou needs [samples, classes, height, width], or class indices of each pixel",
    )


def _class_count(shape: tuple[int, ...], label: tuple[int, ...]) -> int | None:
    if len(shape) != 3:
        return None
    count = shape[0] if _channels_first(shape, label) else shape[2]
    return max(count, 2)


def _channels_first(shape: tuple[int, ...], label: tuple[int, ...]) -> bool:
    """Return whether [a, b, c] are classes first: by the size of the mask, else by the sizes."""
    if shape[1:] == label or shape[:2] == label:
        return shape[1:] == label
    return shape[0] <= shape[2]


def _resample(mask: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    if mask.shape == shape:
        return mask.astype(np.int64)
    if mask.ndim != 2:
        raise InputError(f"a mask has the shape {list(mask.shape)}", "masks are [height, width]")
    places = [
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(shape, mask.shape, strict=True)
    ]
    return mask[np.ix_(*places)].astype(np.int64)


def _mean_iou(both: NDArray[np.float64], either: NDArray[np.float64]) -> float:
    present = either > 0
    return float((both[present] / either[present]).mean()) if present.any() else math.nan
