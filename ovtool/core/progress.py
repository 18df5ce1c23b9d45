"""How the library tells what it is doing, without knowing of terminals."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a step reports to; the command line draws it, a caller may ignore it."""

    def start(self, task: str, total: int | None = None) -> None:
        """Begin a task; ``total`` is its number of steps where that is known."""

    def advance(self, steps: int = 1) -> None:
        """Count steps of the running task as done."""

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""

    def close(self) -> None:
        """End the task: nothing is drawn until the next one begins."""


class Silent:
    """Reports nothing."""

    def start(self, task: str, total: int | None = None) -> None:
        """Ignore."""

    def advance(self, steps: int = 1) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


SILENT: Progress = Silent()
