"""Interpolation of a positive figure over sizes, from measurements at some of them.

Rates change smoothly with the logarithm of sizes, but in no functional form that holds for all
devices.  The logarithm of the figure is modeled as a plane in the logarithms of the sizes plus a
Gaussian process for the residuals (universal kriging; Cressie 1993, *Statistics for Spatial
Data*, section 3.4).  Leave-one-out cross-validation chooses the length scale and gives the error
of a prediction.
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

LENGTH_SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Candidates, in doublings of a size."""
_NOISE = 0.05
"""Variance of the measurement noise, relative to the variance of the residuals."""
_RIDGE = 1e-2
"""Keeps the plane level along a size that is the same in all measurements."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A fitted function of sizes.

    Args:
        points: Logarithms of the measured sizes, [measurements, sizes].
        plane: Intercept and slope per size, [1 + sizes].
        weights: Kriging weights, [measurements].
        length_scale: Correlation length, in doublings of a size.
        error: Root mean square of the relative errors in leave-one-out cross-validation; NaN for
            fewer than three measurements.
        minimum: Logarithm of half of the smallest measured figure, the smallest one returned.
        maximum: Logarithm of twice the largest measured figure, the largest one returned.
    """

    points: Array
    plane: Array
    weights: Array
    length_scale: float
    error: float
    minimum: float
    maximum: float

    @classmethod
    def fit(cls, sizes: Sequence[Sequence[float]], figures: Sequence[float]) -> Surface:
        """Fit a surface to positive figures at positive sizes, [measurements, sizes].

        Raises:
            ValueError: There are no measurements, or a value is not positive.
        """
        if not figures or any(not v > 0 for v in (*figures, *(s for row in sizes for s in row))):
            raise ValueError("sizes and figures must be positive, with at least one measurement")
        points = np.log2(np.asarray(sizes, float).reshape(len(figures), -1))
        values = np.log2(np.asarray(figures, float))
        errors = {scale: _cross_validation_error(points, values, scale) for scale in LENGTH_SCALES}
        known = {scale: error for scale, error in errors.items() if math.isfinite(error)}
        scale = min(known, key=lambda s: known[s]) if known else LENGTH_SCALES[2]
        plane, weights = _solve(points, values, scale)
        return cls(points, plane, weights, scale, known.get(scale, math.nan), *_limits(values))

    def at(self, sizes: Sequence[float]) -> float:
        """Return the figure at the given sizes, clipped to the measured range."""
        point = np.log2(np.maximum(np.asarray(sizes, float), 1e-9))
        point = np.clip(point, self.points.min(0), self.points.max(0))
        value = _value(point, self.points, self.plane, self.weights, self.length_scale)
        return float(2.0 ** min(max(value, self.minimum), self.maximum))


def _limits(values: Array) -> tuple[float, float]:
    return float(values.min()) - 1.0, float(values.max()) + 1.0


def _value(point: Array, points: Array, plane: Array, weights: Array, scale: float) -> float:
    covariance = np.exp(-((point - points) ** 2).sum(1) / (2 * scale**2))
    return float(plane[0] + plane[1:] @ point + covariance @ weights)


def _solve(points: Array, values: Array, scale: float) -> tuple[Array, Array]:
    """Return the plane by generalized least squares, and the kriging weights of its residuals."""
    n = len(values)
    centre = points.mean(0)
    basis = np.hstack([np.ones((n, 1)), points - centre])
    squares = ((points[:, None] - points[None]) ** 2).sum(2)
    inverse = np.linalg.inv(np.exp(-squares / (2 * scale**2)) + _NOISE * np.eye(n))
    ridge = _RIDGE * np.eye(basis.shape[1])
    ridge[0, 0] = 0.0
    plane = np.linalg.solve(basis.T @ inverse @ basis + ridge, basis.T @ inverse @ values)
    weights = inverse @ (values - basis @ plane)
    plane[0] -= plane[1:] @ centre
    return plane, weights


def _cross_validation_error(points: Array, values: Array, scale: float) -> float:
    n = len(values)
    if n < 3:
        return math.nan
    minimum, maximum = _limits(values)
    errors = []
    for index in range(n):
        others = np.arange(n) != index
        plane, weights = _solve(points[others], values[others], scale)
        value = _value(points[index], points[others], plane, weights, scale)
        errors.append(2.0 ** (min(max(value, minimum), maximum) - values[index]) - 1.0)
    return float(np.sqrt(np.mean(np.square(errors))))
