"""Saved states are read as they were written, or not at all."""

import math

import pytest
import torch

from ovtool.compression.saved_state import load_checkpoint, load_state, save_state
from ovtool.core import files
from ovtool.core.progress import SILENT


def save_checkpoint(path, state):
    files.write_file(path, lambda temporary: torch.save(state, temporary))


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    ("save", "load"), [(save_state, load_state), (save_checkpoint, load_checkpoint)]
)
def test_a_damaged_state_is_not_used(save, load, tmp_path, progress):
    path = tmp_path / "state"
    assert load(path, SILENT) is None
    save(path, {"spent_s": 1.5, "noise": math.inf, "names": ["a" * 40]})
    assert load(path, SILENT) == {"spent_s": 1.5, "noise": math.inf, "names": ["a" * 40]}
    whole = path.read_bytes()
    middle = whole.index(b"a" * 40) + 20
    damaged = [b"", b"{}", b"null", whole[:-10], whole[:middle], flip(whole, middle)]
    for content in damaged:
        path.write_bytes(content)
        assert load(path, progress) is None
    assert progress.notes == len(damaged) * [progress.notes[0]]
    assert f"{path} is damaged" in progress.notes[0]
