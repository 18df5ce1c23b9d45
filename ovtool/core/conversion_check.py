"""The record of the output check of a conversion."""

from __future__ import annotations

from typing import Literal

from ovtool.core.fields import Record


class OutputDifference(Record):
    """Comparison of an output of the conversion with that of the source, on the same inputs."""

    output: str
    status: Literal["checked", "no-reference", "empty", "constant", "not-finite", "random"]
    """Why the output is not checked, on all inputs: nothing else ran the source, no values, one
    value, only NaN or infinity in the source, or random values."""
    compared: int
    """Number of compared values."""
    max_abs_difference: float | None
    """Over the compared values; None if the output is not checked."""
    largest_value: float | None
    """Largest absolute value of the source's output: the scale of the difference."""
    source_error: float | None = None
    """Error of the source itself, by quantization or narrow types; None if the tolerance was met
    without it."""
    source_not_finite: int = 0
    """Number of values that are NaN or infinite in the source; NaN is not compared."""

    @property
    def checked(self) -> bool:
        """Whether the agreement is evidence for the conversion."""
        return self.status == "checked"


class ConversionCheck(Record):
    """Comparison of outputs after a conversion."""

    against: str | None
    """Runtime of the source; None if nothing but OpenVINO can run the source."""
    tolerance: float
    """Maximum difference as a fraction of the largest absolute value of the output."""
    inputs: str
    differences: tuple[OutputDifference, ...]
    """One per output of the model, in order."""
    why_unchecked: str = ""
    """Why there is no runtime of the source."""

    @property
    def unchecked(self) -> tuple[OutputDifference, ...]:
        """The outputs that are not checked."""
        return tuple(d for d in self.differences if not d.checked)

    @property
    def max_abs_difference(self) -> float | None:
        """Maximum difference over all checked outputs; None if no output is checked."""
        known = (d.max_abs_difference for d in self.differences if d.checked)
        return max((value for value in known if value is not None), default=None)
