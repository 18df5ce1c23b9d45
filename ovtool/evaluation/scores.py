"""Quality figures of arrays of outputs, with confidence intervals.

Nothing here runs a model. The names of the figures are columns of :mod:`ovtool.core.columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval, mean_interval, wilson
from ovtool.evaluation.outputs import OutputQuality, compare_output, row_shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ovtool.evaluation.outputs import Rows

    Labels = NDArray[np.integer]

NO_CLASS = np.iinfo(np.int64).min
"""The class of an output that is not finite; an index of a model may be -1."""
TOP5_CLASSES = 6  # with fewer classes, five guesses are nearly all classes


@dataclass(frozen=True, slots=True)
class Score:
    """Quality figures by column name, and notes. An unknown figure is absent.

    ``outputs`` are the comparisons with the reference by output and channel group.
    """

    figures: dict[str, float]
    notes: tuple[Note, ...] = ()
    outputs: tuple[OutputQuality, ...] = ()

    def plus(self, other: Score) -> Score:
        """Return the figures and notes of both."""
        return Score(
            self.figures | other.figures, self.notes + other.notes, self.outputs + other.outputs
        )


def score_classes(
    scores: Rows, labels: Labels, name: str = "output", threshold: float | None = None
) -> Score:
    """Return top-1, and top-5 of class scores; see :func:`predict_classes`.

    An output that is not finite is never correct. Of equal scores, the lower class ranks first, as
    in ``argmax``. Labels are [samples] class indices.

    Raises:
        InputError: There are no samples, the numbers differ, or a label is not a class of the
            model.
    """
    check_labels(scores, labels)
    predicted = predict_classes(scores, threshold)
    if predicted is None:
        return Score({}, (make_note("labels-unused", f"output {name} {row_shape_text(scores)}"),))
    classes = class_scores(scores)
    count = classes.shape[1] if classes is not None else None if threshold is None else 2
    check_classes(labels, count)
    hits = int((predicted == labels).sum())
    figures = make_proportion_figures("accuracy_top1", hits, len(labels))
    if classes is not None:
        figures |= _top5(classes, labels, predicted)
    notes = _shift_notes(predicted, labels) if threshold is None else ()
    return Score(figures, notes)


def compare_outputs(
    outputs: Mapping[str, Rows],
    references: Mapping[str, Rows],
    classes: Mapping[str, float | None] | None = None,
) -> Score:
    """Return how all outputs agree with the reference: the worst output, or channel group, counts.

    ``classes`` names the outputs that are classes, with the threshold of one value a sample, see
    :func:`predict_classes`: their agreement is the share of samples with the same class, and their
    channels are not compared in groups. An output that is not finite never agrees.
    """
    figures: dict[str, float] = {}
    notes: list[Note] = []
    agreements: dict[str, int] = {}
    classes = classes or {}
    parts: list[OutputQuality] = []
    for name, rows in outputs.items():
        reference = references[name]
        notes += check_finite(name, "reference", reference)
        parts += compare_output(name, rows, reference, grouped=name not in classes)
        flags = find_agreeing(rows, reference, classes[name]) if name in classes else None
        if flags is not None:
            agreements[name] = int(flags.sum())
    if agreements:
        worst = min(agreements, key=lambda name: agreements[name])
        count = len(outputs[worst])
        figures |= make_proportion_figures("agreement_top1", agreements[worst], count)
    figures |= _worst_figures(parts)
    notes += _comparison_notes(parts, agreements)
    return Score(figures, tuple(notes), tuple(parts))


def find_agreeing(
    rows: Rows, reference: Rows, threshold: float | None = None
) -> NDArray[np.bool_] | None:
    """Return whether each sample has the class of the reference; None if these are no classes.

    Classes are those of :func:`predict_classes`; an output that is not finite never agrees.
    """
    if row_shape_text(rows) != row_shape_text(reference):
        return None
    actual, expected = (predict_classes(side, threshold) for side in (rows, reference))
    if actual is None or expected is None or len(actual) != len(expected):
        return None
    agreeing: NDArray[np.bool_] = (actual == expected) & (actual != NO_CLASS)
    return agreeing


def _worst_figures(parts: Sequence[OutputQuality]) -> dict[str, float]:
    """Return the figures of the worst part; a figure that a part lacks is unknown.

    Parts without a value to compare are left out.
    """
    figures: dict[str, float] = {}
    compared = [part for part in parts if not part.empty]
    cosines = [part.cosine for part in compared if part.cosine is not None]
    errors = [part.relative_error for part in compared if part.relative_error is not None]
    largest = [p.max_abs_difference for p in compared if p.max_abs_difference is not None]
    if cosines and len(cosines) == len(compared):
        worst = min(cosines, key=lambda cosine: cosine.value)
        figures |= make_interval_figures("output_cosine", worst, -1.0, 1.0)
    if errors and len(errors) == len(compared):
        figures["output_relative_error"] = max(errors)
    if largest and len(largest) == len(compared):
        figures["output_max_abs_difference"] = max(largest)
    if any(part.differing for part in parts):
        figures["output_size_differs_pct"] = max(part.differing_pct for part in parts)
    return figures


def _comparison_notes(parts: Sequence[OutputQuality], agreements: Mapping[str, int]) -> list[Note]:
    notes = []
    if len(parts) > 1:
        known = [part for part in parts if part.cosine is not None]
        ordered = sorted(known, key=lambda part: part.cosine.value if part.cosine else 0.0)
        ordered += [part for part in parts if part.cosine is None]
        notes.append(make_note("worst-output", units.listing([p.text for p in ordered], 6, "; ")))
    if len(agreements) > 1:
        shown = [f"{name} {hits} samples" for name, hits in agreements.items()]
        notes.append(make_note("worst-agreement", ", ".join(shown)))
    for part in parts:
        if part.reason:
            notes.append(make_note("output-not-compared", part.text))
        elif part.differing:
            evidence = f"output {part.output}: {part.differing} of {part.rows} samples"
            notes.append(make_note("output-sizes-differ", evidence))
    return notes


def score_error(outputs: Rows, targets: Sequence[Any] | NDArray[Any], name: str) -> Score:
    """Return the mean absolute error of an output against numbers, with its interval over samples.

    Raises:
        InputError: The numbers of samples or of values in a sample differ.
    """
    errors = sample_errors(outputs, targets, name)
    if not np.isfinite(errors).all():
        return Score({})  # check_finite has the note
    interval = mean_interval(errors.tolist())
    return Score(make_interval_figures("mean_absolute_error", interval, 0.0, np.inf))


def sample_errors(
    outputs: Rows, targets: Sequence[Any] | NDArray[Any], name: str
) -> NDArray[np.float64]:
    """Return the mean of ``|output - label|`` over the values of each sample, [samples].

    Raises:
        InputError: The numbers of samples or of values in a sample differ.
    """
    check_labels(outputs, targets)
    errors = []
    for row, target in zip(outputs, targets, strict=True):
        a, b = (np.asarray(x).astype(np.float64).reshape(-1) for x in (row, target))
        if a.size != b.size:
            raise InputError(
                f"output {name} has {a.size} values for a label of {b.size}",
                "name the output that the labels are for: --output",
            )
        with np.errstate(invalid="ignore", over="ignore"):
            errors.append(float(np.abs(a - b).mean()))
    return np.array(errors)


def check_labels(outputs: Sequence[Any] | Rows, labels: Sequence[Any] | NDArray[Any]) -> None:
    """Check that there are samples, and one label for each.

    Raises:
        InputError: There are no samples, or the numbers differ.
    """
    if not len(outputs):
        raise InputError("quality needs at least one sample")
    if len(labels) != len(outputs):
        raise InputError(f"{len(labels)} labels for {len(outputs)} samples")


def class_scores(outputs: Rows) -> NDArray[np.float64] | None:
    """Return [samples, classes]; None if the shape is not that of class scores."""
    if not isinstance(outputs, np.ndarray) or not has_classes(outputs.shape):
        return None
    return outputs.reshape(len(outputs), -1).astype(np.float64)


def has_classes(shape: Sequence[int]) -> bool:
    """Return whether a shape is [samples, classes] or [samples, classes, 1, 1]."""
    is_classes = len(shape) == 2 or (len(shape) == 4 and tuple(shape[2:]) == (1, 1))
    return is_classes and shape[1] >= 2


def predict_classes(rows: Rows, threshold: float | None = None) -> NDArray[np.int64] | None:
    """Return the class of each sample; :data:`NO_CLASS` if an output is not finite.

    The class is the highest of [samples, classes] scores.  Of one value a sample, it is the value
    itself if that is an integer, else 1 above the threshold and 0 otherwise.  None if the values
    are no classes.
    """
    scores = class_scores(rows)
    if scores is not None:
        finite = np.isfinite(scores).all(1)
        return np.where(finite, np.where(np.isfinite(scores), scores, -np.inf).argmax(1), NO_CLASS)
    if not isinstance(rows, np.ndarray) or rows.size != len(rows):
        return None
    values = rows.reshape(-1)
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    if threshold is None:
        return None
    return np.where(np.isfinite(values), values > threshold, NO_CLASS).astype(np.int64)


def check_classes(labels: Labels, classes: int | None) -> None:
    """Check that labels are classes of a model; ``classes`` None: their number is unknown.

    Raises:
        InputError: A label is out of range.
    """
    if classes is None:
        return
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise InputError(
            f"label {int(outside[0])} is out of range: the model has classes 0 to {classes - 1}",
            "do the labels start at 1, or count a background class?",
        )


def _top5(
    scores: NDArray[np.float64], labels: Labels, predicted: NDArray[np.int64]
) -> dict[str, float]:
    if scores.shape[1] < TOP5_CLASSES:
        return {}
    of_label = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    rank = ((scores > of_label) | ((scores == of_label) & before)).sum(1)
    hits = int(((rank < 5) & (predicted != NO_CLASS)).sum())
    return make_proportion_figures("accuracy_top5", hits, len(labels))


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


def check_finite(
    name: str,
    what: Literal["output", "reference"],
    rows: Rows,
    finite: Callable[[Any], Any] = np.isfinite,
) -> tuple[Note, ...]:
    """Return a note if rows of an output are not finite."""
    flags = np.array([bool(np.asarray(finite(np.asarray(row))).all()) for row in rows], bool)
    bad = int((~flags).sum())
    if not bad:
        return ()
    evidence = f"{bad} of {len(flags)} samples, the first is {int(flags.argmin())}, output {name}"
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
