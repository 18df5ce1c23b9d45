from __future__ import annotations

import pytest

from ovtool.core.progress import Silent


class Notes(Silent):
    """A progress that records its notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()
