"""Options for reading a source; importing them loads no library."""

from __future__ import annotations

from pydantic import Field

from ovtool.core.fields import Positive, Record, Seed
from ovtool.core.ports import Preprocessing


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
    tolerance: Positive | None = None
    """Maximum difference from the source's outputs, relative to their largest absolute value."""
    seed: Seed = 0
    """Seed of the random inputs of the output check."""
    data: str | None = None
    """Samples for the output check: a folder of images, an array file or ``sample:NAME``."""
    values: dict[str, float] = Field(default_factory=dict)
    """Input name to the value that fills it in the output check, such as a sampling rate."""
