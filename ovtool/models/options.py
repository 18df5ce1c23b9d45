"""Options for reading a source; importing them loads no library."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import Field

from ovtool.core.fields import Seed, Share, TypeName, UserInput, require_known, with_fields
from ovtool.core.ports import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SourceOptions(UserInput):
    """Options for reading a source; each applies where the source does not define the value."""

    weights: str | None = None
    """safetensors file or state dict for ``module:function``."""
    input_shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Input name to shape; -1 is a dynamic dimension."""
    input_dtypes: dict[str, TypeName] = Field(default_factory=dict)
    """Input name to type (``f32``, ``i64``, ...), for a torch module without an example input."""
    layouts: dict[str, str] = Field(default_factory=dict)
    """Input name to OpenVINO layout: ``NCHW``, ``NHWC``, ``NC``, ``N...``."""
    preprocessing: Preprocessing | None = None
    trust: bool = False
    """Whether a file may run the code it contains."""
    tolerance: Share | None = None
    """Maximum difference from the source's outputs, relative to their largest absolute value."""
    seed: Seed = 0
    """Seed of the random inputs of the output check."""
    data: str | None = None
    """Samples for the output check: a folder of images, an array file or ``sample:NAME``."""
    values: dict[str, float] = Field(default_factory=dict)
    """Input name to the value that fills it in the output check, such as a sampling rate."""


class SourceFields(TypedDict, total=False):
    """How a source is read, as keyword arguments; see :class:`SourceOptions`.

    ``mean``, ``scale``, ``channels``, ``resize`` and ``size`` are the fields of
    :class:`.Preprocessing`; ``mean`` and ``scale`` of pixels from 0 to 255 may be one number.
    """

    weights: str | PathLike[str] | None
    shapes: Mapping[str, Sequence[int]]
    dtypes: Mapping[str, str]
    layouts: Mapping[str, str]
    mean: float | Sequence[float]
    scale: float | Sequence[float]
    channels: str
    resize: str
    size: Sequence[int]
    trust: bool
    tolerance: float | None


_NAMES = {"shapes": "input_shapes", "dtypes": "input_dtypes"}


def source_options(given: SourceOptions | None, fields: Mapping[str, Any]) -> SourceOptions:
    """Return options with other values of some fields, by the names of :class:`SourceFields`.

    Raises:
        InputError: A value is not valid; the message names the field.
        TypeError: There is no such field.
    """
    names = SourceFields.__annotations__.keys() | SourceOptions.model_fields.keys()
    require_known(fields, sorted(names - set(_NAMES.values())))
    values = {_NAMES.get(name, name): value for name, value in fields.items()}
    pixels = {name: values.pop(name) for name in Preprocessing.model_fields if name in values}
    for name in ("mean", "scale"):
        if isinstance(pixels.get(name), int | float):
            pixels[name] = (pixels[name],)
    if pixels:
        known = None if given is None else given.preprocessing
        values["preprocessing"] = with_fields(Preprocessing, known, pixels)
    if values.get("weights") is not None:
        values["weights"] = fspath(values["weights"])
    return with_fields(SourceOptions, given, values)
