"""Shapes of a model's inputs: how they are written, and several of them side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OPEN = -1
"""A dimension whose size is left open."""

Shape = tuple[int, ...]
Named = tuple[tuple[str, Shape], ...]
"""Input names with their shapes."""


def parse_shape(text: str) -> Shape:
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


def shapes_text(shapes: Iterable[tuple[str, Iterable[int]]]) -> str:
    """Return named shapes in words.

    >>> shapes_text([("ids", (1, 128)), ("mask", (1, -1))])
    'ids=1x128 mask=1x?'
    """
    return " ".join(f"{name}={shape_text(shape)}" for name, shape in shapes)


def name_and_value(text: str, option: str) -> tuple[str, str]:
    """Return both parts of ``NAME=VALUE``; a name may hold ``=`` and ``:``.

    Raises:
        InputError: One of them is missing.
    """
    name, _, value = (part.strip() for part in text.rpartition("="))
    if not name or not value:
        raise InputError(f"{option} {text!r} is not NAME=VALUE", "NAME: an input's name")
    return name, value


def parse_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Return the values of ``NAME=VALUE`` texts by name.

    Args:
        texts: What was given.
        option: The option they were given to, for messages.

    Raises:
        InputError: A name or value is missing, or a name comes twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, value = name_and_value(text, option)
        if name in values:
            raise InputError(f"{option} is given twice for {name!r}")
        values[name] = value
    return values


def parse_named_shapes(texts: Iterable[str]) -> dict[str, Shape]:
    """Return the shapes of ``NAME=SHAPE`` texts by name.

    Raises:
        InputError: One of them is not ``NAME=SHAPE``.
    """
    return {name: parse_shape(shape) for name, shape in parse_named(texts, "--shape").items()}


def shape_sets(shapes: Mapping[str, Sequence[Shape]]) -> tuple[dict[str, Shape], ...]:
    """Return the shapes of all inputs together, set by set.

    The first shapes of all inputs are the first set, and so on; an input with one shape has it in
    all sets.

    Args:
        shapes: Input name to its shapes, at least one.

    Raises:
        InputError: Two inputs have several shapes each, and not as many.
    """
    counts = {name: len(several) for name, several in shapes.items() if len(several) > 1}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise InputError(
            f"inputs have different numbers of shapes: {listed}",
            "give as many for each input, or one that stands for all",
        )
    total = next(iter(counts.values()), 1 if shapes else 0)
    return tuple(
        {name: several[min(place, len(several) - 1)] for name, several in shapes.items()}
        for place in range(total)
    )


def port_name(names: Iterable[str], kind: str, place: int) -> str:
    """Return what an input or output is called: the first of its names, or its place."""
    return min(names, default=f"{kind}_{place}")
