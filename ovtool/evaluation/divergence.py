"""Search for the operation where two runs of one graph first diverge.

Nothing here runs a model. The search requests the errors of several operations at a time, since
each request costs two compilations.
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

    ComputeErrors = Callable[[Sequence[int]], Mapping[int, float]]
    """Compute relative errors of operations by position; incomparable ones may be absent."""

WIDTH = 6
"""Operations that are compared at a time."""


def compute_relative_error(values: NDArray[np.generic], exact: NDArray[np.generic]) -> float:
    """Return the largest difference relative to the largest exact value.

    The error is 0 if both are equal, NaN and infinities included. It is infinite if only one value
    of a pair is finite, if all exact values are zero and others are not, or if the shapes differ.
    """
    if values.shape != exact.shape:
        return math.inf
    with np.errstate(invalid="ignore"):  # a signaling NaN
        a, b = values.astype(np.float64), exact.astype(np.float64)
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differ.any():
        return 0.0
    if not (np.isfinite(a[differ]).all() and np.isfinite(b[differ]).all()):
        return math.inf
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    with np.errstate(over="ignore"):
        largest = np.abs(a[differ] - b[differ]).max()
        return float(largest / scale) if scale else math.inf


@dataclass(frozen=True, slots=True)
class DivergencePoint:
    """The operation that adds the error: its inputs are within the tolerance, its output is not.

    Args:
        position: Position in the order of operations.
        input_error: Largest error of the operations that it reads; 0 if it reads inputs only.
        earlier: Positions of earlier operations beyond the tolerance. Their errors vanish before
            this operation, or are on another branch.
        compared: Number of operations that were compared.
    """

    position: int
    error: float
    input_error: float
    earlier: tuple[int, ...]
    compared: int


def find_divergence(
    sources: Sequence[Sequence[int]],
    end: int,
    compute_errors: ComputeErrors,
    tolerance: float,
    width: int = WIDTH,
) -> DivergencePoint | None:
    """Search for the operation where two runs first diverge on the way to an output.

    A first phase repeatedly cuts the order of operations into ``width`` + 1 parts, between the
    last operation within the tolerance and the next one beyond it. So it ends at an error that
    lasts, not at one that vanishes on the way. A second phase walks back along the sources, since
    the neighbor in the order may be on another branch, until all sources are within the tolerance.
    The sources of the result thus confirm it, for errors of any kind.

    Args:
        sources: For each operation, the positions of those that it reads, all before its own.
        end: The operation that computes the output.
        compute_errors: Compares the runs. An operation without an error cannot be compared; the
            search considers its sources in its place.
        tolerance: Largest error that is no divergence.
        width: Number of operations in a request.

    Returns:
        The operation; None if the output is within the tolerance, or cannot be compared.
    """
    search = _Search(sources, compute_errors, tolerance, width)
    search.compare([end])
    if not search.exceeds(end):
        return None
    position = search.walk_back(search.bisect(end))
    return DivergencePoint(
        position,
        search.errors[position],
        max((search.errors[p] for p in search.read_sources(position)), default=0.0),
        tuple(sorted(p for p in search.errors if p < position and search.exceeds(p))),
        len(search.errors),
    )


@dataclass(slots=True)
class _Search:
    sources: Sequence[Sequence[int]]
    compute_errors: ComputeErrors
    tolerance: float
    width: int
    errors: dict[int, float] = field(default_factory=dict)
    incomparable: set[int] = field(default_factory=set)

    def compare(self, positions: Iterable[int]) -> None:
        """Compare operations that are not compared yet."""
        new = [p for p in dict.fromkeys(positions) if not self.is_compared(p)]
        if new:
            errors = self.compute_errors(new)
            self.errors |= {p: math.inf if math.isnan(e) else e for p, e in errors.items()}
            self.incomparable |= set(new) - set(errors)

    def is_compared(self, position: int) -> bool:
        return position in self.errors or position in self.incomparable

    def exceeds(self, position: int) -> bool:
        return self.errors.get(position, 0.0) > self.tolerance

    def bisect(self, end: int) -> int:
        """Return an operation beyond the tolerance; no later one is known to be within it."""
        within, beyond = -1, end
        ancestors = sorted(self.ancestors(end))
        while between := [
            p for p in ancestors if within < p < beyond and p not in self.incomparable
        ]:
            probes = _spread(between, self.width)
            self.compare(probes)
            for position in reversed([p for p in probes if p in self.errors]):
                if not self.exceeds(position):
                    within = position
                    break
                beyond = position
        return beyond

    def walk_back(self, position: int) -> int:
        """Follow sources beyond the tolerance; return an operation without any."""
        while True:
            if not all(map(self.is_compared, self.sources[position])):
                self.compare(self.nearest_ancestors(position))
            divergent = [p for p in self.read_sources(position) if self.exceeds(p)]
            if not divergent:
                return position
            position = min(divergent)

    def nearest_ancestors(self, position: int) -> list[int]:
        """Return the sources of an operation and their sources, the nearest first."""
        nearest: list[int] = []
        queue = deque(self.sources[position])
        limit = max(self.width, len(self.sources[position]))
        while queue and len(nearest) < limit:
            source = queue.popleft()
            if source not in nearest:
                nearest.append(source)
                queue.extend(self.sources[source])
        return nearest

    def read_sources(self, position: int) -> list[int]:
        """Return the sources of an operation; those of a source that cannot be compared."""
        seen: set[int] = set()
        stack = list(self.sources[position])
        while stack:
            source = stack.pop()
            if source in seen:
                continue
            seen.add(source)
            self.compare([source])
            if source in self.incomparable:
                stack += self.sources[source]
        return sorted(seen - self.incomparable)

    def ancestors(self, position: int) -> set[int]:
        """Return all operations that an operation depends on; sources precede their readers."""
        seen = set(self.sources[position])
        for earlier in range(position - 1, -1, -1):
            if earlier in seen:
                seen.update(self.sources[earlier])
        return seen


def _spread(positions: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` positions, spread evenly over a list."""
    if len(positions) <= count:
        return list(positions)
    step = (len(positions) + 1) / (count + 1)
    return [positions[round(step * (index + 1)) - 1] for index in range(count)]
