"""The files of a bundle: exactly those of its manifest, unchanged, with the code of ovtool."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool import __version__
from ovtool.core import files, units
from ovtool.core.errors import InputError
from ovtool.deploy.manifest import MANIFEST, Manifest, read_manifest
from ovtool.deploy.rendering import binary_paths, render_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

VERIFICATION = "VERIFICATION.json"
"""The rungs that were reached last; not one of the hashed files."""
AGAIN = "get the bundle again"
_SHOWN = 3


def check_files(folder: Path) -> Manifest:
    """Check that a bundle has exactly its files, unchanged, and the code that ovtool writes.

    Raises:
        InputError: It does not; the message names the file.
    """
    manifest = read_manifest(folder)
    texts = render_texts(manifest)
    expected = {*texts, *binary_paths(manifest)}
    wrong = sorted(set(manifest.files) ^ expected)
    if wrong and manifest.ovtool != __version__:
        raise _other_text(folder, wrong[0], manifest)
    if wrong:
        raise InputError(
            f"{folder / MANIFEST} does not list the files of such a bundle: {_listed(wrong)}",
            AGAIN,
        )
    present = set(_walk(folder, expected | {MANIFEST}))
    missing = sorted(expected - present)
    if missing:
        raise InputError(f"files of {folder} are missing: {_listed(missing)}", AGAIN)
    for path, recorded in sorted(manifest.files.items()):
        size = (folder / path).stat().st_size
        if size != recorded.bytes:
            raise InputError(
                f"{folder / path} was changed: {size} bytes, recorded {recorded.bytes}", AGAIN
            )
        if path in texts and size != len(texts[path]):
            raise _other_text(folder, path, manifest)
    for path, recorded in sorted(manifest.files.items()):
        if files.sha256(folder / path) != recorded.sha256:
            raise InputError(f"{folder / path} was changed: the hash differs", AGAIN)
        if path in texts and (folder / path).read_bytes() != texts[path]:
            raise _other_text(folder, path, manifest)
    return manifest


def _other_text(folder: Path, path: str, manifest: Manifest) -> InputError:
    """Return the error of a text that is not what ovtool writes for the manifest."""
    if manifest.ovtool != __version__:
        return InputError(
            f"{folder} is not a bundle of ovtool {__version__}: nothing of it is run",
            f"verify with ovtool {manifest.ovtool}, which wrote the bundle",
        )
    return InputError(
        f"{folder / path} is not what ovtool writes for this {MANIFEST}: nothing is run", AGAIN
    )


def _walk(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield the relative paths of the files of a bundle; raise at the first foreign one.

    Raises:
        InputError: A file or folder is not of the bundle, or not a regular file.
    """
    folders = {parent.as_posix() for path in expected for parent in Path(path).parents}
    beside = {files.MARKER, VERIFICATION}
    pending = ["."]
    while pending:
        parent = pending.pop()
        for path in sorted((folder / parent).iterdir()):
            name = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and name in folders:
                pending.append(name)
            elif not stat.S_ISREG(mode) and name in expected:
                raise InputError(f"{path} is not a regular file", AGAIN)
            elif name in expected:
                yield name
            elif name not in beside:
                cache = path.name == "__pycache__"
                hint = f"Python wrote it: remove the folder {path}" if cache else "remove it"
                raise InputError(f"{path} is not a file of the bundle", hint)


def _listed(names: list[str]) -> str:
    return units.listing(names, _SHOWN)
