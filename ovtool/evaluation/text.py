"""Character accuracy of text recognizers: greedy CTC decoding and edit distance.

The outputs are [lines, steps, classes]. Class 0 is the blank of CTC (Graves et al. 2006). The other
classes are the characters that the model lists in its metadata, as the models of PaddleOCR do in
``character``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.paired import SampleScores
from ovtool.core.statistics import Interval, bootstrap_rate, wilson
from ovtool.core.third_party import read_graph
from ovtool.evaluation.scores import (
    Score,
    check_finite,
    check_labels,
    make_interval_figures,
    make_proportion_figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovtool.core.variant import Variant

Alphabet = tuple[str, ...]
"""The text of each class of an output. The blank comes first and has no text."""
UNREADABLE = -1
"""The class of a step with an output that is not finite."""
METADATA = ("framework", "character")
"""Where OpenVINO keeps the ``character`` metadata of an ONNX file."""


def load_alphabet(variant: Variant, output: int = 0) -> Alphabet:
    """Return the text of each class of an output of a variant.

    The metadata lists one character a line. The blank precedes the list. A space follows the list
    if the model has one more class.

    Raises:
        InputError: The model lists no characters, or their number does not fit its classes.
    """
    model = read_graph(variant.xml)
    if not model.has_rt_info(list(METADATA)):
        raise InputError(
            f"{variant.name} lists no characters: its outputs cannot be decoded to text",
            "an ONNX source lists them in its metadata, under character",
        )
    listed = str(model.get_rt_info(list(METADATA)).value).splitlines()
    classes = variant.record.outputs[output].shape[-1]
    for letters in (("", *listed), ("", *listed, " ")):
        if len(letters) == classes:
            return letters
    raise InputError(
        f"{variant.name} lists {len(listed)} characters but has {classes} classes",
        "a model has one class for each character, one for the blank and optionally one for space",
    )


def select_classes(outputs: NDArray[Any]) -> NDArray[np.int32]:
    """Return the highest class of each step, [lines, steps], of [lines, steps, classes].

    A step with an output that is not finite gets :data:`UNREADABLE`.

    Raises:
        InputError: The outputs do not have three dimensions.
    """
    if outputs.ndim != 3:
        raise InputError(f"text needs outputs [lines, steps, classes], not {list(outputs.shape)}")
    return np.where(np.isfinite(outputs).all(-1), outputs.argmax(-1), UNREADABLE).astype(np.int32)


def decode_line(steps: NDArray[np.integer], letters: Alphabet) -> str:
    """Return the text of a line by greedy CTC decoding: merge repeated classes, drop blanks.

    The text of a line with an unreadable step is empty.
    """
    if (steps == UNREADABLE).any():
        return ""
    changes = np.flatnonzero(np.diff(steps, prepend=UNREADABLE))
    return "".join(letters[step] for step in steps[changes])


def score_texts(
    outputs: NDArray[np.integer],
    texts: Sequence[str],
    letters: Alphabet,
    reference: NDArray[np.integer] | None = None,
) -> Score:
    """Return the accuracy of recognized lines.

    Character accuracy is 1 - (edits of all lines) / (characters of all labels). It is negative if
    the edits outnumber the characters. Its interval resamples lines. The outputs, and those of the
    uncompressed model for reference, are the highest classes, [lines, steps].

    Raises:
        InputError: There are no lines, a label is missing, or a label is empty.
    """
    decoded = [decode_line(line, letters) for line in outputs]
    edits = _count_edits(decoded, texts)
    accuracy = _accuracy(edits, [len(text) for text in texts])
    # Insertions make the accuracy of a line negative.
    worst = min(1 - count / len(text) for count, text in zip(edits, texts, strict=True))
    figures = {
        "quality_samples": float(len(outputs)),
        **make_interval_figures("accuracy_characters", accuracy, min(0.0, worst), 1.0),
    }
    if reference is not None:
        same = sum(
            text == decode_line(line, letters)
            for text, line in zip(decoded, reference, strict=True)
        )
        figures |= make_proportion_figures("agreement_top1", same, len(decoded))
    finite = check_finite("text", "output", outputs, lambda steps: steps != UNREADABLE)
    return Score(figures, finite)


def score_lines(
    outputs: NDArray[np.integer], texts: Sequence[str], letters: Alphabet
) -> SampleScores:
    """Return the characters of each label less the edits of its line, with weights.

    Raises:
        InputError: As :func:`score_texts`.
    """
    edits = _count_edits([decode_line(line, letters) for line in outputs], texts)
    right = tuple(float(len(text) - count) for text, count in zip(texts, edits, strict=True))
    return SampleScores(right, tuple(float(len(text)) for text in texts))


def _count_edits(decoded: Sequence[str], texts: Sequence[str]) -> list[int]:
    from rapidfuzz.distance import Levenshtein

    check_labels(decoded, texts)
    if not all(texts):
        raise InputError(
            f"the label of sample {list(texts).index('')} is empty", "remove lines without text"
        )
    return [Levenshtein.distance(text, label) for text, label in zip(decoded, texts, strict=True)]


def _accuracy(edits: Sequence[int], lengths: Sequence[int]) -> Interval:
    """Return ``1 - sum(edits) / sum(lengths)`` with an interval over lines.

    If no line has an edit, no resample has one. The lower limit then is the Wilson limit of the
    proportion of lines without edits. It is at most that of the characters, unless a line takes
    more edits than it has characters.
    """
    rate = bootstrap_rate(edits, lengths, scale="linear")
    if not any(edits):
        return Interval(1.0, wilson(len(edits), len(edits)).low, 1.0)
    return Interval(1 - rate.value, 1 - rate.high, 1 - rate.low)
