"""What a client sends: the files of the variants and of the dataset, by their SHA-256.

A folder of a dataset may have many files, so that a request names only the hash of their list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.fields import validation_message
from ovtool.core.system_errors import reading
from ovtool.core.variant import RECORD
from ovtool.datasets.class_names import CLASSES
from ovtool.datasets.registry import WITHOUT_FILES, check_reference
from ovtool.fleet.messages import Data, FileSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import DataSpec
    from ovtool.evaluation.metrics import MetricRequest

_SOURCE, _LABELS = "data", "labels"
"""Folders of a dataset on a host."""


@dataclass(slots=True)
class Outgoing:
    """Files of variants by id, the dataset, and the path of each file by its SHA-256."""

    contents: dict[str, FileSet] = field(default_factory=dict)
    data: Data | None = None
    paths: dict[str, Path] = field(default_factory=dict)

    def add_variants(self, variants: Iterable[Variant]) -> None:
        """Add the files of variants."""
        for variant in variants:
            names = (variant.xml.name, variant.bin.name, RECORD, *variant.record.companions)
            self.contents[variant.id] = self._add({name: variant.folder / name for name in names})

    def add_data(
        self,
        spec: DataSpec,
        request: MetricRequest,
        baselines: Mapping[str, str | None],
        scratch: Path,
    ) -> None:
        """Add a dataset; ``scratch`` is a folder for the list of its files.

        Raises:
            InputError: The dataset does not exist, has too many files, or a name that a host
                cannot store.
        """
        kind = check_reference(spec.source, spec.labels)
        source, labels, listed = spec.source, spec.labels, None
        if kind not in WITHOUT_FILES:
            source = _place(Path(spec.source), _SOURCE)
            paths = dict(_find(Path(spec.source), _SOURCE))
            if spec.labels is not None:
                labels = _place(Path(spec.labels), _LABELS)
                paths |= dict(_find(Path(spec.labels), _LABELS))
                classes = Path(spec.labels).parent / CLASSES
                if Path(spec.labels).is_file() and classes.is_file():
                    paths[f"{_LABELS}/{CLASSES}"] = classes
            listed = self._add_list(paths, scratch)
        self.data = Data(
            source=source,
            labels=labels,
            limit=spec.limit,
            part=spec.part,
            files=listed,
            metric=request.metric,
            outputs=request.outputs,
            baselines=dict(baselines),
        )

    def _add(self, paths: Mapping[str, Path]) -> FileSet:
        hashes = {name: files.sha256(path) for name, path in paths.items()}
        self.paths |= {sha256: paths[name] for name, sha256 in hashes.items()}
        try:
            return FileSet(files=hashes)
        except ValidationError as error:
            reason = validation_message(error.errors()[0])[:200]
            raise InputError(f"files cannot be sent to a host: {reason}") from error

    def _add_list(self, paths: Mapping[str, Path], scratch: Path) -> str:
        """Add files, and return the hash of the file that lists them."""
        content = self._add(paths).model_dump_json().encode()
        target = scratch / "dataset.json"
        target.write_bytes(content)
        sha256 = files.sha256(target)
        self.paths[sha256] = target
        return sha256


def _place(path: Path, folder: str) -> str:
    """Return the path of a dataset on a host, relative to the folder of its files."""
    return folder if path.is_dir() else f"{folder}/{path.name}"


def _find(path: Path, folder: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a file or folder, with their names on a host; hidden ones are left out."""
    if path.is_file():
        yield f"{folder}/{path.name}", path
        return
    with reading(path):
        for inner in sorted(path.rglob("*")):
            name = inner.relative_to(path)
            if inner.is_file() and not any(part.startswith(".") for part in name.parts):
                yield f"{folder}/{name.as_posix()}", inner
