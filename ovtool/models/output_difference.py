"""Comparison of arrays of an output: the conversion's with the source's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.conversion_check import OutputDifference
from ovtool.core.errors import InputError
from ovtool.core.shapes import shape_text

if TYPE_CHECKING:
    from typing import Literal

    from ovtool.models.source import Array

TEXT = "OSU"
"""NumPy's kinds of texts."""
ROUNDING = float(np.finfo(np.float32).eps)
"""An absolute difference that says nothing: rounding of intermediate values of about 1 in f32."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An output of the conversion and of the source for one set of inputs.

    Values that are NaN in the source are not compared: they say that the inputs make no sense.
    """

    name: str
    compared: int
    max_abs_difference: float
    """Over the values that are finite in both."""
    low: float
    """Smallest compared value of the source; infinity without values."""
    high: float
    source_not_finite: int
    mismatched: int
    """Number of values of the conversion that are NaN or infinite where the source's are not, or
    the other way round."""
    total: int
    own_error: float = 0.0
    """Absolute error of the source itself, which the tolerance includes; 0 if not needed."""

    @property
    def largest_value(self) -> float:
        """Largest absolute value of the source's output."""
        return max(abs(self.low), abs(self.high)) if self.compared else 0.0

    def agrees(self, tolerance: float, error: float = 0.0) -> bool:
        """Whether the difference is within the tolerance, plus an absolute error of the source.

        For an output of zeros, only rounding errors of f32 are allowed.
        """
        allowed = max(tolerance * self.largest_value, ROUNDING, error)
        return not self.mismatched and self.max_abs_difference <= allowed


def compare_output(name: str, actual: Array, expected: Array) -> Comparison:
    """Compare an output; complex values of the source are pairs of real ones.

    Raises:
        InputError: The shapes differ.
    """
    expected = as_real(expected)
    if actual.shape != expected.shape:
        raise InputError(
            f"output {name!r} has shape {shape_text(actual.shape) or 'of a scalar'}, "
            f"the source's has {shape_text(expected.shape) or 'that of a scalar'}"
        )
    if expected.dtype.kind in TEXT:
        return _compare_texts(name, actual, expected)
    with np.errstate(invalid="ignore"):  # a signaling NaN, in memory that nothing was written to
        ours, theirs = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    comparable = finite | (ours == theirs) | np.isnan(theirs)
    values = theirs[finite]
    difference = float(np.abs(ours[finite] - values).max(initial=0.0))
    if actual.dtype.kind in "iu" and expected.dtype.kind in "iu" and not difference:
        difference = float((actual != expected).any())  # float64 merges integers above 2^53
    return Comparison(
        name=name,
        compared=int(finite.sum()),
        max_abs_difference=difference,
        low=float(values.min(initial=np.inf)),
        high=float(values.max(initial=-np.inf)),
        source_not_finite=int((~np.isfinite(theirs)).sum()),
        mismatched=int((~comparable).sum()),
        total=int(theirs.size),
    )


def as_real(array: Array) -> Array:
    """Return complex values as pairs in a last dimension, and others as they are."""
    return np.stack([array.real, array.imag], -1) if np.iscomplexobj(array) else array


def _compare_texts(name: str, actual: Array, expected: Array) -> Comparison:
    unequal = float((actual.astype(str) != expected.astype(str)).sum())
    return Comparison(
        name=name,
        compared=expected.size,
        max_abs_difference=unequal,
        low=0.0,
        high=float(expected.size > 0),
        source_not_finite=0,
        mismatched=0,
        total=expected.size,
    )


@dataclass(slots=True)
class OutputHistory:
    """Comparisons of one output over several sets of inputs."""

    name: str
    varies: bool = True
    """Whether the output depends on the values of the inputs; if not, one value is enough."""
    random: bool = False
    """Whether the output depends on random values, which are never compared."""
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def status(self) -> Literal["checked", "empty", "constant", "not-finite", "random"]:
        """Whether the comparisons are evidence, or why they are not."""
        if self.random:
            return "random"
        if not any(c.total for c in self.comparisons):
            return "empty"
        used = [c for c in self.comparisons if c.compared]
        if not used:
            return "not-finite"
        low, high = min(c.low for c in used), max(c.high for c in used)
        largest = max(abs(low), abs(high))
        if self.varies and (low == high or largest <= ROUNDING):
            return "constant"
        return "checked"

    def to_record(self) -> OutputDifference:
        """Return the record of the variant."""
        checked = self.status == "checked"
        differences = [c.max_abs_difference for c in self.comparisons]
        return OutputDifference(
            output=self.name,
            status=self.status,
            compared=0 if self.random else sum(c.compared for c in self.comparisons),
            max_abs_difference=max(differences) if checked else None,
            largest_value=max(c.largest_value for c in self.comparisons) if checked else None,
            source_error=max((c.own_error for c in self.comparisons), default=0.0) or None,
            source_not_finite=sum(c.source_not_finite for c in self.comparisons),
        )


def disagreement(
    comparison: Comparison, against: str, tolerance: float, error: float
) -> InputError:
    """Return the error for an output that differs from the source's."""
    name = comparison.name
    if comparison.mismatched:
        return InputError(
            f"output {name!r}: {comparison.mismatched} of {comparison.total} values are not finite"
            f" on one side, {comparison.source_not_finite} in {against}",
            "the conversion is wrong, or its values overflow",
        )
    allowed = max(tolerance * comparison.largest_value, ROUNDING, error)
    return InputError(
        f"output {name!r} differs by {units.text(comparison.max_abs_difference)} from {against};"
        f" allowed: {units.text(allowed)}, values up to {units.text(comparison.largest_value)}",
        "the conversion is wrong, or this model needs a larger --tolerance",
    )
