"""What is asked of a kind of data, and the samples that every kind hands back."""

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
class Request:
    """The arguments of :func:`ovtool.datasets.load`."""

    reference: str
    inputs: tuple[Port, ...]
    preprocessing: Preprocessing | None
    labels: Path | None
    limit: int | None
    seed: int
    progress: Progress

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """Return the random subset that ``limit`` and ``seed`` ask for, in the given order."""
        if self.limit is None or self.limit >= len(items):
            return list(items)
        rng = np.random.default_rng(self.seed)
        places = rng.choice(len(items), self.limit, replace=False)
        return [items[place] for place in sorted(places)]


@dataclass(frozen=True, slots=True)
class Readable(Generic[Item]):
    """Samples that are read from their items one at a time, each time anew.

    Args:
        reference: What the user called them.
        items: What stands for a sample before it is read, such as a path.
        read: Makes the sample of an item.
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
        """Read them in order."""
        return map(self.read, self.items)
