"""How users write values, in options and in recipes: words in any case, shares, integer ranges."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.units import LARGEST_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_COUNTS = 1000
"""Largest number of integers that a text may list."""
COUNTS = "1,4,8 or ranges: 1-8, 2..16:2 (step), 1..32:x2 (factor)"
"""The forms of a list of integers."""

_RANGE = re.compile(
    r"(?P<first>\d{1,10})(?:(?:-|\.\.)(?P<last>\d{1,10})(?::(?P<factor>x?)(?P<step>\d{1,10}))?)?",
    re.ASCII | re.IGNORECASE,
)
_TYPES = (
    (re.compile(r"(?:fp|float)(16|32|64)"), r"f\1"),
    (re.compile(r"bfloat16"), "bf16"),
    (re.compile(r"(u?)int(4|8|16|32|64)"), None),
    (re.compile(r"bool"), "boolean"),
)


def fold(text: str, choices: Sequence[Any]) -> str:
    """Return the choice that a text names in any case; a text that names none is unchanged.

    >>> fold("rgb", ("RGB", "BGR")), fold("Latency", ("latency",)), fold("l2", ("latency",))
    ('RGB', 'latency', 'l2')
    """
    plain = text.strip().casefold()
    return next((c for c in choices if isinstance(c, str) and c.casefold() == plain), text)


def method_name(text: str) -> str:
    """Return the name of a compression method, as the table of methods spells it.

    >>> method_name("INT8"), method_name("prune_weights")
    ('int8', 'prune-weights')
    """
    return text.strip().lower().replace("_", "-")


def type_name(text: str) -> str:
    """Return the name of an element type or a precision as OpenVINO writes it.

    >>> type_name("FP32"), type_name("float16"), type_name("int64"), type_name("Default")
    ('f32', 'f16', 'i64', 'default')
    """
    plain = text.strip().lower()
    for pattern, name in _TYPES:
        if match := pattern.fullmatch(plain):
            unsigned = "u" if match[0].startswith("u") else "i"
            return f"{unsigned}{match[2]}" if name is None else match.expand(name)
    return plain


def parse_precision(text: str) -> str:
    """Return the name of a precision of inference, not checked further.

    Raises:
        InputError: The text is an integer type, which compression gives.
    """
    name = type_name(text)
    if re.fullmatch("[iu][48]", name):
        raise InputError(
            f"{_brief(text)} is no precision of inference", "compress the model: ovtool methods"
        )
    return name


def parse_share(text: str) -> float:
    """Return a share as a fraction: ``5%`` and ``0.05`` are the same.

    >>> parse_share("0.5%"), parse_share("0.005")
    (0.005, 0.005)

    Raises:
        InputError: The text is not a number, or a number above 1 without a ``%``.
    """
    value = parse_number(text)
    if value > 1 and "%" not in text:
        raise InputError(
            f"{_brief(text)} is not a share", f"write {text.strip()}% or a share up to 1"
        )
    return value


def parse_number(text: str) -> float:
    """Return a number, with a percent sign as a fraction.

    Raises:
        InputError: The text is not a finite number.
    """
    plain = text.strip()
    try:
        value = float(plain.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{_brief(text)} is not a number", "write a share as 5% or 0.05")
    return value / 100.0 if plain.endswith("%") else value


def parse_percent(text: str) -> float:
    """Return a share in percent: ``5%`` and ``0.05`` are 5.

    Raises:
        InputError: The text is not a share of at least 0.
    """
    value = parse_share(text)
    if value < 0:
        raise InputError(f"{_brief(text)} is below 0%", "write it as 5% or 0.05")
    plain = text.strip()
    return float(plain.removesuffix("%")) if plain.endswith("%") else 100.0 * value


def parse_counts(text: str) -> tuple[int, ...]:
    """Return the integers that a text lists, each once.

    A range includes its end if a step reaches it.

    >>> parse_counts("1,4,8-10"), parse_counts("1..32:x2"), parse_counts("1-8:3")
    ((1, 4, 8, 9, 10), (1, 2, 4, 8, 16, 32), (1, 4, 7))

    Raises:
        InputError: The text is not such a list, or has more than :data:`MOST_COUNTS` integers.
    """
    numbers: list[int] = []
    for part in text.split(","):
        values = _expand(part.strip())
        if len(numbers) + len(values) > MOST_COUNTS:
            raise InputError(
                f"{_brief(text)} has more than {MOST_COUNTS} numbers",
                "give a step or a factor: 1..1024:x2",
            )
        numbers += values
    return tuple(dict.fromkeys(numbers))


def expand_ranges(text: str) -> tuple[int | str, ...]:
    """Return the parts of a list, with the integers of each range; other parts stay text.

    >>> expand_ranges("50..200:x2,busy,12.5")
    (50, 100, 200, 'busy', '12.5')

    Raises:
        InputError: A range is not valid.
    """
    parts: list[int | str] = []
    for part in (each.strip() for each in text.split(",")):
        match = _RANGE.fullmatch(part)
        parts += [part] if match is None or match["last"] is None else parse_counts(part)
    return tuple(parts)


def _expand(part: str) -> Sequence[int]:
    """Return the integers of a number or a range; not more than 31 of a range with a factor."""
    match = _RANGE.fullmatch(part)
    if match is None:
        raise InputError(f"{_brief(part)} is not an integer or a range of integers", COUNTS)
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    step = 1 if match["step"] is None else int(match["step"])
    if not 1 <= first <= last <= LARGEST_COUNT:
        raise InputError(f"range {_brief(part)} does not rise from at least 1", COUNTS)
    if match["factor"]:
        if step < 2:
            raise InputError(f"range {_brief(part)}: a factor is at least 2", COUNTS)
        return list(_powers(first, last, step))
    if step < 1:
        raise InputError(f"range {_brief(part)}: a step is at least 1", COUNTS)
    return range(first, last + 1, step)


def _powers(first: int, last: int, factor: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= factor


def _brief(text: str) -> str:
    return units.shortened(repr(text), 40)
