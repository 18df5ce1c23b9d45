"""Units, sizes, and figures as text."""

from __future__ import annotations

import math
import re
import reprlib
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIB = 2**20
MS_PER_S = 1000.0
NS_PER_S = 1_000_000_000

LARGEST_COUNT = 2**31 - 1
"""Largest count, size or seed that is accepted: libraries in C have 32-bit integers."""
LARGEST_NUMBER = 1e9
"""Largest magnitude of other settings that is accepted: 30 years in seconds."""

UNKNOWN = "-"


def mib(size_bytes: float) -> float:
    """Return bytes as mebibytes."""
    return size_bytes / MIB


def text(value: object, digits: int = 3) -> str:
    """Return a value as text: ``digits`` significant digits, ``-`` for unknown.

    >>> text(0.0123456), text(1234.5), text(None), text(float("nan"))
    ('0.0123', '1234', '-', '-')
    """
    if value is None:
        return UNKNOWN
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return UNKNOWN if math.isnan(value) else str(value)
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def with_unit(figure: str, unit: str) -> str:
    """Return a figure as text with its unit; a percent sign has no space before it.

    >>> with_unit("2.5", "ms"), with_unit("2.5", "%"), with_unit("2.5", "")
    ('2.5 ms', '2.5%', '2.5')
    """
    return f"{figure}{unit}" if unit == "%" else f"{figure} {unit}".rstrip()


def percentages(shares: Mapping[str, float]) -> str:
    """Return named shares of 1 as percentages.

    >>> percentages({"i8": 0.984, "bf16": 0.016})
    'i8 98.4%, bf16 1.60%'
    """
    return ", ".join(f"{name} {text(100.0 * share)}%" for name, share in shares.items())


def listing(items: Sequence[str], limit: int, separator: str = ", ") -> str:
    """Return the first items, and the number of further items.

    >>> listing(["a", "b", "c"], 2), listing(["a"], 2)
    ('a, b and 1 more', 'a')
    """
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return separator.join(items[:limit]) + more


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count_text(1, "trial"), count_text(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(name: str, width: int) -> str:
    """Return a name in at most ``width`` characters; the omitted part is after two thirds.

    >>> shortened("features.0.conv/Convolution", 16)
    'features.0…ution'
    """
    if len(name) <= width:
        return name
    tail = max(0, (width - 1) // 3)
    return f"{name[: max(0, width - 1 - tail)]}…{name[len(name) - tail :]}"


def interval_text(value: float | None, low: float | None, high: float | None) -> str:
    """Return ``value [low, high]`` with the value's decimals, or enough to separate the limits.

    A limit that would be rounded to 0 keeps a significant digit.

    >>> interval_text(2.345, 2.31, 2.4), interval_text(0.0, 0.0, 0.161)
    ('2.35 [2.31, 2.40]', '0.00 [0.00, 0.16]')
    >>> interval_text(250.0, 0.04, 9000.0)
    '250 [0.04, 9000]'
    """
    shown = text(value)
    if shown == UNKNOWN or low is None or high is None or math.isnan(low) or math.isnan(high):
        return shown
    decimals = len(shown.partition(".")[2])
    if low < high and f"{low:.{decimals}f}" == f"{high:.{decimals}f}":
        decimals = 1 + math.ceil(-math.log10(high - low))
        shown = f"{value:.{decimals}f}"
    ends = (
        f"{end:.{decimals}f}" if end == 0 or round(end, decimals) else text(end, 1)
        for end in (low, high)
    )
    return f"{shown} [{', '.join(ends)}]"


def finite(value: Any) -> Any:
    """Return JSON types with None for NaN and infinity, and lists for tuples.

    >>> finite({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def duration(seconds: float) -> str:
    """Return seconds as ``45 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def require_usable(value: object) -> None:
    """Refuse numbers that a library does not take; any other value passes.

    Raises:
        ValueError: The number is not finite, or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    largest = LARGEST_COUNT if isinstance(value, int) else LARGEST_NUMBER
    if not -largest <= value <= largest:
        raise ValueError(f"must be a number up to {largest:g}, got {reprlib.repr(value)}")


_PREFIXES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def parse_speed(written: str) -> float:
    """Return the operations per second of a text such as ``4TFLOPS``.

    >>> parse_speed("4 TFLOPS"), parse_speed("800gflop/s")
    (4000000000000.0, 800000000000.0)

    Raises:
        InputError: The text is not a positive number with a FLOPS unit.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([KMGTP]?)FLOP(?:S|/S)\s*", written.upper())
    try:
        value = float(match[1]) * _PREFIXES[match[2]] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(
            f"not a speed: {written!r}", "write a number with its unit: 4TFLOPS, 800GFLOPS"
        )
    return value
