"""Character accuracy of recognisers of text: greedy CTC decoding and edit distance.

The outputs are [lines, steps, classes]; class 0 is CTC's blank (Graves et al. 2006), the others
are the characters that the model's own metadata lists, as PaddleOCR's models do in ``character``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.statistics import Interval, bootstrap_rate, wilson
from ovtool.evaluation.scores import Score, named, not_finite, proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovtool.core.variant import Variant

Alphabet = tuple[str, ...]
"""The text of each class of an output, the blank's (the first) among them: it is empty."""
UNREADABLE = -1
METADATA = ("framework", "character")
"""Where OpenVINO keeps the ``character`` of an ONNX file's metadata."""


def alphabet(variant: Variant) -> Alphabet:
    """Return the text of each class that a variant tells apart.

    The list has a line for each character.  The blank comes before it and a space behind it, where
    the model has classes for them.

    Raises:
        InputError: The model lists no characters, or not as many as it has classes.
    """
    import openvino as ov

    model = ov.Core().read_model(variant.xml)
    if not model.has_rt_info(list(METADATA)):
        raise InputError(
            f"{variant.name} does not list its characters, so its outputs cannot be read as text",
            "an ONNX source lists them in its metadata, as character",
        )
    listed = str(model.get_rt_info(list(METADATA)).value).splitlines()
    classes = variant.record.outputs[0].shape[-1]
    for letters in (("", *listed), ("", *listed, " ")):
        if len(letters) == classes:
            return letters
    raise InputError(
        f"{variant.name} lists {len(listed)} characters and tells {classes} classes apart",
        "a blank comes before them, and a space may follow them",
    )


def classes(outputs: NDArray[Any]) -> NDArray[np.int32]:
    """Return the highest class of each step, [lines, steps], of [lines, steps, classes].

    A step whose output is not finite has :data:`UNREADABLE`.

    Raises:
        InputError: The outputs have another number of dimensions.
    """
    if outputs.ndim != 3:
        raise InputError(
            f"outputs of {list(outputs.shape)} are no text: it takes [lines, steps, classes]"
        )
    return np.where(np.isfinite(outputs).all(-1), outputs.argmax(-1), UNREADABLE).astype(np.int32)


def decode(steps: NDArray[np.integer], letters: Alphabet) -> str:
    """Return the text of a line: repeated classes once, without blanks (greedy CTC decoding).

    A line with a step that is not finite has no text.

    Args:
        steps: [steps] classes.
        letters: Of each class.
    """
    if (steps == UNREADABLE).any():
        return ""
    firsts = [step for step, before in zip(steps, [-1, *steps[:-1]], strict=True) if step != before]
    return "".join(letters[step] for step in firsts)


def edit_distance(a: str, b: str) -> int:
    """Return the least number of characters to insert, delete or replace (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, ours in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, theirs in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (ours != theirs))
    return row[-1]


def score_texts(
    found: NDArray[np.integer],
    texts: Sequence[str],
    letters: Alphabet,
    reference: NDArray[np.integer] | None = None,
) -> Score:
    """Return how well lines were read.

    Character accuracy is 1 - the edits of all lines / the characters of all labels, and so below 0
    where more was read than there is.  Its interval draws lines with replacement.

    Args:
        found: [lines, steps] highest classes.
        texts: What stands in the lines.
        letters: Of each class.
        reference: The uncompressed model's highest classes on the same lines.

    Raises:
        InputError: There are no lines, or there are not as many labels, or one is empty.
    """
    if not len(found):
        raise InputError("quality needs at least one sample")
    if len(texts) != len(found):
        raise InputError(f"{len(texts)} labels for {len(found)} samples")
    if not all(texts):
        raise InputError(
            f"the label of sample {list(texts).index('')} is empty", "leave out lines without text"
        )
    read = [decode(line, letters) for line in found]
    edits = [edit_distance(text, label) for text, label in zip(read, texts, strict=True)]
    accuracy = _accuracy(edits, [len(text) for text in texts])
    figures = {
        "quality_samples": float(len(found)),
        **named("accuracy_characters", accuracy, -np.inf, 1.0),
    }
    if reference is not None:
        theirs = [decode(line, letters) for line in reference]
        same = sum(a == b for a, b in zip(read, theirs, strict=True))
        figures |= proportion("agreement_top1", same, len(read))
    return Score(figures, not_finite("output", found != UNREADABLE))


def _accuracy(edits: Sequence[int], lengths: Sequence[int]) -> Interval:
    """Return ``1 - sum(edits) / sum(lengths)`` with an interval over lines.

    Where no line has an edit, none that is drawn has one: then the lower limit is that of the
    share of lines without any, which is never above that of their characters' unless a line takes
    more edits than it has characters.
    """
    rate = bootstrap_rate(edits, lengths)
    if not any(edits):
        return Interval(1.0, wilson(len(edits), len(edits)).low, 1.0)
    return Interval(1 - rate.value, 1 - rate.high, 1 - rate.low)
