"""Random values, for trying things out; worthless for calibration and for quality."""

from __future__ import annotations

from ovtool.core.errors import InputError
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import random_sample

DEFAULT_COUNT = 32


def load(request: Request) -> Readable[int]:
    """Return ``N`` random samples for ``noise:N``, 32 for ``noise``.

    Raises:
        InputError: ``N`` is not a number above 0, or a dimension other than the batch is open.
    """
    _, colon, number = request.reference.partition(":")
    if colon and not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise InputError(
            f"not a number of samples: {request.reference!r}", "noise:32 gives 32 samples"
        )
    count = int(number) if colon else DEFAULT_COUNT
    count = min(count, request.limit or count)
    random_sample(request.inputs, request.seed)  # says at once that there is no shape
    request.progress.note(
        "warning: noise is no data: what is calibrated on it loses accuracy, and agreement or "
        "accuracy on it means nothing"
    )
    return Readable(
        request.reference,
        range(count),
        lambda index: random_sample(request.inputs, request.seed, index),
        labelled=False,
    )
