"""Shapes of model inputs: their text form, and sets of shapes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.units import LARGEST_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OPEN = -1
"""An open dimension."""

Shape = tuple[int, ...]
Named = tuple[tuple[str, Shape], ...]
"""Input names with their shapes."""


def parse_shape(text: str) -> Shape:
    """Return the shape of a text such as ``1x3x224x224`` or ``?x3x?x?``; open dimensions are -1.

    Raises:
        InputError: A dimension is neither a positive number nor ``?`` or ``-1``.
    """
    dimensions = text.strip().lower().split("x")
    sizes = [re.fullmatch(r"[1-9][0-9]{0,9}|\?|-1", part, re.ASCII) for part in dimensions]
    if not all(size and (size[0] == "?" or int(size[0]) <= LARGEST_COUNT) for size in sizes):
        raise InputError(
            f"not a shape: {text!r}",
            "sizes with x between them, ? for an open dimension: 1x3x224x224, ?x128",
        )
    return tuple(OPEN if part in {"?", "-1"} else int(part) for part in dimensions)


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as text, the inverse of :func:`parse_shape`."""
    return "x".join("?" if size == OPEN else str(size) for size in shape)


def shapes_text(shapes: Iterable[tuple[str, Iterable[int]]]) -> str:
    """Return named shapes as text.

    >>> shapes_text([("ids", (1, 128)), ("mask", (1, -1))])
    'ids=1x128 mask=1x?'
    """
    return " ".join(f"{name}={shape_text(shape)}" for name, shape in shapes)


def name_and_value(text: str, option: str) -> tuple[str, str]:
    """Return both parts of ``NAME=VALUE``; a name may contain ``=`` and ``:``.

    Raises:
        InputError: The name or the value is missing.
    """
    name, _, value = (part.strip() for part in text.rpartition("="))
    if not name or not value:
        raise InputError(f"{option} {text!r} is not NAME=VALUE", "NAME is the name of an input")
    return name, value


def parse_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Return the values of the ``NAME=VALUE`` texts of an option by name.

    Raises:
        InputError: A name or a value is missing, or a name repeats.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, value = name_and_value(text, option)
        if name in values:
            raise InputError(f"{option} repeats the name {name!r}")
        values[name] = value
    return values


def parse_named_numbers(texts: Iterable[str], option: str) -> dict[str, float]:
    """Return the numbers of the ``NAME=NUMBER`` texts of an option by name.

    Raises:
        InputError: A text is not ``NAME=NUMBER``, or a name repeats.
    """
    numbers = {}
    for name, text in parse_named(texts, option).items():
        try:
            numbers[name] = float(text)
        except ValueError:
            numbers[name] = math.nan
        if not math.isfinite(numbers[name]):
            raise InputError(f"{option} {name}: {text!r} is not a finite number")
    return numbers


def parse_named_shapes(texts: Iterable[str]) -> dict[str, Shape]:
    """Return the shapes of ``NAME=SHAPE`` texts by name.

    Raises:
        InputError: A text is not ``NAME=SHAPE``.
    """
    return {name: parse_shape(shape) for name, shape in parse_named(texts, "--shape").items()}


def open_size(ranks: Iterable[int]) -> int:
    """Return the size for open dimensions of inputs of these ranks: 64 with images, else 8.

    One size for all inputs, since the open dimensions of a model often have to be equal.
    """
    return 64 if 4 in ranks else 8


def shape_sets(shapes: Mapping[str, Sequence[Shape]]) -> tuple[dict[str, Shape], ...]:
    """Return the sets of shapes of all inputs.

    The first shapes of all inputs form the first set, and so on.  A single shape of an input is in
    every set.

    Raises:
        InputError: Two inputs have different numbers of shapes, both above 1.
    """
    counts = {name: len(options) for name, options in shapes.items() if len(options) > 1}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise InputError(
            f"inputs have different numbers of shapes: {listed}",
            "give every input the same number of shapes, or one shape",
        )
    total = next(iter(counts.values()), 1 if shapes else 0)
    return tuple(
        {name: options[min(index, len(options) - 1)] for name, options in shapes.items()}
        for index in range(total)
    )


def port_name(names: Iterable[str], kind: str, place: int) -> str:
    """Return the name of an input or output: the first of its names, or ``kind_index``."""
    return min(names, default=f"{kind}_{place}")
