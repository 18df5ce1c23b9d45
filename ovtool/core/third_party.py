"""Third-party code: its output goes to the log, its errors become one line."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("ovtool")


def reason(error: BaseException) -> str:
    """Return the relevant part of an error message, in one line of at most 300 characters."""
    noise = re.compile(
        r"Exception from |Check '|FrontEnd API failed|Summary:|Loading input model|Exception:|"
        r"While validating|\s*$"
    )
    lines = [line.strip(" -") for line in str(error).splitlines() if not noise.match(line)]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


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
