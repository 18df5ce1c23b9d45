"""Progress on stderr: bars and live rows on a terminal, lines in a file."""

from __future__ import annotations

from contextlib import closing

from ovtool.core.terminal import TerminalProgress
from ovtool.sweep.view import SweepView


def show_progress() -> closing[TerminalProgress]:
    """Return a context with a progress that is removed at the end, also after an error."""
    return closing(TerminalProgress())


def show_sweep(progress: TerminalProgress) -> closing[SweepView]:
    """Return a context with a view of a sweep that is removed at the end, also after an error."""
    return closing(SweepView(progress))
