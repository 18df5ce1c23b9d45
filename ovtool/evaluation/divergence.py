"""Where two runs of one graph part: how far apart two arrays are, and a search for the operation.

Nothing here runs a model: the search asks for the errors of operations, several at a time, since
each answer costs two compiles.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Errors = Callable[[Sequence[int]], Mapping[int, float]]
    """Relative errors of operations, by their places in the order; it may leave some out."""

WIDTH = 6
"""Operations that are compared at a time."""


def relative_error(ours: NDArray[np.generic], exact: NDArray[np.generic]) -> float:
    """Return the largest difference as a share of the largest exact value.

    0 where both are equal, NaN and infinities included; infinite where only one is finite, where
    all exact values are zero and ours are not, or where the shapes differ.

    Args:
        ours: Values of any shape.
        exact: What they should be.
    """
    if ours.shape != exact.shape:
        return math.inf
    a, b = ours.astype(np.float64), exact.astype(np.float64)
    apart = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not apart.any():
        return 0.0
    if not (np.isfinite(a[apart]).all() and np.isfinite(b[apart]).all()):
        return math.inf
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    with np.errstate(over="ignore"):
        largest = np.abs(a[apart] - b[apart]).max()
        return float(largest / scale) if scale else math.inf


@dataclass(frozen=True, slots=True)
class Parting:
    """An operation that adds the error: its inputs agree within the tolerance, it does not.

    Args:
        place: Its place in the order of operations.
        error: Its relative error.
        before: The largest error of the operations that it reads; 0 where it reads inputs alone.
        earlier: Places of earlier operations that were seen to be apart: their errors vanish before
            this one, or go another way.
        compared: Operations that were compared.
    """

    place: int
    error: float
    before: float
    earlier: tuple[int, ...]
    compared: int


def find(
    sources: Sequence[Sequence[int]], end: int, errors: Errors, tolerance: float, width: int = WIDTH
) -> Parting | None:
    """Look for the operation from which on two runs are apart, to the output.

    The order of the operations is cut into ``width`` + 1 parts where the last operation within the
    tolerance is followed by one beyond it, again and again: so it ends at an error that lasts, not
    at one that vanishes on the way.  Then the search walks back along what is read, since the
    neighbour in the order may be of another branch, until everything that is read is within the
    tolerance: what it returns is confirmed by its own neighbours, however errors come and go.

    Args:
        sources: For each operation the places of those that it reads, all before its own.
        end: The operation whose output is apart.
        errors: Compares the runs; an operation that it leaves out cannot be compared, and is
            seen through to what it reads.
        tolerance: Largest error that is none.
        width: Operations that are compared at a time.

    Returns:
        The operation; None where the output is within the tolerance, or cannot be compared.
    """
    search = _Search(sources, errors, tolerance, width)
    search.ask([end])
    if not search.beyond(end):
        return None
    place = search.walked_back(search.bisected(end))
    read = search.read_by(place)
    return Parting(
        place,
        search.known[place],
        max((search.known[source] for source in read), default=0.0),
        search.earlier(place),
        len(search.known),
    )


@dataclass(slots=True)
class _Search:
    sources: Sequence[Sequence[int]]
    errors: Errors
    tolerance: float
    width: int
    known: dict[int, float] = field(default_factory=dict)
    dark: set[int] = field(default_factory=set)
    """Operations that cannot be compared."""

    def ask(self, places: Iterable[int]) -> None:
        """Compare operations that were not compared yet."""
        new = [p for p in dict.fromkeys(places) if p not in self.known and p not in self.dark]
        if new:
            found = self.errors(new)
            self.known |= {p: math.inf if math.isnan(e) else e for p, e in found.items()}
            self.dark |= set(new) - set(found)

    def beyond(self, place: int) -> bool:
        return self.known.get(place, 0.0) > self.tolerance

    def bisected(self, end: int) -> int:
        """Return an operation beyond the tolerance after which none was seen within it."""
        within, beyond = -1, end
        ancestors = sorted(self.ancestors(end))
        while between := [p for p in ancestors if within < p < beyond and p not in self.dark]:
            probes = _spread(between, self.width)
            self.ask(probes)
            for place in reversed([p for p in probes if p in self.known]):
                if not self.beyond(place):
                    within = place
                    break
                beyond = place
        return beyond

    def walked_back(self, place: int) -> int:
        """Return what is reached by going back along what is beyond the tolerance."""
        while True:
            if any(p not in self.known and p not in self.dark for p in self.sources[place]):
                self.ask(self.near(place))
            read = self.read_by(place)
            worse = [p for p in read if self.beyond(p)]
            if not worse:
                return place
            place = min(worse)

    def near(self, place: int) -> list[int]:
        """Return what an operation reads, and what that reads, the nearest first."""
        found: list[int] = []
        waiting = deque(self.sources[place])
        must = len(self.sources[place])
        seen: set[int] = set()
        while waiting and len(found) < max(self.width, must):
            one = waiting.popleft()
            if one not in seen:
                seen.add(one)
                found.append(one)
                waiting.extend(self.sources[one])
        return found

    def read_by(self, place: int) -> list[int]:
        """Return what an operation reads, through what cannot be compared."""
        seen: set[int] = set()
        waiting = list(self.sources[place])
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            self.ask([one])
            if one in self.dark:
                waiting += self.sources[one]
        return sorted(seen - self.dark)

    def ancestors(self, place: int) -> set[int]:
        found: set[int] = set()
        waiting = list(self.sources[place])
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.sources[one]
        return found

    def earlier(self, place: int) -> tuple[int, ...]:
        return tuple(sorted(p for p in self.known if p < place and self.beyond(p)))


def _spread(places: Sequence[int], count: int) -> list[int]:
    """Return so many places spread evenly over a list, or all of them."""
    if len(places) <= count:
        return list(places)
    step = (len(places) + 1) / (count + 1)
    return [places[round(step * (index + 1)) - 1] for index in range(count)]
