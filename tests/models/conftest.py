from __future__ import annotations

import builtins
import sys
import textwrap

import pytest

from ovtool.core.errors import InputError
from ovtool.core.progress import Silent
from ovtool.models.convert import convert
from tests.models.torch_nets import NETS


class Notes(Silent):
    """A progress that records its notes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def without(monkeypatch):
    """Return a function that makes packages impossible to import."""
    genuine = builtins.__import__

    def remove(*packages):
        def imports(name, *rest):
            if name.partition(".")[0] in packages:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return genuine(name, *rest)

        monkeypatch.setattr(builtins, "__import__", imports)

    return remove


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder to work in, with the user's own nets.py in it."""
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    yield tmp_path
    sys.modules.pop("nets", None)


@pytest.fixture
def invalid_file(tmp_path, capfd):
    """Check that a file is rejected in one line that matches a value, and leaves nothing."""

    def check(prepare, value):
        reference = tmp_path / prepare(tmp_path)
        with pytest.raises(InputError, match=value) as raised:
            convert(reference, out=tmp_path / "out")
        assert "\n" not in str(raised.value)
        assert "Traceback" not in str(raised.value)
        assert not list(tmp_path.glob("*out*"))
        assert capfd.readouterr() == ("", "")

    return check
