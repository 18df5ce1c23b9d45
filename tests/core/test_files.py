import errno
import hashlib
import os
import sys

import pytest

from ovtool.core import files
from ovtool.core.errors import InputError

TROUBLES = [
    (errno.ENOSPC, "the disk is full"),
    (errno.EROFS, "the disk is read-only"),
    (errno.EACCES, "permission denied"),
    (errno.EFBIG, "too large"),
]


def failing(number):
    """A write that fails half-way, as on a full disk."""

    def write(path):
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"

    def write(path):
        assert path.parent == target.parent  # the same disk, or it could not be renamed
        assert path.suffix == ".txt"  # libraries choose the format by it
        path.write_text("whole")
        assert not target.exists()

    assert files.write_file(target, write) == target
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize(("number", "why"), TROUBLES)
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, number, why):
    target = files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(InputError, match=f"cannot write .*a.txt: .*{why}"):
        files.write_file(target, failing(number))
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_the_writer_raises_passes_and_leaves_nothing(tmp_path):
    def write(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_file(tmp_path / "a.txt", write)
    assert names(tmp_path) == []


def test_text_is_utf_8_everywhere(tmp_path):
    assert files.write_text(tmp_path / "a", "größer").read_bytes() == "größer".encode()


def test_a_file_in_the_way_of_a_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a file is in the way"):
        files.write_text(tmp_path / "file" / "a.txt", "x")
    with (
        pytest.raises(InputError, match="a file is in the way"),
        files.new_folder(tmp_path / "file" / "made"),
    ):
        pass


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="root writes where the mode forbids it, and Windows has no such mode",
)
def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="permission denied"):
            files.write_text(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o700)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
        files.write_file(tmp_path / "a", failing(errno.EIO))
    assert names(tmp_path) == []


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "parent" / "made"
    with files.new_folder(target) as folder:
        (folder / "a").write_text("x")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["made"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("bad"), SystemExit(1)])
def test_a_folder_that_failed_is_not_there_and_the_old_one_stays(tmp_path, error):
    target = tmp_path / "made"
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
    assert names(tmp_path) == ["made"]


def test_a_replaced_folder_has_nothing_of_the_old_one(tmp_path):
    target = tmp_path / "made"
    for name in ("old", "new"):
        with files.new_folder(target, replace=True) as folder:
            (folder / name).write_text("x")
    assert names(target) == ["new"]
    assert names(tmp_path) == ["made"]


def test_a_hash_is_of_the_contents_in_order(tmp_path):
    for name, content in (("a", b"1" * 3_000_000), ("b", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b = tmp_path / "a", tmp_path / "b"
    assert files.sha256(a, b) == hashlib.sha256(b"1" * 3_000_000 + b"2").hexdigest()
    assert files.sha256(a, b) != files.sha256(b, a)


def test_an_input_file_must_be_there_and_hold_something(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert files.existing_file(str(tmp_path / "full"), "model") == tmp_path / "full"
    for name, why in (("none", "not found"), ("empty", "is empty"), (".", "is not a file")):
        with pytest.raises(InputError, match=f"model {why}"):
            files.existing_file(tmp_path / name, "model")
