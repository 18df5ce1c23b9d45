"""Options for reading a source; importing them loads no library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ovtool.core.shapes import OPEN
from ovtool.core.variant import Preprocessing, Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class SourceOptions(Record):
    """Options for reading a source; each applies where the source does not define the value."""

    weights: str | None = None
    """safetensors file or state dict for ``module:function``."""
    input_shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Input name to shape; -1 is a dynamic dimension."""
    input_dtypes: dict[str, str] = Field(default_factory=dict)
    """Input name to type (``f32``, ``i64``, ...), for a torch module without an example input."""
    layouts: dict[str, str] = Field(default_factory=dict)
    """Input name to OpenVINO layout: ``NCHW``, ``NHWC``, ``NC``, ``N...``."""
    preprocessing: Preprocessing | None = None
    trust: bool = False
    """Whether a file may run the code it contains."""
    tolerance: float | None = Field(default=None, gt=0)
    """Maximum difference from the source's outputs, relative to their largest absolute value."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random inputs of the output check."""


def fill_shape(shape: Iterable[int], batch_axis: int | None = 0) -> tuple[int, ...]:
    """Return a static shape: dynamic dimensions become 1 (batch), 64 (image) or 8."""
    sizes = tuple(shape)
    other = 64 if len(sizes) == 4 else 8
    return tuple(
        size if size != OPEN else 1 if axis == batch_axis else other
        for axis, size in enumerate(sizes)
    )
