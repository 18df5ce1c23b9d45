"""A variant: an OpenVINO IR (``model.xml``, ``model.bin``) with ``variant.json`` next to it.

The record says where the model came from, every step taken with its settings, and how far its
outputs were seen to differ from the source's.  The unchanged conversion is a variant too.  What is
measured and evaluated is always the saved IR, found by the hash of its two files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ovtool.core import files, units
from ovtool.core.errors import InputError
from ovtool.core.shapes import port_name, shapes_text
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    import openvino as ov

    from ovtool.core.shapes import Named

MODEL, WEIGHTS, RECORD = "model.xml", "model.bin", "variant.json"
NETWORK = "network.safetensors"
"""Weights of the torch network that the graph was made of, where later steps can train it."""


TRAINING = frozenset({"train"})
"""Methods that leave a network as large as it was."""


_NUMBERED = re.compile(r"[A-Z]\w*_\d+")


class Record(BaseModel):
    """Base of everything that is stored: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Size = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Preprocessing(Record):
    """What is done to an image before it enters the network, as ``(pixel - mean) / scale``.

    ``size`` is [height, width].  ``resize`` is ``crop`` (shorter side to ``size / crop_fraction``,
    then the centre) or ``stretch``.  ``mean`` and ``scale`` are in units of 0..255 pixels, one
    figure or one a channel.
    """

    size: tuple[Size, Size] | None = None
    resize: Literal["crop", "stretch"] = "crop"
    crop_fraction: float = Field(default=0.875, gt=0, le=1)
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    mean: tuple[Finite, ...] = (0.0,)
    scale: tuple[Finite, ...] = (1.0,)


class Port(Record):
    """One input or output: ``shape`` has -1 for a dimension that is open."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str | None = None

    @property
    def batch_axis(self) -> int | None:
        """Index of the batch dimension; None when the layout does not tell."""
        return self.layout.index("N") if self.layout and "N" in self.layout else None


class OutputDifference(Record):
    """How far an output of the conversion lies from the source's on the same inputs."""

    output: str
    max_abs_difference: float
    largest_value: float
    """Largest absolute value of the source's output: the scale of the difference."""


class ConversionCheck(Record):
    """Outputs compared after a conversion; ``against`` names what computed the source's."""

    against: str
    tolerance: float
    """Largest difference allowed, as a share of the output's largest absolute value."""
    inputs: str
    differences: tuple[OutputDifference, ...]

    @property
    def max_abs_difference(self) -> float:
        """The largest difference over all outputs."""
        return max((d.max_abs_difference for d in self.differences), default=0.0)


class Source(Record):
    """Where a model came from.

    ``sha256`` is of its files, or None where it has none.  ``fingerprint`` also covers the options
    that it was read with, and is None where no file tells whether it changed.
    """

    kind: str
    reference: str
    sha256: str | None = None
    fingerprint: str | None = None


class Step(Record):
    """One compression step with every setting it ran with, defaults included."""

    method: str
    settings: dict[str, Any]
    data: str | None = None
    """What it was calibrated on: the reference and the number of samples."""
    seconds: float
    details: dict[str, Any] = Field(default_factory=dict)


class VariantRecord(Record):
    """What ``variant.json`` holds."""

    schema_version: Literal[1] = 1
    name: str
    source: Source
    parent: str | None = None
    """Id of the variant that the last step was applied to."""
    steps: tuple[Step, ...] = ()
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batch: Literal["dynamic", "static"]
    batch_note: str = ""
    preprocessing: Preprocessing | None = None
    check: ConversionCheck | None = None
    sha256: str
    """Of model.xml and model.bin together; its first 12 digits are the variant's id."""
    network_sha256: str | None = None
    """Of network.safetensors, where there is one."""
    xml_bytes: int
    bin_bytes: int
    created: str
    versions: dict[str, str]

    def same_work(self, other: VariantRecord) -> bool:
        """Whether the other record came from the same source by the same steps and versions."""

        def work(record: VariantRecord) -> tuple[object, ...]:
            steps = [(s.method, s.settings, s.data) for s in record.steps]
            return record.source, record.parent, steps, record.preprocessing, record.versions

        return work(self) == work(other)


@dataclass(frozen=True)
class Variant:
    """A variant on disk."""

    folder: Path
    record: VariantRecord

    @classmethod
    def load(cls, folder: str | Path) -> Variant:
        """Read a variant's folder and check that its files are the ones recorded.

        Raises:
            InputError: A file is missing or was changed, or ``variant.json`` cannot be read.
        """
        path = Path(folder)
        record_path = files.existing_file(path / RECORD, "variant record")
        try:
            record = VariantRecord.model_validate_json(record_path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{record_path}: {where}: {first['msg']}") from error
        for name, size in ((MODEL, record.xml_bytes), (WEIGHTS, record.bin_bytes)):
            file = path / name
            if not file.is_file():
                raise InputError(f"{file} is missing", "convert the source again")
            if file.stat().st_size != size:
                raise InputError(
                    f"{file} was changed: {file.stat().st_size} bytes, recorded {size}",
                    "convert the source again",
                )
        return cls(path, record)

    @cached_property
    def intact(self) -> bool:
        """Whether the two files still have the hash that was recorded (reads them whole)."""
        return files.sha256(self.xml, self.bin) == self.record.sha256

    @property
    def name(self) -> str:
        """The name it was given."""
        return self.record.name

    @property
    def id(self) -> str:
        """First 12 hexadecimal digits of the hash of its two files."""
        return self.record.sha256[:12]

    @property
    def xml(self) -> Path:
        """The IR's graph."""
        return self.folder / MODEL

    @property
    def bin(self) -> Path:
        """The IR's weights."""
        return self.folder / WEIGHTS

    @property
    def model_mib(self) -> float:
        """Size of both files."""
        return units.mib(self.record.xml_bytes + self.record.bin_bytes)

    @property
    def compressed(self) -> bool:
        """Whether any step but training was taken; what is not compressed is a baseline."""
        return any(step.method not in TRAINING for step in self.record.steps)


def check_target(target: Path, replace: bool = False) -> None:
    """Check that a variant may be made in a folder, before the work that fills it.

    Raises:
        InputError: The folder exists and ``replace`` is not set, or it holds anything but a
            variant: that is never replaced.
    """
    if not target.exists():
        return
    if not replace:
        raise InputError(f"already there: {target}", "give another --out, or --force to replace it")
    if not (target / RECORD).is_file():
        raise InputError(f"not a variant, so it is not replaced: {target}", "give another --out")


def save(
    target: Path,
    model: ov.Model,
    describe: Callable[[Path], dict[str, Any]],
    replace: bool = False,
) -> Variant:
    """Save a model as a variant, in a folder that appears whole or not at all.

    Args:
        target: The folder to make.
        model: The graph, saved as it is (no further conversion of weights).
        describe: Called with the path of the saved ``model.xml`` before the folder gets its name,
            so that the saved file can be checked; returns the record's fields other than those
            about the files.  An error it raises leaves nothing behind.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: The folder is there already, or cannot be written.
    """
    import openvino as ov

    check_target(target, replace)
    name_the_unnamed(model)
    with files.new_folder(target, replace) as folder:
        ov.save_model(model, folder / MODEL, compress_to_fp16=False)
        weights = folder / WEIGHTS
        weights.touch()  # a model without constants has no .bin of its own
        record = VariantRecord(
            sha256=files.sha256(folder / MODEL, weights),
            xml_bytes=(folder / MODEL).stat().st_size,
            bin_bytes=weights.stat().st_size,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            **describe(folder / MODEL),
        )
        (folder / RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")
    return Variant(target, record)


def name_the_unnamed(model: ov.Model, numbered: bool = False) -> None:
    """Give a model and operations without a name one that depends on the graph alone.

    OpenVINO would write a number that counts all those the process ever made, and the same model
    would have another hash in every process.

    Args:
        model: Whose operations are named.
        numbered: Whether names such as ``Multiply_2758`` count as none for every operation, not
            for constants alone: OpenVINO gives them to what it fuses and folds while it converts.
            Other sources may name their operations so.
    """
    if re.fullmatch(r"Model\d+", model.get_friendly_name()):
        model.set_friendly_name("model")
    operations = model.get_ordered_ops()
    taken = {operation.get_friendly_name() for operation in operations}
    for place, operation in enumerate(operations):
        given = operation.get_friendly_name()
        counted = numbered or operation.get_type_name() == "Constant"
        if given == operation.get_name() or (counted and _NUMBERED.fullmatch(given)):
            name = f"{operation.get_type_name()}.{place}"
            while name in taken:
                name += "'"
            taken.add(name)
            operation.set_friendly_name(name)


def ports(model: ov.Model) -> dict[str, tuple[Port, ...]]:
    """Return the record's ``inputs`` and ``outputs`` of a graph, layouts included."""

    def port(kind: str, index: int, output: Any) -> Port:
        shape = tuple(d.get_length() if d.is_static else -1 for d in output.get_partial_shape())
        layout = output.get_node().layout if kind == "input" else None
        letters = "" if layout is None or layout.empty else layout.to_string()
        return Port(
            name=port_name(output.get_names(), kind, index),
            shape=shape,
            dtype=output.get_element_type().get_type_name(),
            layout="".join(c for c in letters if c.isalnum() or c in "?.") or None,
        )

    return {
        "inputs": tuple(port("input", i, p) for i, p in enumerate(model.inputs)),
        "outputs": tuple(port("output", i, p) for i, p in enumerate(model.outputs)),
    }


def versions() -> dict[str, str]:
    """Return the versions of what shapes a variant, without importing any of it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("ovtool", "openvino", "nncf", "torch", "onnx"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def fix_shapes(model: ov.Model, shapes: Named, name: str) -> None:
    """Give the inputs of a graph these shapes, in their order.

    Args:
        model: Changed in place.
        shapes: A name for people and a shape for each input.
        name: Of the variant.

    Raises:
        InputError: The graph does not take them.
    """
    import openvino as ov

    try:
        model.reshape({i: ov.PartialShape(list(shape)) for i, (_, shape) in enumerate(shapes)})
    except RuntimeError as error:
        raise InputError(f"{name} does not take {shapes_text(shapes)}: {reason(error)}") from error
