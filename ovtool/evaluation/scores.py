"""Figures of quality from arrays of outputs, each with the samples it rests on and an interval.

Nothing here runs a model.  The names of the figures are those of :mod:`ovtool.core.columns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import suggestion
from ovtool.core.statistics import Interval, mean_interval, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovtool.core.variant import Port

    Array = NDArray[np.generic]
    Labels = NDArray[np.integer]

TOP5_CLASSES = 6  # with fewer, five guesses are (nearly) all there are


@dataclass(frozen=True, slots=True)
class Score:
    """Figures by the names of ``columns.py``, and what must be known to read them.

    A figure that is not known is left out.
    """

    figures: dict[str, float]
    notes: tuple[Note, ...] = ()


def judged_output(
    outputs: Sequence[Port], name: str | None = None, progress: Progress = SILENT
) -> int:
    """Return the index of the output that quality is measured on: the named one, or the first.

    Raises:
        InputError: There is no output of that name.
    """
    names = [port.name for port in outputs]
    if name is not None:
        if name not in names:
            raise InputError(f"no output {name!r}", suggestion(name, names))
        return names.index(name)
    if len(names) > 1:
        others = ", ".join(names[1:])
        progress.note(f"quality is measured on output {names[0]}; there are also {others}")
    return 0


def score(outputs: Array, labels: Labels | None = None, reference: Array | None = None) -> Score:
    """Return the quality of one output over all samples.

    An output that is not finite is never right and never agrees.  Where two outputs are equal,
    the lower class counts as the higher one, as in ``argmax``.

    Args:
        outputs: [samples, classes] (or [samples, classes, 1, 1]) of a classifier; any other shape
            gets no top-1, only a comparison with ``reference``.
        labels: [samples] class indices.
        reference: The uncompressed model's outputs on the same samples, of the same shape.

    Raises:
        InputError: There are no samples, the shapes differ, or a label is no class of the model.
    """
    count = len(outputs)
    if count == 0:
        raise InputError("quality needs at least one sample")
    if reference is not None and reference.shape != outputs.shape:
        raise InputError(
            f"outputs are {list(outputs.shape)}, those of the uncompressed model "
            f"{list(reference.shape)}: they cannot be compared"
        )
    if labels is not None and len(labels) != count:
        raise InputError(f"{len(labels)} labels for {count} samples")
    figures = {"quality_samples": float(count)}
    notes = not_finite("output", np.isfinite(outputs.astype(np.float64)))
    classes = _class_scores(outputs)
    if labels is not None and classes is None:
        shape = ["samples", *outputs.shape[1:]]
        notes += (make_note("labels-unused", f"output {shape}"),)
    if labels is not None and classes is not None:
        against_labels = _accuracy(classes, labels)
        figures |= against_labels.figures
        notes += against_labels.notes
    if reference is not None:
        finite = np.isfinite(reference.astype(np.float64))
        notes += not_finite("reference", finite)
        figures |= _agreement(outputs, reference)
    return Score(figures, notes)


def _class_scores(outputs: Array) -> NDArray[np.float64] | None:
    """Return [samples, classes] with NaN below everything, or None for what is no classifier."""
    is_classes = outputs.ndim == 2 or (outputs.ndim == 4 and outputs.shape[2:] == (1, 1))
    if not is_classes or outputs.shape[1] < 2:
        return None
    return outputs.reshape(len(outputs), -1).astype(np.float64)


def _top1(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the highest class of each sample; -1 where an output is not finite."""
    finite = np.isfinite(scores).all(1)
    return np.where(finite, np.where(np.isfinite(scores), scores, -np.inf).argmax(1), -1)


def _accuracy(scores: NDArray[np.float64], labels: Labels) -> Score:
    classes = scores.shape[1]
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise InputError(
            f"label {int(outside[0])} is no class of a model of {classes} classes (0 to "
            f"{classes - 1})",
            "are the labels counted from 1, or made for a model with a background class?",
        )
    top1 = _top1(scores)
    figures = proportion("accuracy_top1", int((top1 == labels).sum()), len(labels))
    if classes >= TOP5_CLASSES:
        of_label = scores[np.arange(len(labels)), labels][:, None]
        before = np.arange(classes)[None, :] < labels[:, None]
        rank = ((scores > of_label) | ((scores == of_label) & before)).sum(1)
        hits = int(((rank < 5) & (top1 >= 0)).sum())
        figures |= proportion("accuracy_top5", hits, len(labels))
    return Score(figures, _shifted(top1, labels))


def _shifted(top1: NDArray[np.int64], labels: Labels) -> tuple[Note, ...]:
    """Return a note when the labels fit far better with one added or taken away."""
    count = len(labels)
    right = wilson(int((top1 == labels).sum()), count)
    for shift in (1, -1):
        shifted = wilson(int((top1 == labels + shift).sum()), count)
        if shifted.low > right.high:
            return (
                make_note(
                    "labels-shifted",
                    f"top-1 {right.value:.3f}, and {shifted.value:.3f} with label {shift:+d}",
                ),
            )
    return ()


def _agreement(outputs: Array, reference: Array) -> dict[str, float]:
    figures: dict[str, float] = {}
    ours, theirs = _class_scores(outputs), _class_scores(reference)
    if ours is not None and theirs is not None:
        top1 = _top1(ours)
        same = int(((top1 == _top1(theirs)) & (top1 >= 0)).sum())
        figures |= proportion("agreement_top1", same, len(outputs))
    cosines, differences = [], []
    for ours_one, theirs_one in zip(outputs, reference, strict=True):
        a, b = (x.astype(np.float64).reshape(-1) for x in (ours_one, theirs_one))
        cosines.append(_cosine(a, b))
        with np.errstate(invalid="ignore", over="ignore"):
            differences.append(float(np.abs(a - b).max(initial=0.0)))
    if np.isfinite(cosines).all():
        figures |= named("output_cosine", mean_interval(cosines), -1.0, 1.0)
    if np.isfinite(differences).all():
        figures["output_max_abs_difference"] = max(differences)
    return figures


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the cosine of two vectors: 1 for two zeros, 0 for one, NaN for what is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    # Scaled first: squares of large or small outputs leave the range of floats.
    a, b = (x / top if (top := np.abs(x).max(initial=0.0)) else x for x in (a, b))
    lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
    if lengths == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / lengths, -1.0, 1.0))


def not_finite(
    what: Literal["output", "reference"], is_finite: NDArray[np.bool_]
) -> tuple[Note, ...]:
    """Return a note if outputs are not finite.

    Args:
        what: The outputs of the model, or those of the uncompressed model.
        is_finite: [samples, ...].
    """
    finite = np.asarray(is_finite.reshape(len(is_finite), -1).all(1))
    bad = int((~finite).sum())
    if not bad:
        return ()
    evidence = f"{bad} of {len(finite)} samples, the first is {int(finite.argmin())}"
    return (make_note(f"{what}-not-finite", evidence),)


def proportion(name: str, hits: int, count: int) -> dict[str, float]:
    """Return a share of samples as a figure with its interval."""
    return named(name, wilson(hits, count), 0.0, 1.0)


def named(name: str, interval: Interval, least: float, most: float) -> dict[str, float]:
    """Return a figure with its interval cut to the values that it can have."""
    figures = {name: interval.value}
    if interval.known:
        figures[f"{name}_ci_low"] = max(least, interval.low)
        figures[f"{name}_ci_high"] = min(most, interval.high)
    return figures
