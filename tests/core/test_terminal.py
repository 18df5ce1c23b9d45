"""Progress of verbs: bars in a notebook, nothing unasked elsewhere."""

import sys
import types

import pytest

from ovtool.core import terminal
from ovtool.core.progress import SILENT, Silent


class Recorded(Silent):
    """A view that remembers whether it was closed."""

    closed = False

    def __init__(self, progress=SILENT):
        self.progress = progress

    def close(self):
        self.closed = True


@terminal.shows_progress(Recorded)
def verb(model, *, progress=SILENT, observer=None):
    return model, progress, observer


@pytest.fixture
def notebook(monkeypatch):
    """A program that rich takes for the kernel of a notebook."""
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)


def test_a_script_has_no_progress_unasked():
    assert not terminal.in_notebook()
    assert verb("m") == ("m", SILENT, None)


@pytest.mark.usefixtures("notebook")
def test_a_notebook_has_bars_that_are_closed_at_the_end(monkeypatch):
    closed = []

    def close(self):
        closed.append(self)

    monkeypatch.setattr(terminal.TerminalProgress, "close", close)
    assert terminal.in_notebook()
    model, progress, observer = verb("m")
    assert model == "m"
    assert isinstance(progress, terminal.TerminalProgress)
    assert closed[-1] is progress
    assert observer.progress is progress
    assert observer.closed


@pytest.mark.usefixtures("notebook")
def test_the_caller_has_the_last_word():
    mine = Recorded()
    assert verb("m", progress=SILENT) == ("m", SILENT, None)
    assert verb("m", observer=mine)[2] is mine
    assert not mine.closed


@pytest.mark.usefixtures("notebook")
@pytest.mark.parametrize("installed", [True, False])
def test_a_notebook_draws_bars_with_ipywidgets_only(monkeypatch, installed):
    found = object() if installed else None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: found)
    assert terminal.draws(terminal.get_console(stderr=True)) == installed


@pytest.mark.parametrize(
    ("columns", "width"), [("60", 60), ("120", 120), ("5", 20), ("0", 100), ("wide", 100)]
)
def test_a_pipe_is_as_wide_as_columns_say(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    piped = terminal.get_console()
    assert not piped.is_terminal
    assert piped.width == width


def test_columns_wrap_lines_in_a_pipe(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    terminal.write_line(terminal.get_console(), "word " * 30)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40
    monkeypatch.delenv("COLUMNS")
    terminal.write_line(terminal.get_console(), "word " * 30)
    assert len(capsys.readouterr().out.splitlines()) == 1
