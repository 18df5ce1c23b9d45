"""Standard streams that never change the outcome of a command."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.system_errors import explain

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined] # since Python 3.12


class _Output(io.FileIO):
    """A file that discards what is written after its reader is gone, as with ``| head``.

    A full disk is an error of stdout, and no reason to stop for stderr.
    """

    def write(self, data: Buffer, /) -> int:
        """Write bytes, and return how many.

        Raises:
            InputError: stdout is a file that cannot be written.
        """
        try:
            return super().write(data) or 0
        except OSError as error:
            failure = error
        descriptor = self.fileno()
        discard(descriptor)
        # A pipe, or a closed terminal.
        if descriptor == 1 and failure.errno not in (errno.EPIPE, errno.EIO):
            raise explain(failure, Path("standard output")) or failure from None
        return memoryview(data).nbytes


def discard(descriptor: int) -> None:
    """Discard what is written to a file descriptor from now on."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)


def protect_streams() -> None:
    """Replace stdout and stderr by streams that survive a closed pipe, and any text.

    A stream that the caller closed discards its output.  Text that the encoding of the terminal
    lacks is written as escapes.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            with contextlib.suppress(OSError):
                discard(descriptor)
        elif sys.platform == "win32" and stream.isatty():
            continue  # a console of Windows takes text, not bytes
        else:
            stream.flush()
        encoding = "utf-8" if stream is None else stream.encoding
        lines = name == "stderr" or os.isatty(descriptor)
        output = io.BufferedWriter(_Output(descriptor, "w", closefd=False))
        setattr(
            sys,
            name,
            io.TextIOWrapper(output, encoding, "backslashreplace", line_buffering=lines),
        )
