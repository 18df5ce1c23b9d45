"""Every error that ovtool raises on purpose, each with what to do about it.

    OvtoolError
    |-- InputError              exit 2: wrong use or bad input; names the file, option or line
    |-- MissingError            exit 3
    |   |-- MissingDependencyError    an optional package is not installed
    |   `-- MissingDeviceError        a device that was asked for is not there
    |-- LimitNotMetError        exit 1: nothing fits the limits that were asked for
    `-- NothingMeasuredError    exit 4: every trial failed, or there was none

The command line catches ``OvtoolError`` once, prints ``str(error)`` and ``error.hint`` in a line
each and exits with ``error.exit_code``.  Anything else is a bug of ovtool and shows its traceback.
"""

from __future__ import annotations


class OvtoolError(Exception):
    """Base of the family.

    Args:
        message: What is wrong and where, in one line.
        hint: What to do about it, in one line; empty when the message says it all.
    """

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
    """Something that is needed is not on this machine."""

    exit_code = 3


class MissingDependencyError(MissingError):
    """An optional Python package is not installed."""


class MissingDeviceError(MissingError):
    """A device that was asked for is not there."""


class LimitNotMetError(OvtoolError):
    """No result meets the limits."""

    exit_code = 1


class NothingMeasuredError(OvtoolError):
    """There is no measured result to show or choose from."""

    exit_code = 4
