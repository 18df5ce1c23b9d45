"""Folders that another program takes away while a command works in them."""

import shutil
import sys
from pathlib import Path

import pytest

from ovtool.core import files, holding
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from tests.helpers import sweeps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses the removal")


def remove(folder):
    shutil.rmtree(folder)


def rename(folder):
    folder.rename(folder.with_name("elsewhere"))


def replace(folder):
    """The new folder may get the number of the removed one."""
    shutil.rmtree(folder)
    folder.mkdir()


def link(folder):
    rename(folder)
    folder.symlink_to(folder.parent, target_is_directory=True)


TAKEN = pytest.mark.parametrize("take", [remove, rename, replace, link])


@TAKEN
@pytest.mark.parametrize("made_before", [True, False])
def test_nothing_is_written_to_a_folder_that_was_taken_away(tmp_path, take, made_before):
    folder = tmp_path / "out"
    if made_before:
        folder.mkdir()
    with pytest.raises(InputError, match=str(folder)), holding.holding(folder):  # noqa: PT012
        files.write_text(folder / "first.txt", "1")
        take(folder)
        files.write_text(folder / "sub" / "second.txt", "2")
    assert not (folder / "sub").exists()
    files.write_text(folder / "third.txt", "3")  # later work is free
    assert holding._held == {}


@TAKEN
def test_a_folder_that_is_gone_at_the_end_is_no_success(tmp_path, take):
    folder = tmp_path / "out"
    with pytest.raises(InputError, match=str(folder)), holding.holding(folder):  # noqa: PT012
        files.write_text(folder / "first.txt", "1")
        take(folder)


def test_errors_of_a_removed_folder_are_its_removal_and_others_are_their_own(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="another"), holding.holding(folder):
        raise RuntimeError("another")
    with pytest.raises(InputError, match=str(folder)), holding.holding(folder):  # noqa: PT012
        remove(folder)
        raise RuntimeError("a library cannot open a file")


def test_no_file_stays_open(tmp_path):
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        with holding.holding(tmp_path), holding.holding(tmp_path):
            pass
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_new_folder_whose_parent_is_taken_away_leaves_nothing(tmp_path):
    parent = tmp_path / "parent"
    with pytest.raises(InputError, match=str(parent)), files.new_folder(parent / "out") as made:  # noqa: PT012
        (made / "file").write_text("1")
        remove(parent)
    assert list(tmp_path.iterdir()) == []


@TAKEN
def test_a_journal_is_not_begun_again(tmp_path, take):
    folder = tmp_path / "sweep"
    measurements = [sweeps.measure(trial) for trial in sweeps.trials(batches=(1,))]
    folder.mkdir()
    with pytest.raises(InputError, match=str(folder)), holding.holding(folder):  # noqa: PT012
        SweepFolder(folder).append(measurements[:1])
        take(folder)
        SweepFolder(folder).append(measurements[1:])
    assert not (folder / "journal.jsonl").exists()
