"""Temporary files and folders, whose locks show that their process lives."""

import re
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from ovtool.core import files, places, temporary
from ovtool.core.errors import InputError
from tests.core.test_files import names, run_and_kill


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_temporary_files_of_dead_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run_and_kill(
        "files.write_file(target, lambda path: (path.write_text('x'), kill()))", tmp_path / "a"
    )
    assert len(names(tmp_path)) == 2
    run_and_kill("with temporary.scratch_folder('s') as s: (s / 'x').mkdir(); kill()", tmp_path)
    assert len(names(tmp_path)) == 2  # the second process removed the files of the first
    with temporary.scratch_folder("t") as alive:
        temporary._cleaned.discard(tmp_path)
        with temporary.scratch_folder("u") as folder:
            assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
                alive.name,
                folder.name,
            }
    assert names(tmp_path) == []


def test_an_empty_scratch_folder_without_a_lock_is_removed(tmp_path):
    kept = [".other.0123abcd.tmp", ".ovtool-x.0123abcd.tmp", ".ovtool-y.0123abcd.tmp"]
    for name in (*kept, ".ovtool-cache.0123abcd.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / ".ovtool-x.0123abcd.tmp" / "file").touch()
    lock = FileLock(tmp_path / ".ovtool-y.0123abcd.lock")
    with lock:
        temporary.remove_abandoned(tmp_path)
    assert [name for name in names(tmp_path) if name.endswith(".tmp")] == sorted(kept)


def test_an_error_of_removing_a_lock_is_none_of_the_command(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(5, "input/output error")

    monkeypatch.setattr(temporary, "_remove_lock", refuse)
    assert files.write_text(tmp_path / "a", "x").read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_a_file_system_without_new_files_is_an_error(monkeypatch):
    monkeypatch.setattr(temporary, "_LOCK_TIMEOUT_S", 0.05)
    with (
        pytest.raises(InputError, match=re.escape("/proc/self/out")),
        temporary.reserved(Path("/proc/self/out")),
    ):
        pass
