import errno
import hashlib
import os
import re
import sys

import pytest

from ovtool.core import files
from ovtool.core.errors import InputError

WRITE_ERRORS = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG]


def failing(number):
    """Return a write that fails halfway, as on a full disk."""

    def write(path):
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
    with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
        files.write_file(tmp_path / "a", failing(errno.EIO))
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
