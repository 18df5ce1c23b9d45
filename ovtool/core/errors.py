"""The errors of ovtool, each with a hint.

    OvtoolError
    |-- InputError              exit 2: wrong use or bad input; names the file, option or line
    |-- MissingError            exit 3
    |   |-- MissingDependencyError    an optional package is not installed
    |   `-- MissingDeviceError        a requested device is not available
    |-- LimitNotMetError        exit 1: no result meets the limits
    |-- NothingMeasuredError    exit 4: no trial was measured
    `-- UndecidedError          exit 5: what was measured does not decide

The command line catches ``OvtoolError`` in one place, prints ``str(error)`` and ``error.hint`` on a
line each, and exits with ``error.exit_code``.  :mod:`ovtool.core.system_errors` explains errors of
the operating system.  Any other exception is a bug and exits with 70.
"""

from __future__ import annotations

CRASH = 70
"""Exit code of a bug in ovtool: ``EX_SOFTWARE`` of sysexits.h."""
EXIT_CODES = {
    0: "done",
    1: "a limit is not met, or a regression was found",
    2: "wrong use or bad input",
    3: "a device or package is missing",
    4: "nothing was measured",
    5: "cannot tell: what was measured does not decide",
    CRASH: "a bug in ovtool",
}
"""Meaning of each exit code, for the help texts and the documentation."""


class OvtoolError(Exception):
    """Base class: a message of what is wrong and where, and a hint of what to do (or empty)."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def full_text(self) -> str:
        """The message and the hint in one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class InputError(OvtoolError):
    """Wrong use or bad input."""


class MissingError(OvtoolError):
    """A requirement is missing on this machine."""

    exit_code = 3


class MissingDependencyError(MissingError):
    """An optional Python package is not installed."""


class MissingDeviceError(MissingError):
    """A requested device is not available."""


class LimitNotMetError(OvtoolError):
    """No result meets the limits."""

    exit_code = 1


class NothingMeasuredError(OvtoolError):
    """No result was measured."""

    exit_code = 4


class UndecidedError(OvtoolError):
    """The measurements do not decide."""

    exit_code = 5
