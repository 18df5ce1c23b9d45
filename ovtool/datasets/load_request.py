"""The request that every dataset loader takes, and the samples that most of them return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ovtool.core.progress import Progress
    from ovtool.core.variant import Port, Preprocessing
    from ovtool.datasets.samples import Sample


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Arguments of :func:`ovtool.datasets.registry.load_samples`."""

    reference: str
    inputs: tuple[Port, ...]
    preprocessing: Preprocessing | None
    labels: Path | None
    limit: int | None
    seed: int
    progress: Progress

    def subset(self, items: Sequence[Item]) -> list[Item]:
        """Return the random subset given by ``limit`` and ``seed``, in the original order."""
        if self.limit is None or self.limit >= len(items):
            return list(items)
        rng = np.random.default_rng(self.seed)
        indices = rng.choice(len(items), self.limit, replace=False)
        return [items[index] for index in sorted(indices)]


@dataclass(frozen=True, slots=True)
class LazySamples(Generic[Item]):
    """Samples that are read one at a time, anew on each pass.

    Args:
        reference: Name of the dataset, as given by the user.
        items: Keys of the samples, such as paths.
        read: Reads the sample of a key.
        labelled: Whether every sample has a label.
    """

    reference: str
    items: Sequence[Item]
    read: Callable[[Item], Sample]
    labelled: bool

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples in order."""
        return map(self.read, self.items)
