"""Consoles, and progress on a terminal, in a notebook or as lines in a file; what is printed."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
import shutil
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from ovtool.core.escaping import quote_controls
from ovtool.core.steps import repeats, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.progress import Progress as Bars

    from ovtool.core.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")


LOGGER = logging.getLogger("ovtool")
WARNING = "warning: "
"""Beginning of the status lines that remain without progress."""


class _Loudness:
    """Whether progress is printed, and the handler that prints the log."""

    quiet = False
    log: logging.Handler | None = None


def reset_loudness() -> None:
    """Print progress and no log, as at the start of a command."""
    _Loudness.quiet = False
    if _Loudness.log is not None:
        LOGGER.removeHandler(_Loudness.log)
        _Loudness.log = None


def set_quiet(requested: bool) -> None:
    """Print no progress from now on, if requested."""
    _Loudness.quiet = _Loudness.quiet or requested


def set_verbose(requested: bool) -> None:
    """Print the log on stderr from now on, if requested."""
    if requested and _Loudness.log is None:
        _Loudness.log = logging.StreamHandler(sys.stderr)
        _Loudness.log.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        LOGGER.addHandler(_Loudness.log)
        LOGGER.setLevel(logging.DEBUG)


_WIDE, _NARROWEST = 100, 20
"""Columns of text in a file or pipe, and the fewest columns that text is wrapped to."""


def get_console(*, stderr: bool = False) -> Console:
    """Return a console of the width that ``COLUMNS`` asks for.

    Otherwise a terminal has its own width, and a file or pipe is at least 100 columns wide.
    """
    from rich.console import Console, ConsoleDimensions

    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    width = requested_width()
    if width is None and not console.is_terminal:
        width = max(console.width, _WIDE)
    elif width is None and not console.width:  # COLUMNS=0
        width = shutil.get_terminal_size().columns
    if width is not None:
        console.size = ConsoleDimensions(width, console.height)
    return console


def requested_width() -> int | None:
    """Return the columns that the variable ``COLUMNS`` asks for; None if it is not a width."""
    columns = re.fullmatch("[1-9][0-9]{0,4}", os.environ.get("COLUMNS", ""))
    return None if columns is None else max(int(columns[0]), _NARROWEST)


def write_line(console: Console, text: str, style: str | None = None) -> None:
    """Write a line to a console; a terminal or ``COLUMNS`` wraps the line."""
    wraps = console.is_terminal or requested_width() is not None
    console.print(quote_controls(text), markup=False, style=style, soft_wrap=not wraps)


def write_status(console: Console, text: str) -> None:
    """Write a line of progress or a warning to a console; of these, ``--quiet`` keeps warnings."""
    if not _Loudness.quiet or text.startswith(WARNING):
        write_line(console, text)


def draws(console: Console) -> bool:
    """Return whether a console has bars: on a terminal, and in a notebook with ipywidgets."""
    if _Loudness.quiet:
        return False
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal


def live_console(console: Console) -> Console:
    """Return the console of bars: in a notebook another one than that of lines, in a widget."""
    return get_console(stderr=True) if console.is_jupyter else console


def in_notebook() -> bool:
    """Return whether this program is the kernel of a notebook."""
    return "IPython" in sys.modules and get_console(stderr=True).is_jupyter


class TerminalProgress:
    """Progress of one task: a bar on a terminal, a line in a file."""

    def __init__(self) -> None:
        self._console = get_console(stderr=True)
        self._bars: Bars | None = None
        self._task: Any = None

    def start(self, task: str, total: int | None = None) -> None:
        """Start a task."""
        report(task)
        if not draws(self._console):
            self.note(task)
            return
        self.close()
        from rich import progress

        columns = [progress.BarColumn(bar_width=20), progress.MofNCompleteColumn()]
        self._bars = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            *(columns if total is not None else []),
            progress.TimeElapsedColumn(),
            console=live_console(self._console),
            transient=True,
            auto_refresh=not self._console.is_jupyter,  # widgets take output from one thread only
        )
        self._bars.start()
        self._task = self._bars.add_task(quote_controls(task), total=total)

    def advance(self, steps: int = 1) -> None:
        """Add finished steps."""
        report()
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, steps)
            if self._console.is_jupyter:
                self._bars.refresh()

    def note(self, text: str) -> None:
        """Print a permanent line, unless a command that was started again has printed it before."""
        if not repeats():
            write_status(self._console, text)

    def close(self) -> None:
        """Remove the bar; nothing draws during a measurement."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._task = None, None


class View(Protocol):
    """An observer of a verb that draws until it is closed."""

    def close(self) -> None:
        """Stop drawing."""


def shows_progress(
    view: Callable[[Progress], View] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: in a notebook, a verb without ``progress`` draws bars while it runs.

    Elsewhere a verb draws nothing unasked.  ``view`` makes the verb's ``observer``.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(verb)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if "progress" in kwargs or not in_notebook():
                return verb(*args, **kwargs)
            with ExitStack() as stack:
                progress = stack.enter_context(closing(TerminalProgress()))
                kwargs["progress"] = progress
                if view is not None and kwargs.get("observer") is None:
                    kwargs["observer"] = stack.enter_context(closing(view(progress)))
                return verb(*args, **kwargs)

        return run

    return decorate
