"""``MANIFEST.json``: what a bundle contains, where it comes from, and what it promises.

A bundle may come from a stranger: every text has a limit, paths cannot leave the folder, and the
other text files of a bundle are a function of this record (:mod:`.rendering`).
"""

from __future__ import annotations

import keyword
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from ovtool.core import files
from ovtool.core.checksum import add_checksum, verify_checksum
from ovtool.core.columns import COLUMNS
from ovtool.core.companions import check_names
from ovtool.core.errors import InputError
from ovtool.core.fields import Record, invalid_content
from ovtool.core.shapes import OPEN
from ovtool.core.system_errors import reading
from ovtool.core.trial import Trial
from ovtool.deploy.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.ports import Port, Preprocessing

MANIFEST = "MANIFEST.json"
_MAX_BYTES = 4 << 20
_RESERVED = frozenset({
    "numpy", "openvino", "openvino_genai", "openvino_tokenizers", "ovtool", "samples", "PIL",
})  # fmt: skip

_TEXTS = frozenset(column.name for column in COLUMNS if column.text)
_NUMBERS = frozenset(n for column in COLUMNS if not column.text for n in column.names)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+!_-]{1,64}$")]
PackageName = Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,64}$")]
Line = Annotated[str, Field(max_length=500, pattern=r"^[^\r\n]*$")]
Prompt = Annotated[str, Field(min_length=1, max_length=20_000)]
Purpose = Literal["model", "images", "server"]
Size = Annotated[int, Field(ge=0, le=1 << 40)]
Scalar = FiniteFloat | int | str | None


class StrictRecord(Record):
    """Base of the records of a manifest: values have their types, nothing is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BundleFile(StrictRecord):
    """A file of a bundle."""

    sha256: Sha256
    bytes: Size


class BundlePort(StrictRecord):
    """An input or output of the graph; -1 is an open dimension.

    ``data_shape`` is the shape in which a request was measured.
    """

    name: Line
    shape: tuple[int, ...]
    data_shape: tuple[int, ...] = ()
    dtype: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,16}$")]
    batch_axis: Annotated[int, Field(ge=0, le=16)] | None = None


class Package(StrictRecord):
    """An installed Python package; those of a purpose are optional."""

    name: PackageName
    version: Version
    license: Line = "unknown"
    purpose: Purpose = "model"
    """What needs the package: the model, reading image files, or the server."""
    direct: bool = True
    """Whether the code of the bundle imports the package; others are its dependencies."""


class Origin(StrictRecord):
    """The variant that a bundle runs."""

    name: Line
    sha256: Sha256
    source: Line
    source_sha256: Sha256 | None
    steps: tuple[Line, ...]


class Requirement(StrictRecord):
    """The device and the machine that the bundle was measured on, and stored its outputs."""

    full_name: Line
    machine: Line
    python: Version
    system: Line


class MeasuredRow(StrictRecord):
    """The row of the sweep.

    Args:
        kind: What its figures are.
        machine: Machine of the sweep.
        verdict: Stability of the measurement.
        figures: Values by column; unknown values are None.
    """

    kind: Literal["measured"]
    label: Line
    machine: Line
    verdict: Line | None
    figures: dict[Line, Scalar]

    @field_validator("figures")
    @classmethod
    def _check_figures(cls, figures: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in figures.items():
            if name not in _TEXTS | _NUMBERS:
                raise ValueError(f"{name} is not a column")
            if value is not None and isinstance(value, str) != (name in _TEXTS):
                raise ValueError(f"{name} is {'not a text' if name in _TEXTS else 'not a number'}")
        return figures


class StoredSamples(StrictRecord):
    """The samples and outputs of a bundle, and how far outputs may differ.

    Args:
        data: The dataset.
        count: Number of samples.
        tolerance: Largest difference from the stored outputs, relative to the largest output; of
            a language model, the share of tokens that may differ: none.
        precision_difference: Difference of the evaluated variant on the device from the CPU in
            f32, on these samples.
    """

    data: Line
    count: Annotated[int, Field(ge=1, le=1000)]
    tolerance: Annotated[float, Field(ge=0, le=0.05)]
    precision_difference: FiniteFloat | None


class TextSettings(StrictRecord):
    """A language model: its files beside the graph, and the stored prompts.

    Args:
        files: Names of the files that openvino-genai reads beside the graph and its weights.
        prompts: Stored prompts.
        max_new_tokens: Tokens that the stored outputs have at most, by greedy search.
    """

    files: tuple[Line, ...]
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=100)]
    max_new_tokens: Annotated[int, Field(ge=1, le=10_000)]

    @field_validator("files")
    @classmethod
    def _check_files(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names


class Licenses(StrictRecord):
    """Licenses of model and data as far as they are known."""

    model: Line = "unknown"
    data: Line = "unknown"


class Manifest(StrictRecord):
    """Content of ``MANIFEST.json``."""

    schema_version: Literal[1] = 1
    target: str
    package: Annotated[str, Field(max_length=64)]
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    ovtool: Version
    packages: tuple[Package, ...]
    requires: Requirement
    trial: Trial
    """The measured configuration, with the arrival rate of its row."""
    requests: Annotated[int, Field(ge=1, le=10_000)]
    properties: dict[Line, Line]
    inputs: tuple[BundlePort, ...]
    outputs: tuple[BundlePort, ...]
    image: ImageSteps | None
    text: TextSettings | None
    labels: tuple[Line, ...] = ()
    variant: Origin
    row: MeasuredRow
    samples: StoredSamples
    licenses: Licenses
    server: bool = False
    """Whether the bundle has a server."""
    docker: bool = False
    """Whether the bundle has a ``Dockerfile``."""
    files: dict[str, BundleFile] = Field(default_factory=dict)

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: str) -> str:
        if target not in TARGETS:
            raise ValueError("not a target")
        return target

    @field_validator("package")
    @classmethod
    def _check_package(cls, package: str) -> str:
        if not is_package_name(package):
            raise ValueError("not a name for a Python package")
        return package

    @model_validator(mode="after")
    def _check_shapes(self) -> Manifest:
        """Check that the inputs have the batch of the trial, and fixed sizes of data."""
        if self.text is not None:
            if self.samples.count != len(self.text.prompts) or self.inputs or self.outputs:
                raise ValueError("a language model has prompts as samples, and no other inputs")
            return self
        if self.trial.batch < 1 or not self.inputs or not self.outputs:
            raise ValueError("a bundle has a batch, inputs and outputs")
        if not self.samples.tolerance:
            raise ValueError("the outputs of a bundle have a tolerance")
        for port in self.inputs:
            sizes = zip(port.shape, port.data_shape, strict=False)
            axis = port.batch_axis
            fits = len(port.shape) == len(port.data_shape) and all(
                data >= 1 and size in (OPEN, data) for size, data in sizes
            )
            if axis is not None and fits:
                fits = axis < len(port.shape) and port.data_shape[axis] == self.trial.batch
            if not fits:
                raise ValueError(f"the shapes of input {port.name} do not fit the batch")
        return self

    def version_of(self, package: str) -> str | None:
        """Return the version of a package; None if the bundle does not have it."""
        return next((p.version for p in self.packages if p.name == package), None)


class ImageSteps(StrictRecord):
    """Crop and resizing of image files, outside of the graph; see :class:`.Preprocessing`."""

    size: tuple[int, int]
    resize: Literal["crop", "stretch"]
    crop_fraction: Annotated[float, Field(gt=0, le=1)]
    mode: Literal["RGB", "L"]
    keeps_ready: bool

    @classmethod
    def of(cls, steps: Preprocessing, size: tuple[int, int]) -> ImageSteps:
        """Return the steps of a preprocessing for an input of [height, width]."""
        return cls(
            size=size,
            resize=steps.resize or "crop",
            crop_fraction=steps.crop_fraction,
            mode="L" if steps.channels == "L" else "RGB",
            keeps_ready=steps.resize is None,
        )


Manifest.model_rebuild()


def is_package_name(name: str) -> bool:
    """Whether a text is a name for the package of a bundle, which hides no other module."""
    return (
        re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None
        and not keyword.iskeyword(name)
        and name not in sys.stdlib_module_names | _RESERVED
    )


def package_name(variant: str) -> str:
    """Return the name of the package for a variant.

    >>> package_name("lite0 INT8"), package_name("2x"), package_name("json")
    ('lite0_int8', 'model_2x', 'json_model')
    """
    name = re.sub(r"[^a-z0-9_]+", "_", variant.lower()).strip("_")[:50]
    if not name or name[0].isdigit():
        name = f"model_{name}".rstrip("_")
    return name if is_package_name(name) else f"{name}_model"


def bundle_port(port: Port, shape: tuple[int, ...], data_shape: tuple[int, ...] = ()) -> BundlePort:
    """Return a port of a bundle in the shape in which the graph is compiled."""
    return BundlePort(
        name=port.name,
        shape=shape,
        data_shape=data_shape,
        dtype=port.dtype,
        batch_axis=port.batch_axis,
    )


def format_manifest(manifest: Manifest) -> bytes:
    """Return the content of ``MANIFEST.json``, which ends with its checksum."""
    return add_checksum(manifest.model_dump_json(indent=1))


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bundle.

    Raises:
        InputError: The file is missing, too large or damaged, or a field is not valid.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"bundle not found: {folder}")
    if not files.is_file(path) or path.is_symlink():
        raise InputError(f"not a bundle: {folder} has no {MANIFEST}", "ovtool deploy writes one")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    with reading(path):
        content = path.read_bytes()
    document = verify_checksum(content, str(path), "get the bundle again")
    if document == content or add_checksum(document) != content:
        raise InputError(f"{path}: the checksum is missing or damaged", "get the bundle again")
    try:
        return Manifest.model_validate_json(document)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise InputError(f"{path} is nested too deeply") from error
        raise invalid_content(path, error, "get the bundle again") from error


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON types."""
    return manifest.model_dump(mode="json")
