"""A positive figure as a function of a few sizes, from measurements at some of them.

Speeds change smoothly with the logarithm of sizes, in no form that holds for all devices.  So the
logarithm of the figure is a plane in the logarithms of the sizes, and what the plane misses is
interpolated by a Gaussian process (universal kriging; Cressie 1993, *Statistics for Spatial Data*,
section 3.4).  How far a measurement reaches is chosen by leaving each out in turn and predicting
it from the others, which also tells how far a prediction errs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

REACHES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""In doublings of a size."""
_NOISE = 0.05
"""Variance of a measurement's error, as a share of that of what the plane misses."""
_RIDGE = 1e-2
"""Keeps the plane level along a size in which the measurements do not differ."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The fitted function.

    Args:
        points: Logarithms of the sizes measured at, [measurements, sizes].
        plane: Of the logarithms: a constant and a slope for each size.
        weights: Of the measurements.
        reach: How far one reaches, in doublings.
        error: Root mean square of the relative errors when each measurement is left out; NaN
            for fewer than three.
        least: Logarithm of the least figure that is told: a half of the least one measured.
        most: That of the greatest: twice the greatest one measured.
    """

    points: Array
    plane: Array
    weights: Array
    reach: float
    error: float
    least: float
    most: float

    @classmethod
    def fit(cls, sizes: Sequence[Sequence[float]], figures: Sequence[float]) -> Surface:
        """Return the surface through positive figures at positive sizes.

        Args:
            sizes: Of each measurement, as many for all.
            figures: What was measured there.

        Raises:
            ValueError: There is none, or one is not positive.
        """
        if not figures or any(not v > 0 for v in (*figures, *(s for row in sizes for s in row))):
            raise ValueError("a surface needs measurements, and positive ones")
        points = np.log2(np.asarray(sizes, float).reshape(len(figures), -1))
        values = np.log2(np.asarray(figures, float))
        errors = {reach: _left_out(points, values, reach) for reach in REACHES}
        known = {reach: error for reach, error in errors.items() if math.isfinite(error)}
        reach = min(known, key=lambda r: known[r]) if known else REACHES[2]
        plane, weights = _solve(points, values, reach)
        error, ends = known.get(reach, math.nan), _ends(values)
        return cls(points, plane, weights, reach, error, *ends)

    def at(self, sizes: Sequence[float]) -> float:
        """Return the figure at some sizes; those beyond the measured ones are taken as these."""
        point = np.log2(np.maximum(np.asarray(sizes, float), 1e-9))
        point = np.clip(point, self.points.min(0), self.points.max(0))
        told = _value(point, self.points, self.plane, self.weights, self.reach)
        return float(2.0 ** min(max(told, self.least), self.most))


def _ends(values: Array) -> tuple[float, float]:
    return float(values.min()) - 1.0, float(values.max()) + 1.0


def _value(point: Array, points: Array, plane: Array, weights: Array, reach: float) -> float:
    near = np.exp(-((point - points) ** 2).sum(1) / (2 * reach**2))
    return float(plane[0] + plane[1:] @ point + near @ weights)


def _solve(points: Array, values: Array, reach: float) -> tuple[Array, Array]:
    """Return the plane by generalized least squares, and the weights of what it misses."""
    n = len(values)
    centre = points.mean(0)
    basis = np.hstack([np.ones((n, 1)), points - centre])
    squares = ((points[:, None] - points[None]) ** 2).sum(2)
    inverse = np.linalg.inv(np.exp(-squares / (2 * reach**2)) + _NOISE * np.eye(n))
    ridge = _RIDGE * np.eye(basis.shape[1])
    ridge[0, 0] = 0.0
    plane = np.linalg.solve(basis.T @ inverse @ basis + ridge, basis.T @ inverse @ values)
    weights = inverse @ (values - basis @ plane)
    plane[0] -= plane[1:] @ centre
    return plane, weights


def _left_out(points: Array, values: Array, reach: float) -> float:
    """Return the root mean square of the relative errors of predicting each from the others."""
    n = len(values)
    if n < 3:
        return math.nan
    missed = []
    for index in range(n):
        others = np.arange(n) != index
        plane, weights = _solve(points[others], values[others], reach)
        told = _value(points[index], points[others], plane, weights, reach)
        least, most = _ends(values)
        missed.append(2.0 ** (min(max(told, least), most) - values[index]) - 1.0)
    return float(np.sqrt(np.mean(np.square(missed))))
