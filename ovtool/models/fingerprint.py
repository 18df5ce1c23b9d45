"""Whether a source is still what a variant was made of, told without reading it as a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.models.bundled import networks
from ovtool.models.source_table import kind_of

if TYPE_CHECKING:
    from ovtool.models.options import SourceOptions

BESIDE = {".xml": (".bin",), ".pdmodel": (".pdiparams",), ".onnx": (".onnx.data", ".data")}
"""Files that belong to another one by their names."""


def fingerprint(reference: str, options: SourceOptions) -> str | None:
    """Return a hash of a source's files and of how it is read.

    None where no file tells: a ``module:function`` may import anything.  The packages of a sample
    are pinned to one version each, and the untrained networks are in one file.

    Raises:
        InputError: The reference is no source.
    """
    kind = kind_of(reference)
    digest = hashlib.sha256(json.dumps(_reading(options), sort_keys=True).encode())
    if kind == "torch":
        return None
    if kind == "sample":
        digest.update(f"{reference} {files.sha256(Path(networks.__file__))}".encode())
        return digest.hexdigest()
    path = Path(reference)
    if not path.exists():
        return None
    for part in _parts(path):
        digest.update(f"{part.name} {files.sha256(part)}".encode())
    if options.weights is not None and Path(options.weights).is_file():
        digest.update(files.sha256(Path(options.weights)).encode())
    return digest.hexdigest()


def _reading(options: SourceOptions) -> dict[str, object]:
    """Return the options that decide what a source becomes."""
    return options.model_dump(mode="json", exclude={"trust", "tolerance"})


def _parts(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    beside = [path.with_suffix(suffix) for suffix in BESIDE.get(path.suffix.lower(), ())]
    return [path, *(p for p in beside if p.is_file())]
