"""The verb convert, and what verbs share: devices they may run on, variants, samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError, MissingDeviceError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.variant import RECORD, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.core.sweep_folder import Environment
    from ovtool.datasets.samples import Samples
    from ovtool.devices.discovery import Device
    from ovtool.models.options import SourceOptions

Reference = str | Path | Variant
"""A variant, its folder, or anything that :func:`convert` takes."""


def devices() -> list[Device]:
    """Return the devices that OpenVINO sees, virtual ones last.

    CPU, GPU and NPU are among them where they are missing, with why and what was looked at.
    """
    from ovtool.devices.discovery import discover, virtual

    return [*discover(), *virtual()]


def convert(
    source: str | Path,
    *,
    out: str | Path,
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Variant:
    """Convert a model to OpenVINO IR and compare its outputs with the source's.

    Args:
        source: A model file or folder, ``module:function`` or ``sample:NAME``.
        out: The variant's folder.
        name: The variant's name; by default that of the folder.
        options: Weights, shapes, layouts, preprocessing, trust and tolerance.
        progress: Told of the stages and of the largest difference.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: The source cannot be read, or the outputs differ beyond tolerance.
        MissingDependencyError: A package that the kind of source needs is not installed.
    """
    from ovtool.models.convert import convert as convert_source
    from ovtool.models.options import SourceOptions

    return convert_source(
        str(source),
        Path(out),
        name or Path(out).resolve().name,
        options or SourceOptions(),
        progress=progress,
        replace=replace,
    )


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Samples as a user names them: a folder, an array file, ``sample:NAME`` or ``noise``."""

    source: str
    labels: str | None = None
    limit: int | None = None

    def load(self, variant: Variant, progress: Progress = SILENT) -> Samples:
        """Return the samples, preprocessed for a variant.

        Raises:
            InputError: There are none, or one is damaged; the message names the file.
        """
        from ovtool import datasets as data

        return data.load(
            self.source,
            variant.record.inputs,
            variant.record.preprocessing,
            labels=Path(self.labels) if self.labels else None,
            limit=self.limit,
            progress=progress,
        )


@dataclass(slots=True)
class SamplesOf:
    """Samples by variant: those of one preprocessing are loaded once."""

    spec: DataSpec
    progress: Progress = SILENT
    _loaded: dict[object, Samples] = field(default_factory=dict)

    def __call__(self, variant: Variant) -> Samples:
        """Return the samples, preprocessed for a variant; raises as :meth:`DataSpec.load`."""
        key = (variant.record.inputs, variant.record.preprocessing)
        if key not in self._loaded:
            self._loaded[key] = self.spec.load(variant, self.progress)
        return self._loaded[key]

    def described(self, variant: Variant) -> str:
        """Return what they are and how many."""
        samples = self(variant)
        return f"{samples.reference}, {len(samples)} samples"


def as_variant(
    model: Reference,
    folder: Path,
    *,
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
) -> Variant:
    """Return a variant as it is, or convert a source into ``folder``, or reuse what is there."""
    if isinstance(model, Variant):
        return model
    if (Path(model) / RECORD).is_file():
        return Variant.load(model)
    from ovtool.models.convert import converted
    from ovtool.models.options import SourceOptions

    return converted(str(model), folder, name, options or SourceOptions(), progress)


def variant_beside(
    model: Reference, out: Path | None, scratch: Path, progress: Progress = SILENT
) -> Variant:
    """Return a variant as it is, or convert a source into ``<out>-source``, or into ``scratch``."""
    if isinstance(model, Variant) or (Path(model) / RECORD).is_file():
        return as_variant(model, scratch)
    from ovtool.models.convert import default_name

    name = default_name(str(model))
    folder = scratch / name if out is None else out.with_name(f"{out.name}-source")
    return as_variant(model, folder, name=name, progress=progress)


def existing(model: Reference) -> Variant:
    """Return a variant that must be there already.

    Raises:
        InputError: It is none.
    """
    if isinstance(model, Variant):
        return model
    if not (Path(model) / RECORD).is_file():
        raise InputError(f"no variant in {model}: it has no {RECORD}", "ovtool convert makes one")
    return Variant.load(model)


def available(asked: Sequence[str], *, strict: bool) -> tuple[list[str], dict[str, str]]:
    """Return the devices that are there, and why the others are not.

    Raises:
        InputError: A name is none of OpenVINO's.
        MissingDeviceError: None is there, or ``strict`` and one is missing.
    """
    from ovtool.devices.discovery import discover, resolve

    there, missing = resolve(asked, discover())
    check_there(there, missing, strict=strict)
    return there, missing


def check_there(there: Sequence[str], missing: Mapping[str, str], *, strict: bool) -> None:
    """Check that there is a device to go on with.

    Raises:
        MissingDeviceError: None is there, or ``strict`` and one is missing.
    """
    if missing and (strict or not there):
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise MissingDeviceError(
            f"not available: {reasons}", "ovtool devices --why says what to do"
        )


def emulated(names: Sequence[str]) -> frozenset[str]:
    """Return those of some devices that are emulated, or may hand work to one that is."""
    from ovtool.devices import discovery

    found = discovery.discover()
    return frozenset(name for name in names if discovery.emulated(name, found))


def environment_here() -> Environment:
    """Return the environment of now, with the devices that are there."""
    from ovtool.devices.discovery import discover
    from ovtool.system.environment import environment

    return environment(
        {
            d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
            for d in discover()
            if d.available
        }
    )
