"""Where labels go beside points so that they do not cover one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_POINTS = 250
"""Beyond this no label could be read."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Offset of a label from its point, in pixels, y downwards."""

    dx: int
    dy: int


_SPOTS = (Spot(0, -11), Spot(0, 12), Spot(11, 0), Spot(-11, 0), Spot(9, -9), Spot(-9, 9))
_APART_X, _APART_Y = 12.0, 10.0


def place(xs: Sequence[float], ys: Sequence[float]) -> list[Spot | None]:
    """Return an offset for the label of each point, None where there is no room.

    Greedy, in the order given: the first spot that covers no point and no label placed before.

    Args:
        xs: Positions in pixels, to the right.
        ys: Positions in pixels, downwards.
    """
    if len(xs) > MAX_POINTS:
        return [None] * len(xs)
    taken = list(zip(xs, ys, strict=True))
    placed: list[Spot | None] = []
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        others = taken[:i] + taken[i + 1 :]
        spot = next((s for s in _SPOTS if _free(x + s.dx, y + s.dy, others)), None)
        placed.append(spot)
        if spot is not None:
            taken.append((x + spot.dx, y + spot.dy))
    return placed


def _free(x: float, y: float, taken: Sequence[tuple[float, float]]) -> bool:
    return not any(abs(x - a) < _APART_X and abs(y - b) < _APART_Y for a, b in taken)
