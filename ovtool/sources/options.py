"""What may be said of a source model beside its name, and how it is written on a command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field

from ovtool.errors import InputError
from ovtool.variant import Preprocessing, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

OPEN = -1
"""A dimension whose size is left open."""


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


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that ``1x3x224x224`` or ``?x3x?x?`` means; open dimensions are -1.

    Raises:
        InputError: A dimension is neither a positive number nor ``?`` or ``-1``.
    """
    dimensions = text.strip().lower().split("x")
    if not all(re.fullmatch(r"[1-9][0-9]{0,11}|\?|-1", part, re.ASCII) for part in dimensions):
        raise InputError(
            f"not a shape: {text!r}", "write sizes with x between, ? where open: 1x3x224x224, ?x128"
        )
    return tuple(OPEN if part in {"?", "-1"} else int(part) for part in dimensions)


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as :func:`parse_shape` reads it."""
    return "x".join("?" if size == OPEN else str(size) for size in shape)


def filled(shape: Iterable[int], batch_axis: int | None = 0) -> tuple[int, ...]:
    """Return a shape to run in: open dimensions take 1 (the batch), 64 (an image) or 8."""
    sizes = tuple(shape)
    other = 64 if len(sizes) == 4 else 8
    return tuple(
        size if size != OPEN else 1 if axis == batch_axis else other
        for axis, size in enumerate(sizes)
    )


def parse_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Return the values of ``NAME=VALUE`` texts by name; a name may hold ``=`` and ``:``.

    Args:
        texts: What was given.
        option: The option they were given to, for messages.

    Raises:
        InputError: A name or value is missing, or a name comes twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.rpartition("="))
        if not name or not value:
            raise InputError(f"{option} {text!r} is not NAME=VALUE", "NAME: an input's name")
        if name in values:
            raise InputError(f"{option} is given twice for {name!r}")
        values[name] = value
    return values


def parse_named_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of ``NAME=SHAPE`` texts by name.

    Raises:
        InputError: One of them is not ``NAME=SHAPE``.
    """
    return {name: parse_shape(shape) for name, shape in parse_named(texts, "--shape").items()}
