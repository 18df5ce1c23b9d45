"""Random values, for smoke tests; useless for calibration and evaluation."""

from __future__ import annotations

import re

from ovtool.core.errors import InputError
from ovtool.datasets.samples import LazySamples, LoadRequest, random_sample

DEFAULT_COUNT = 32


def load(request: LoadRequest) -> LazySamples[int]:
    """Return ``N`` random samples for ``noise:N``, 32 for ``noise``.

    Raises:
        InputError: ``N`` is not a positive integer below 10^9, or a dimension other than the batch
            is dynamic.
    """
    _, colon, number = request.reference.partition(":")
    if colon and not re.fullmatch("[1-9][0-9]{0,8}", number):
        raise InputError(
            f"invalid number of samples: {request.reference!r}", "noise:32 gives 32 samples"
        )
    count = int(number) if colon else DEFAULT_COUNT
    random_sample(request.inputs, request.seed)  # raises if the shape is dynamic
    request.progress.note(
        "warning: noise is not a dataset: calibration loses accuracy, quality means nothing"
    )
    return LazySamples(
        request.reference,
        request.subset(range(count)),
        lambda index: random_sample(request.inputs, request.seed, index),
        labelled=False,
    )
