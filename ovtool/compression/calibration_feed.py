"""Calibration samples as NNCF reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovtool.datasets.samples import Sample, Samples, batches, sample_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.core.progress import Progress
    from ovtool.core.variant import Port


class Feed:
    """Calibration batches as NNCF iterates them, telling the progress of it.

    NNCF reads the data once for each of its algorithms that needs statistics and drops the
    iterator when it has enough: ``then`` it is busy with what it does not count.
    """

    def __init__(
        self,
        samples: Samples,
        inputs: Sequence[Port],
        limit: int,
        progress: Progress,
        then: str = "quantizing and correcting",
    ) -> None:
        self._samples, self._inputs, self._progress = samples, inputs, progress
        self._then = then
        self.count = min(limit, len(samples))
        axis = sample_axis(inputs[0])
        self._batch = 1 if axis is None else max(1, inputs[0].shape[axis])

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(self.count / self._batch)

    def __iter__(self) -> Iterator[dict[int, Any]]:
        """Yield batches as arrays by the place of the input."""
        self._progress.start("calibrating", self.count)
        try:
            for batch in batches(self._spread(), self._inputs, self._batch):
                self._progress.advance(batch.count)
                yield {i: batch.inputs[port.name] for i, port in enumerate(self._inputs)}
        finally:
            self._progress.start(self._then)

    def _spread(self) -> Iterator[Sample]:
        """Yield the wanted number of samples from all over the data.

        The first ones alone would be of the first classes where a folder is sorted by class.
        """
        total = len(self._samples)
        wanted = {place * total // self.count for place in range(self.count)}
        return (sample for place, sample in enumerate(self._samples) if place in wanted)
