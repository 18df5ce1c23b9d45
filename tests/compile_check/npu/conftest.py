"""Fixtures of the room."""

import pytest

from ovtool.compile_check.npu import offline
from tests.compile_check.npu.fake_installation import ANSWER, LOADER, script


@pytest.fixture
def wine(tmp_path, monkeypatch):
    """Installs a fake loader and server that log their calls."""
    calls = tmp_path / "calls"
    calls.touch()
    programs = tmp_path / "wine"
    programs.mkdir()

    def put(body=ANSWER):
        script(programs / "wine64", LOADER.format(calls=calls, body=body))
        script(programs / "wineserver", f'#!/bin/sh\necho "server $WINEPREFIX $*" >> {calls}\n')
        return lambda: calls.read_text().splitlines()

    monkeypatch.setattr(offline, "_WINE_FOLDERS", ())
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    return put
