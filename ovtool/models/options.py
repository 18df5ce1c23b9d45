"""What may be said of a source model beside its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ovtool.core.shapes import OPEN
from ovtool.core.variant import Preprocessing, Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class SourceOptions(Record):
    """How to read a source; all of it is optional, and applies where it is not known otherwise."""

    weights: str | None = None
    """safetensors or state dict for a ``module:function``."""
    input_shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Input name to shape; -1 leaves a dimension open."""
    input_dtypes: dict[str, str] = Field(default_factory=dict)
    """Input name to type (``f32``, ``i64``, ...), for a torch module without example input."""
    layouts: dict[str, str] = Field(default_factory=dict)
    """Input name to layout, as OpenVINO writes it: ``NCHW``, ``NHWC``, ``NC``, ``N...``."""
    preprocessing: Preprocessing | None = None
    trust: bool = False
    """Whether a file may run the code that it holds."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest difference from the source's outputs, as a share of their largest value."""
    seed: int = Field(default=0, ge=0)
    """Of the random inputs that the outputs are compared on."""


def filled(shape: Iterable[int], batch_axis: int | None = 0) -> tuple[int, ...]:
    """Return a shape to run in: open dimensions take 1 (the batch), 64 (an image) or 8."""
    sizes = tuple(shape)
    other = 64 if len(sizes) == 4 else 8
    return tuple(
        size if size != OPEN else 1 if axis == batch_axis else other
        for axis, size in enumerate(sizes)
    )
