"""Third-party code: output goes to the log, errors become one line, steps have a limit."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING

from ovtool.core import steps
from ovtool.core.errors import InputError
from ovtool.core.system_errors import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import openvino as ov

LOG = logging.getLogger("ovtool")


_NOISE = re.compile(
    r"FrontEnd API failed|Summary:|Loading input model|Exception:|While validating|\s*$"
)
"""Beginnings of lines of OpenVINO's errors that only say where in OpenVINO they were raised."""
_LOCATION = re.compile(
    r"Caught exception: |"
    r"(Exception from |Check '.*?' failed at |(failed )?at )?\S+\.(cpp|hpp|h|cc|cxx|c):\d+:?\s*"
)


def reason(error: BaseException) -> str:
    """Return the relevant part of an error message, in one line of at most 300 characters."""
    return condense(str(error), 300) or type(error).__name__


def condense(text: str, limit: int = 500) -> str:
    """Return an error of OpenVINO without source locations, on one line of at most ``limit``."""
    line = " ".join(relevant_lines(text))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def relevant_lines(text: str) -> list[str]:
    """Return the lines of an error of OpenVINO, which may be joined by bars, without locations."""
    lines = [_LOCATION.sub("", line).strip(" -") for line in re.split(r"\s+\|(?:\s+|$)|\n", text)]
    return [line.strip() for line in lines if not _NOISE.match(line)]


@contextlib.contextmanager
def captured(what: str) -> Iterator[list[warnings.WarningMessage]]:
    """Send the output and the warnings of Python code to the log instead of the terminal.

    The list has all warnings at the end.

    The root logger is restored: OpenVINO's converter raises its level and keeps it on errors.
    """
    printed = io.StringIO()
    root = logging.getLogger()
    level, filters, handlers = root.level, root.filters[:], root.handlers[:]
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            yield caught
        finally:
            root.setLevel(level)
            root.filters, root.handlers = filters, handlers
            for warning in caught:
                LOG.debug("%s: %s: %s", what, warning.category.__name__, warning.message)
            for line in printed.getvalue().splitlines():
                LOG.debug("%s: %s", what, line)


def read_graph(xml: Path, *, mapped: bool = True) -> ov.Model:
    """Read an IR; ``mapped`` maps its weights, which blocks replacing the file on Windows.

    Raises:
        InputError: The file is not an IR, is incomplete, or has no weights.
    """
    import openvino as ov

    weights = xml.with_suffix(".bin")
    try:
        with reading(xml):
            xml.read_text(encoding="utf-8")  # else its names cannot be read
        with steps.limited(f"reading {xml}", xml):
            return ov.Core().read_model(xml, config={"ENABLE_MMAP": mapped})
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {xml}: it is not a text file in UTF-8") from error
    except RuntimeError as error:
        if not weights.is_file() and "weights" in str(error):
            raise InputError(f"weights file {weights} of {xml} is missing") from error
        raise InputError(
            f"cannot read {xml}: {reason(error)}", "the file may be incomplete"
        ) from error
