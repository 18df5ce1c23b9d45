import pytest

from ovtool.core.ports import Port


class Notes:
    """A progress that records its notes."""

    def __init__(self):
        self.notes = []

    def start(self, task, total=None):
        pass

    def advance(self, steps=1):
        pass

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def progress():
    return Notes()


@pytest.fixture
def image_port():
    return Port(name="x", shape=(-1, 3, 8, 8), dtype="f32", layout="NCHW")
