"""Quality figures of arrays of outputs, with confidence intervals.

Nothing here runs a model. The names of the figures are columns of :mod:`ovtool.core.columns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval, mean_interval, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.generic]
    Labels = NDArray[np.integer]

TOP5_CLASSES = 6  # with fewer classes, five guesses are nearly all classes


@dataclass(frozen=True, slots=True)
class Score:
    """Quality figures by column name, and notes. An unknown figure is absent."""

    figures: dict[str, float]
    notes: tuple[Note, ...] = ()


def score(outputs: Array, labels: Labels | None = None, reference: Array | None = None) -> Score:
    """Return the quality of one output over all samples.

    An output that is not finite is never correct and never agrees. Of equal scores, the lower class
    ranks first, as in ``argmax``. A classifier returns [samples, classes] or
    [samples, classes, 1, 1]. Outputs of any other shape are only compared with the reference, the
    outputs of the uncompressed model on the same samples. Labels are [samples] class indices.

    Raises:
        InputError: There are no samples, the shapes differ, or a label is not a class of the model.
    """
    check_labels(outputs, labels)
    if reference is not None and reference.shape != outputs.shape:
        raise InputError(
            f"cannot compare outputs {list(outputs.shape)} with {list(reference.shape)} of the"
            " uncompressed model"
        )
    figures = {"quality_samples": float(len(outputs))}
    notes = check_finite("output", np.isfinite(outputs.astype(np.float64)))
    classes = _class_scores(outputs)
    if labels is not None and classes is None:
        notes += (make_note("labels-unused", f"output {['samples', *outputs.shape[1:]]}"),)
    elif labels is not None and classes is not None:
        against_labels = _accuracy(classes, labels)
        figures |= against_labels.figures
        notes += against_labels.notes
    if reference is not None:
        notes += check_finite("reference", np.isfinite(reference.astype(np.float64)))
        figures |= _agreement(outputs, reference)
    return Score(figures, notes)


def check_labels(outputs: Sequence[Any] | Array, labels: Sequence[Any] | Array | None) -> None:
    """Check that there are samples, and one label for each if there are labels.

    Raises:
        InputError: There are no samples, or the numbers differ.
    """
    if not len(outputs):
        raise InputError("quality needs at least one sample")
    if labels is not None and len(labels) != len(outputs):
        raise InputError(f"{len(labels)} labels for {len(outputs)} samples")


def _class_scores(outputs: Array) -> NDArray[np.float64] | None:
    """Return [samples, classes]; None if the model is not a classifier."""
    is_classes = outputs.ndim == 2 or (outputs.ndim == 4 and outputs.shape[2:] == (1, 1))
    if not is_classes or outputs.shape[1] < 2:
        return None
    return outputs.reshape(len(outputs), -1).astype(np.float64)


def _top1(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the highest class of each sample; -1 if an output is not finite."""
    finite = np.isfinite(scores).all(1)
    return np.where(finite, np.where(np.isfinite(scores), scores, -np.inf).argmax(1), -1)


def _accuracy(scores: NDArray[np.float64], labels: Labels) -> Score:
    classes = scores.shape[1]
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise InputError(
            f"label {int(outside[0])} is out of range: the model has classes 0 to {classes - 1}",
            "do the labels start at 1, or count a background class?",
        )
    top1 = _top1(scores)
    figures = make_proportion_figures("accuracy_top1", int((top1 == labels).sum()), len(labels))
    if classes >= TOP5_CLASSES:
        of_label = scores[np.arange(len(labels)), labels][:, None]
        before = np.arange(classes)[None, :] < labels[:, None]
        rank = ((scores > of_label) | ((scores == of_label) & before)).sum(1)
        hits = int(((rank < 5) & (top1 >= 0)).sum())
        figures |= make_proportion_figures("accuracy_top5", hits, len(labels))
    return Score(figures, _shift_notes(top1, labels))


def _shift_notes(top1: NDArray[np.int64], labels: Labels) -> tuple[Note, ...]:
    """Return a note if the labels fit significantly better with 1 added or subtracted."""
    count = len(labels)
    unshifted = wilson(int((top1 == labels).sum()), count)
    for shift in (1, -1):
        shifted = wilson(int((top1 == labels + shift).sum()), count)
        if shifted.low > unshifted.high:
            text = f"top-1 {unshifted.value:.3f}, and {shifted.value:.3f} with label {shift:+d}"
            return (make_note("labels-shifted", text),)
    return ()


def _agreement(outputs: Array, reference: Array) -> dict[str, float]:
    figures: dict[str, float] = {}
    classes, expected = _class_scores(outputs), _class_scores(reference)
    if classes is not None and expected is not None:
        top1 = _top1(classes)
        same = int(((top1 == _top1(expected)) & (top1 >= 0)).sum())
        figures |= make_proportion_figures("agreement_top1", same, len(outputs))
    cosines, differences = [], []
    for pair in zip(outputs, reference, strict=True):
        a, b = (array.astype(np.float64).reshape(-1) for array in pair)
        cosines.append(_cosine(a, b))
        with np.errstate(invalid="ignore", over="ignore"):
            differences.append(float(np.abs(a - b).max(initial=0.0)))
    if np.isfinite(cosines).all():
        figures |= make_interval_figures("output_cosine", mean_interval(cosines), -1.0, 1.0)
    if np.isfinite(differences).all():
        figures["output_max_abs_difference"] = max(differences)
    return figures


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the cosine of two vectors; 1 if both are 0, 0 if one is, NaN if one is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    # Scale first: squares of very large or small outputs are out of range.
    a, b = (x / top if (top := np.abs(x).max(initial=0.0)) else x for x in (a, b))
    lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
    if lengths == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / lengths, -1.0, 1.0))


def check_finite(
    what: Literal["output", "reference"], is_finite: NDArray[np.bool_]
) -> tuple[Note, ...]:
    """Return a note if outputs [samples, ...] are not finite."""
    finite = np.asarray(is_finite.reshape(len(is_finite), -1).all(1))
    bad = int((~finite).sum())
    if not bad:
        return ()
    evidence = f"{bad} of {len(finite)} samples, the first is {int(finite.argmin())}"
    return (make_note(f"{what}-not-finite", evidence),)


def make_proportion_figures(name: str, hits: int, count: int) -> dict[str, float]:
    """Return a proportion of samples with its confidence interval."""
    return make_interval_figures(name, wilson(hits, count), 0.0, 1.0)


def make_interval_figures(
    name: str, interval: Interval, low: float, high: float
) -> dict[str, float]:
    """Return a figure with its confidence interval, clipped to the range from low to high."""
    figures = {name: interval.value}
    if interval.known:
        figures[f"{name}_ci_low"] = max(low, interval.low)
        figures[f"{name}_ci_high"] = min(high, interval.high)
    return figures
