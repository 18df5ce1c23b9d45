"""The state of a search or a training in a file, from which an interrupted one resumes."""

from __future__ import annotations

import contextlib
import json
import zipfile
from typing import TYPE_CHECKING, Any

from ovtool.core import files
from ovtool.core.checksum import add_checksum, has_checksum, verify_checksum
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.progress import Progress


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a search as JSON, with a checksum.

    Raises:
        InputError: The folder is not writable, or the disk is full or read-only.
    """
    content = add_checksum(json.dumps(state, indent=2))
    files.write_file(path, lambda temporary: temporary.write_bytes(content))


def load_state(path: Path, progress: Progress) -> dict[str, Any] | None:
    """Return the state of a search; None without a file, or with a note for a damaged one."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    with contextlib.suppress(InputError, ValueError):
        if has_checksum(content):
            state: dict[str, Any] = parse_json(verify_checksum(content, f"{path}"))
            return state
    progress.note(f"{path} is damaged: the search begins again")
    return None


def load_checkpoint(path: Path, progress: Progress) -> dict[str, Any] | None:
    """Return the state of a training; None without a file, or with a note for a damaged one."""
    import torch

    if not path.is_file():
        return None
    with contextlib.suppress(Exception):  # a damaged file can raise anything
        with zipfile.ZipFile(path) as archive:
            intact = archive.testzip() is None  # torch.load does not compare the checksums
        if intact:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            return state
    progress.note(f"{path} is damaged: the training begins again")
    return None
