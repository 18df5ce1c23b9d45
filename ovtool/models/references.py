"""Models as a user names them: a variant, its folder, or a source that is converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.variant import RECORD, Variant

if TYPE_CHECKING:
    from ovtool.models.options import SourceOptions

Reference = str | Path | Variant
"""A variant, its folder, or anything that :func:`convert` takes."""


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
