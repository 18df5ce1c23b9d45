"""The progress interface of the library, independent of terminals."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a step; the command line draws it."""

    def start(self, task: str, total: int | None = None) -> None:
        """Begin a task; ``total`` is the number of its steps, if known."""

    def advance(self, steps: int = 1) -> None:
        """Count completed steps of the current task."""

    def note(self, text: str) -> None:
        """Print a line that stays on the screen."""

    def close(self) -> None:
        """End the task; nothing is drawn until the next task begins."""


class Silent:
    """Ignores all progress."""

    def start(self, task: str, total: int | None = None) -> None:
        """Ignore."""

    def advance(self, steps: int = 1) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


SILENT: Progress = Silent()
