import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from ovtool.core import files, places, temporary
from ovtool.core.errors import InputError

WRITE_ERRORS = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG]


def failing(number):
    """Return a write that fails halfway, as on a full disk."""

    def write(path):
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != files.MARKER)


def run_and_kill(code, *arguments):
    """Run code in another process, which kills itself where the code calls ``kill``."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from ovtool.core import files, temporary\n"
        "def kill(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"target = Path(sys.argv[1])\n{code}"
    )
    process = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=False)
    assert process.returncode == -signal.SIGKILL


def test_a_file_is_renamed_after_a_complete_write(tmp_path):
    target = tmp_path / "new" / "a.txt"

    def write(path):
        assert path.parent == target.parent  # the same disk, or it could not be renamed
        assert path.suffix == ".txt"  # libraries choose the format by it
        path.write_text("whole")
        assert not target.exists()

    assert files.write_file(target, write) == target
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("number", WRITE_ERRORS)
def test_a_failed_write_keeps_the_old_file(tmp_path, number):
    target = files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(InputError, match=re.escape(str(target))):
        files.write_file(target, failing(number))
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_errors_pass_and_leave_no_file(tmp_path):
    def write(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_file(tmp_path / "a.txt", write)
    assert names(tmp_path) == []


def test_text_is_utf_8(tmp_path):
    assert files.write_text(tmp_path / "a", "größer").read_bytes() == "größer".encode()


def test_a_file_in_place_of_a_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file"):
        files.write_text(tmp_path / "file" / "a.txt", "x")
    with (
        pytest.raises(InputError, match="file"),
        files.new_folder(tmp_path / "file" / "target"),
    ):
        pass


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="root ignores the mode, and Windows has none",
)
def test_a_read_only_folder_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match=r"a\.txt"):
            files.write_text(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o700)


def test_other_system_errors_pass(tmp_path):
    with pytest.raises(OSError, match=rf"\[Errno {errno.EBADF}\]"):
        files.write_file(tmp_path / "a", failing(errno.EBADF))
    assert names(tmp_path) == []


def test_a_folder_is_renamed_after_success(tmp_path):
    target = tmp_path / "parent" / "target"
    with files.new_folder(target) as folder:
        (folder / "a").write_text("x")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["target"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("bad"), SystemExit(1)])
def test_a_failed_folder_is_removed_and_the_old_folder_stays(tmp_path, error):
    target = tmp_path / "target"
    with files.new_folder(target) as folder:
        (folder / "old").write_text("x")
    expected = InputError if isinstance(error, OSError) else type(error)

    def fill():
        with files.new_folder(target, replace=True) as folder:
            (folder / "new").write_text("x")
            raise error

    with pytest.raises(expected):
        fill()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["target"]


def test_a_replaced_folder_has_no_old_files(tmp_path):
    target = tmp_path / "target"
    for name in ("old", "new"):
        with files.new_folder(target, replace=True) as folder:
            (folder / name).write_text("x")
    assert names(target) == ["new"]
    assert names(tmp_path) == ["target"]


def test_a_folder_of_others_is_never_replaced(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "photo").write_text("x")
    with pytest.raises(InputError, match="target"), files.new_folder(target, replace=True):
        pass
    assert (target / "photo").read_text() == "x"


def test_files_of_others_in_a_replaced_folder_are_named(tmp_path):
    target = tmp_path / "target"
    with files.new_folder(target) as folder:
        (folder / "a").write_text("x")
    (target / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt"), files.new_folder(target, replace=True):
        pass
    assert names(target) == ["a", "notes.txt"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_that_appears_meanwhile_is_kept(tmp_path, replace):
    target = tmp_path / "target"

    def fill():
        with files.new_folder(target, replace) as folder:
            (folder / "a").write_text("x")
            target.mkdir()
            (target / "precious").write_text("x")

    with pytest.raises(InputError, match="target"):
        fill()
    assert names(target) == ["precious"]
    assert names(tmp_path) == ["target"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("call", ["Path.mkdir", "os.fsync", "Path.rename", "shutil.rmtree"])
def test_a_killed_replacement_leaves_the_old_or_the_new_folder(tmp_path, exchange, call):
    target = tmp_path / "target"
    with files.new_folder(target) as folder:
        (folder / "a").write_text("old")
    count = {"Path.rename": 2}.get(call, 1)  # of two renames, the second
    if call == "Path.rename" and exchange:
        pytest.skip("one step")
    run_and_kill(
        f"""
import shutil
files._exchange = files._exchange if {exchange} else lambda *_: False
with files.new_folder(target, replace=True) as folder:
    (folder / "a").write_text("new")
    real, calls = {call}, []
    def replacement(*args, **kwargs):
        calls.append(args)
        return kill() if len(calls) == {count} else real(*args, **kwargs)
    {"" if call == "Path.mkdir" else f"{call} = replacement"}
    {"kill()" if call == "Path.mkdir" else ""}
""",
        target,
    )
    temporary._cleaned.discard(tmp_path)
    files.write_text(tmp_path / "other", "x")  # the next use of the folder
    assert names(tmp_path) == ["other", "target"]
    assert (target / "a").read_text() in {"old", "new"}
    assert files.read_marker(target) == {"a"}


def test_only_own_files_are_claimed(tmp_path):
    files.claim_files(tmp_path, ["a", "b"])
    (tmp_path / "a").write_text("ours")
    (tmp_path / "c").write_text("theirs")
    files.claim_files(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="c exists"):
        files.claim_files(tmp_path, ["a", "c"])
    assert files.read_marker(tmp_path) == {"a", "b"}


@pytest.mark.slow
def test_a_cached_hash_follows_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CACHED_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = files.verified_sha256(path)
    (cache,) = (tmp_path / "cache" / "ovtool" / "hashes").iterdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "sha256", None)
        assert files.verified_sha256(path) == first  # read from the cache
    kept = cache.read_bytes()
    for place in range(len(kept)):
        cache.write_bytes(kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :])
        assert files.verified_sha256(path) == first
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.verified_sha256(path) == hashlib.sha256(b"two").hexdigest()
    for damaged in (b"", b"[]", b"a b c", b"\xff \xff"):
        cache.write_bytes(damaged)
        assert files.verified_sha256(path) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows always has a home folder")
def test_a_user_without_home_has_a_private_cache(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = places.user_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert places.user_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(InputError, match=re.escape(str(folder))) as caught:
        places.user_folder()
    assert "HOME" in caught.value.hint.split()  # XDG_CACHE_HOME would help the cache only


def test_a_hash_depends_on_contents_and_order(tmp_path):
    for name, content in (("a", b"1" * 3_000_000), ("b", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b = tmp_path / "a", tmp_path / "b"
    assert files.sha256(a, b) == hashlib.sha256(b"1" * 3_000_000 + b"2").hexdigest()
    assert files.sha256(a, b) != files.sha256(b, a)


def test_an_input_file_must_exist_and_not_be_empty(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert files.existing_file(str(tmp_path / "full"), "model") == tmp_path / "full"
    for name in ("none", "empty", "."):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
            files.existing_file(tmp_path / name, "model")


@pytest.fixture
def events(monkeypatch):
    """What is flushed and renamed, in order, as (event, name)."""
    seen, sync = [], os.fsync

    def flush(descriptor):
        seen.append(("flush", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def recorded(real):
        def rename(self, target):
            seen.append(("rename", self.stat().st_ino))
            return real(self, target)

        return rename

    monkeypatch.setattr(os, "fsync", flush)
    for name in ("replace", "rename"):
        monkeypatch.setattr(Path, name, recorded(getattr(Path, name)))
    return seen


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot flush folders")
def test_a_file_is_on_the_disk_before_its_rename_and_the_folder_after(events, tmp_path):
    target = files.write_text(tmp_path / "a", "x")
    file, folder = target.stat().st_ino, tmp_path.stat().st_ino
    assert events == [("flush", file), ("rename", file), ("flush", folder)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot flush folders")
def test_every_file_of_a_folder_is_on_the_disk_before_its_rename(events, tmp_path):
    target = tmp_path / "target"
    with files.new_folder(target) as folder:
        (folder / "b").mkdir()
        for name in ("a", "b/c"):
            (folder / name).write_text(name)
    place = events.index(("rename", target.stat().st_ino))
    names = ("a", "b/c", files.MARKER, ".")
    assert {("flush", (target / name).stat().st_ino) for name in names} <= set(events[:place])
    assert events[place + 1 :] == [("flush", tmp_path.stat().st_ino)]


def test_what_could_not_be_removed_is_removed_later(tmp_path, monkeypatch):
    """An error while temporary files are removed is no error of the command."""
    target = tmp_path / "out"
    with files.new_folder(target) as folder:
        (folder / "a").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        with files.new_folder(target, replace=True) as folder:
            (folder / "a").write_text("new")
    assert (target / "a").read_text() == "new"
    assert len(list(tmp_path.iterdir())) > 1
    temporary.remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lock_that_the_system_does_not_release_leaves_no_file(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(FileLock, "release", refuse)
    assert files.write_text(tmp_path / "a", "x").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
