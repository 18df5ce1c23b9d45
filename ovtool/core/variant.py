"""A variant: an OpenVINO IR (``model.xml``, ``model.bin``) with ``variant.json`` next to it.

The IR of a language model is ``openvino_model``, beside its tokenizer and configuration.

The record has the source, every compression step with its settings, and the differences between
the outputs of the conversion and of the source.  The uncompressed conversion is a variant too.
Measurements and evaluations use the saved IR; the hash of its files is the id.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator

from ovtool.core import files, units
from ovtool.core.checksum import add_checksum, verify_checksum
from ovtool.core.companions import (
    STEM,
    Stem,
    check_names,
    hash_companions,
    is_text_generator,
    verify_companions,
)
from ovtool.core.conversion_check import ConversionCheck
from ovtool.core.errors import InputError
from ovtool.core.fields import Record, invalid_content
from ovtool.core.notes import Note
from ovtool.core.ports import Port, Preprocessing, fixed_batch
from ovtool.core.shapes import shapes_text
from ovtool.core.system_errors import reading
from ovtool.core.tabular import Tabular

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino as ov


RECORD = "variant.json"
NETWORK = "network.safetensors"
"""Weights of the PyTorch network of the graph, if later steps can train it."""

TRAINING = frozenset({"train"})
"""Methods that keep the size of a network."""

_NUMBERED = re.compile(r"[A-Z]\w*_\d+")


class Source(Record):
    """Source of a model.

    ``sha256`` is the hash of the files, or of the graph that a function of Python code built: text
    of the code that has no effect on the graph does not change it.  ``fingerprint`` also covers the
    options of the conversion; None if no file shows whether the source changed.  ``weights``,
    ``input_shapes`` and ``input_dtypes`` are the options that build a PyTorch network again.
    """

    kind: str
    reference: str
    sha256: str | None = None
    fingerprint: str | None = None
    compression: str = "none"
    """Compression that the source has already: ``none``, the type of quantized activations and
    weights such as ``int8``, or ``weights`` and their types, such as ``weights int4``."""
    weights: str | None = None
    input_shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    input_dtypes: dict[str, str] = Field(default_factory=dict)


class SampleHashes(Record):
    """Hashes of the inputs of the different samples of a data set.

    ``count`` is their number; ``smallest`` are all hashes, or the smallest ones in ascending order.
    """

    count: int
    smallest: tuple[str, ...]


class Step(Record):
    """A compression step with all settings, including defaults."""

    method: str
    settings: dict[str, Any]
    data: str | None = None
    """Calibration data: the reference and the number of samples."""
    samples: dict[str, SampleHashes] = Field(default_factory=dict)
    """Hashes of the samples by their purpose."""
    seconds: float
    details: dict[str, Any] = Field(default_factory=dict)


class VariantRecord(Record):
    """Content of ``variant.json``."""

    schema_version: Literal[1] = 1
    name: str
    source: Source
    parent: str | None = None
    """Id of the input variant of the last step."""
    steps: tuple[Step, ...] = ()
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batch: Literal["dynamic", "static", "none"]
    """``none``: no input has a batch dimension, so a request is one sample."""
    batch_note: str = ""
    """Why the batch is not dynamic, or which other dimension may be the batch."""
    preprocessing: Preprocessing | None = None
    check: ConversionCheck | None = None
    notes: tuple[Note, ...] = ()
    """Warnings of conversion and steps; ids in :data:`ovtool.core.notes.VARIANT_NOTES`."""
    sha256: str
    """Hash of the graph and its weights; the first 12 digits are the id of the variant."""
    network_sha256: str | None = None
    """Hash of network.safetensors; None without this file."""
    stem: Stem = STEM
    """Name of the IR without its suffix; programs for language models read ``openvino_model``."""
    companions: dict[str, str] = Field(default_factory=dict)
    """Name to hash of the other files of a language model, such as its tokenizer."""
    xml_bytes: int
    bin_bytes: int
    created: str
    versions: dict[str, str]

    @field_validator("companions")
    @classmethod
    def _check_companions(cls, companions: dict[str, str]) -> dict[str, str]:
        check_names(companions)
        return companions

    @property
    def batch_size(self) -> int | None:
        """Samples of one request: 1 without a batch dimension; None for a dynamic batch."""
        return fixed_batch(self.inputs)

    @property
    def generates_text(self) -> bool:
        """Whether the model is a text generator with its cache as state."""
        return is_text_generator(self.inputs)

    @property
    def batch_text(self) -> str:
        """The batch for people, with its dimension where it is not the first of every port."""
        if self.batch == "none":
            return "no batch dimension"
        text = "batch dynamic" if self.batch_size is None else f"batch {self.batch_size}, fixed"
        axes: dict[int | None, list[str]] = {}
        for port in (*self.inputs, *self.outputs):
            axes.setdefault(port.batch_axis, []).append(port.name)
        if set(axes) == {0}:
            return text
        parts = [
            f"dimension {axis} of {', '.join(axes[axis])}" for axis in axes if axis is not None
        ]
        if None in axes:
            parts.append(f"none in {', '.join(axes[None])}")
        return f"{text} ({'; '.join(parts)})"

    @property
    def provenance(self) -> tuple[object, ...]:
        """Source, steps and versions; records with equal provenance describe the same variant."""
        steps = [(s.method, s.settings, s.data) for s in self.steps]
        return self.source, self.parent, steps, self.preprocessing, self.versions


@dataclass(frozen=True, repr=False)
class Variant(Tabular):
    """A variant on disk."""

    folder: Path
    record: VariantRecord
    failure: str = ""
    """Why the variant has no files: its conversion or compression ended the process."""

    @classmethod
    def load(cls, folder: str | Path) -> Variant:
        """Read a variant, and check the size and the hash of its files.

        Raises:
            InputError: A file is missing or was changed, or ``variant.json`` is invalid.
        """
        path = Path(folder)
        record_path = path / RECORD
        with reading(record_path):
            content = files.existing_file(record_path, "variant record").read_bytes()
        try:
            record = VariantRecord.model_validate_json(verify_checksum(content, f"{record_path}"))
        except ValidationError as error:
            raise invalid_content(record_path, error) from error
        loaded = cls(path, record)
        loaded.verify()
        return loaded

    def verify(self) -> None:
        """Check the size and the hash of the files.

        Raises:
            InputError: A file is missing or was changed.
        """
        for file, size in ((self.xml, self.record.xml_bytes), (self.bin, self.record.bin_bytes)):
            if not file.is_file():
                raise InputError(f"{file} is missing", "convert the source again")
            if file.stat().st_size != size:
                raise InputError(
                    f"{file} was changed: {file.stat().st_size} bytes, recorded {size}",
                    "convert the source again",
                )
        if files.verified_sha256(self.xml, self.bin) != self.record.sha256:
            raise InputError(
                f"{self.xml.name} or {self.bin.name} in {self.folder} was changed: the hash differs"
                f" from {RECORD}",
                "convert the source again",
            )
        verify_companions(self.folder, self.record.companions)

    def __fspath__(self) -> str:
        """Return the folder: a variant is a path."""
        return str(self.folder)

    def _title(self) -> str:
        record = self.record
        steps = ", ".join(step.method for step in record.steps) or "uncompressed"
        if self.failure:
            return f"{self.name}, failed: {self.failure}"
        return f"{self.name}, {steps}, {units.text(self.model_mib)} MiB, {record.batch_text}"

    def _rows(self) -> list[dict[str, Any]]:
        record = self.record
        return [
            {
                "variant": self.name,
                "variant_id": self.id,
                "source": record.source.reference,
                "steps": ", ".join(step.method for step in record.steps),
                "model_mib": None if self.failure else self.model_mib,
                "batch": record.batch_text,
                "inputs": shapes_text((p.name, p.shape) for p in record.inputs),
                "outputs": shapes_text((p.name, p.shape) for p in record.outputs),
                "folder": str(self.folder),
                "failure": self.failure or None,
            }
        ]

    @property
    def name(self) -> str:
        """Name of the variant."""
        return self.record.name

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of the files."""
        return self.record.sha256[:12]

    @property
    def xml(self) -> Path:
        """Path of the graph."""
        return self.folder / f"{self.record.stem}.xml"

    @property
    def bin(self) -> Path:
        """Path of the weights."""
        return self.folder / f"{self.record.stem}.bin"

    @property
    def model_mib(self) -> float:
        """Size of both files in MiB."""
        return units.mib(self.record.xml_bytes + self.record.bin_bytes)

    @property
    def compressed(self) -> bool:
        """Whether the source is compressed, or a step other than training; else a baseline."""
        steps = any(step.method not in TRAINING for step in self.record.steps)
        return steps or self.record.source.compression != "none"


def check_target(target: Path, replace: bool = False) -> None:
    """Check that a variant may be saved in a folder.

    Raises:
        InputError: The folder exists without ``replace``, is not a variant, or has other files.
    """
    if target.exists() and replace and not (target / RECORD).is_file():
        raise InputError(f"folder exists and is not a variant: {target}", "use another --out")
    files.check_new_folder(target, replace)


def save(
    target: Path,
    model: ov.Model,
    describe: Callable[[Path], dict[str, Any]],
    replace: bool = False,
    stem: Stem = STEM,
    write_companions: Callable[[Path], None] | None = None,
) -> Variant:
    """Save a model as a variant; on an error no folder is left.

    Args:
        target: Folder of the variant.
        model: The graph, saved without further conversion of weights. It is freed before
            ``describe`` is called if the caller keeps no reference.
        describe: Receives the path of the saved graph and can check it; returns the fields of the
            record except those of the files.
        replace: Whether an existing variant may be replaced.
        stem: Name of the IR without its suffix.
        write_companions: Writes other files that belong to the model into the folder.

    Raises:
        InputError: The folder exists, or is not writable.
    """
    import openvino as ov

    check_target(target, replace)
    assign_stable_names(model)
    with files.new_folder(target, replace) as folder:
        graph, weights = folder / f"{stem}.xml", folder / f"{stem}.bin"
        ov.save_model(model, graph, compress_to_fp16=False)
        del model
        weights.touch()  # OpenVINO writes no .bin for a model without constants
        if write_companions is not None:
            write_companions(folder)
        record = VariantRecord(
            stem=stem,
            companions=hash_companions(folder, (graph.name, weights.name)),
            sha256=files.sha256(graph, weights),
            xml_bytes=graph.stat().st_size,
            bin_bytes=weights.stat().st_size,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            **describe(graph),
        )
        (folder / RECORD).write_bytes(add_checksum(record.model_dump_json(indent=2)))
    files.mark_kept(target, "a variant")
    return Variant(target, record)


def assign_stable_names(model: ov.Model, numbered: bool = False) -> None:
    """Replace generated names of model and operations by names that depend on the graph only.

    OpenVINO numbers generated names by a counter of the process, so the hash of the same model
    would differ between processes.

    Args:
        model: Changed in place.
        numbered: Whether names such as ``Multiply_2758`` count as generated for every operation,
            not only for constants.  OpenVINO's conversion generates them when it fuses and folds;
            other sources may use such names.
    """
    if re.fullmatch(r"Model\d+", model.get_friendly_name()):
        model.set_friendly_name("model")
    operations = model.get_ordered_ops()
    used = {operation.get_friendly_name() for operation in operations}
    for place, operation in enumerate(operations):
        current = operation.get_friendly_name()
        replaceable = numbered or operation.get_type_name() == "Constant"
        if current == operation.get_name() or (replaceable and _NUMBERED.fullmatch(current)):
            name = f"{operation.get_type_name()}.{place}"
            while name in used:
                name += "'"
            used.add(name)
            operation.set_friendly_name(name)


def versions(*others: str) -> dict[str, str]:
    """Return the versions of the packages that affect a variant, without importing them.

    ``others`` are further packages.
    """
    from importlib.metadata import PackageNotFoundError, version

    installed = {}
    for package in ("ovtool", "openvino", "nncf", "torch", "onnx", "transformers", *others):
        with contextlib.suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed
