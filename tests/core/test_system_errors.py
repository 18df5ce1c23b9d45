"""Errors of the operating system as one line."""

import errno
import os
import sys
from pathlib import Path

import pytest

from ovtool.core import places, system_errors
from ovtool.core.errors import InputError
from ovtool.core.system_errors import explain, reading, writing

ENVIRONMENT = [number for number in errno.errorcode if number in system_errors._BY_NUMBER]
BUGS = [errno.EBADF, errno.ESRCH, errno.ECHILD, errno.EINVAL, errno.ENOTTY]


def of(number, path=None):
    return OSError(number, os.strerror(number), *([] if path is None else [str(path)]))


@pytest.mark.parametrize("number", ENVIRONMENT, ids=errno.errorcode.get)
def test_an_error_names_path_and_remedy_in_two_lines(number):
    for error, target, named in (
        (of(number, "/data/file"), None, "/data/file"),
        (of(number), Path("/out/folder"), "/out/folder"),
        (of(number, "/out/.folder.01234567.tmp/x"), Path("/out/folder"), "/out/folder:"),
        (of(number, "/data/file"), Path("/out/folder"), "/data/file"),
        (of(number), None, ""),
    ):
        explained = explain(error, target)
        assert named in f"{explained}"
        assert explained.hint
        assert explained.exit_code == 2
        assert len(f"{explained}") <= 100
        assert len(explained.hint) <= 100


@pytest.mark.parametrize("number", BUGS, ids=errno.errorcode.get)
def test_a_number_that_only_a_bug_causes_is_not_explained(number, tmp_path):
    assert explain(of(number, tmp_path)) is None
    with pytest.raises(OSError, match=r"\[Errno"), writing(tmp_path):
        raise of(number)


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no number"), KeyError("x")])
def test_other_exceptions_are_not_explained(error):
    assert explain(error, Path("a")) is None
    assert explain(InputError("an error of ovtool: No space left on device")) is None


@pytest.mark.parametrize(
    "text",
    [
        "I/O error: No space left on device (os error 28)",
        "[Errno 28] Error writing bytes to file",
        "write failed: No space left on device",
    ],
)
def test_the_text_of_a_library_gives_the_cause(text):
    expected = explain(of(errno.ENOSPC), Path("a"))
    with pytest.raises(InputError) as caught, writing(Path("a")):
        raise RuntimeError(text)
    assert f"{caught.value}" == f"{expected}"


@pytest.mark.parametrize(
    "text", ["basic_ios::clear: iostream error", "Can't open bin file", "Can't open xml file"]
)
def test_a_stream_of_a_library_names_the_file_and_the_free_space(tmp_path, text):
    for context, target in ((writing, tmp_path / "a"), (reading, tmp_path / "none" / "b")):
        with pytest.raises(InputError) as caught, context(target):
            raise RuntimeError(text)
        assert str(target) in f"{caught.value}"
        assert ("MiB" in f"{caught.value}") == target.parent.exists()
    assert text in f"{explain(RuntimeError(text))}"


@pytest.mark.parametrize("text", ["can't start new thread", "Resource temporarily unavailable"])
def test_the_limit_of_processes_is_explained(text):
    error = RuntimeError(text)
    assert explain(error, Path("a")).hint == explain(of(errno.EAGAIN)).hint


def test_a_full_cache_and_a_full_temporary_folder_have_their_own_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    full = {
        "XDG_CACHE_HOME": places.user_folder() / "x.json",
        "TMPDIR": tmp_path / f"{places.PREFIX}sweep.01234567.tmp",
        "": tmp_path / "out",
    }
    for variable, path in full.items():
        hint = explain(of(errno.ENOSPC), path).hint
        assert [v for v in full if v and v in hint] == ([variable] if variable else [])


def test_a_stream_error_on_a_full_disk_names_the_cause(tmp_path, monkeypatch):
    usage = system_errors.shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(system_errors.shutil, "disk_usage", lambda _: usage)
    explained = explain(RuntimeError("basic_ios::clear: iostream error"), tmp_path / "a")
    assert f"{explained}" == f"{explain(of(errno.ENOSPC), tmp_path / 'a')}"


def test_a_deleted_current_folder_is_named(monkeypatch):
    def fail():
        raise of(errno.ENOENT)

    before = f"{explain(of(errno.ENOENT))}"
    monkeypatch.setattr(system_errors.os, "getcwd", fail)
    assert f"{explain(of(errno.ENOENT))}" != before
    assert "/x" in f"{explain(of(errno.ENOENT, '/x'))}"


def test_a_name_that_is_not_utf_8_is_explained():
    with pytest.raises(UnicodeEncodeError) as caught:
        os.fsdecode(b"\xff").encode()
    assert explain(caught.value).hint


def test_a_long_name_is_shortened(tmp_path):
    with pytest.raises(InputError) as caught, reading(tmp_path / ("a" * 300)):
        (tmp_path / ("a" * 300)).read_bytes()
    assert len(f"{caught.value}") <= 100


def test_no_temporary_folder_is_an_error(monkeypatch):
    def fail():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(places.tempfile, "gettempdir", fail)
    with pytest.raises(InputError) as caught:
        places.temporary_folder()
    assert "TMPDIR" in caught.value.hint
    with pytest.raises(FileNotFoundError) as raised:
        fail()
    assert explain(raised.value).hint == caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
@pytest.mark.parametrize(
    ("limit", "left", "number"),
    [("RLIMIT_NOFILE", 1, errno.EMFILE), ("RLIMIT_FSIZE", 1 << 20, errno.EFBIG)],
)
def test_a_stream_error_under_a_limit_of_the_process_names_the_limit(limit, left, number):
    import resource

    name = getattr(resource, limit)
    before = resource.getrlimit(name)
    used = len(list(Path("/dev/fd").iterdir())) if number == errno.EMFILE else 0
    resource.setrlimit(name, (used + left, before[1]))
    try:
        explained = explain(RuntimeError("basic_ios::clear: iostream error"), Path("a"))
    finally:
        resource.setrlimit(name, before)
    assert f"{explained}" == f"{explain(of(number), Path('a'))}"


def test_a_loop_of_links_that_pathlib_finds_is_one_of_the_system(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises((RuntimeError, OSError)) as caught:
        (tmp_path / "a").resolve(strict=True)
    expected = system_errors.explain(OSError(errno.ELOOP, "", str(tmp_path)))
    assert system_errors.explain(caught.value).hint == expected.hint
