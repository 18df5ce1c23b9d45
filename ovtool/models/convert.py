"""A source -> a variant on disk, compared with the source it came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import units, variant
from ovtool.core.errors import InputError
from ovtool.models.batch import open_batch
from ovtool.models.fingerprint import fingerprint
from ovtool.models.inputs import apply_options, name_ports
from ovtool.models.output_check import compare_with_source
from ovtool.models.source_table import SOURCES, kind_of

if TYPE_CHECKING:
    from ovtool.core.progress import Progress
    from ovtool.models.options import SourceOptions
    from ovtool.models.source import SourceModel


def convert(
    reference: str,
    out: Path,
    name: str | None,
    options: SourceOptions,
    progress: Progress,
    *,
    replace: bool,
) -> variant.Variant:
    """Read a source and save it as a variant; the source is not changed.

    Args:
        reference: A file, folder, ``module:function`` or ``sample:NAME``; see :mod:`.table`.
        out: The variant's folder, which is made.
        name: The variant's name; None for one made of the reference.
        options: What else is known of the source.
        progress: Told of the steps, and of the largest difference from the source.
        replace: Whether a variant that is there already may be replaced.

    Raises:
        InputError: The source cannot be read, or its conversion gives other outputs than it does;
            then nothing is left on disk.
        MissingDependencyError: A package that reads it is not installed.
    """
    kind = kind_of(reference)
    _check_options(kind, options)
    variant.check_target(out, replace)
    if out.exists() and Path(reference).resolve().is_relative_to(out.resolve()):
        raise InputError(f"the source lies in the folder to replace: {out}", "give another --out")
    progress.start(f"converting {reference}", 3)
    source: SourceModel = SOURCES.load(kind)(reference, options)
    name_ports(source.model)
    apply_options(source.model, options, source.layouts)
    progress.advance()
    opened = open_batch(source.model, options.seed)
    progress.advance()

    def describe(xml: Path) -> dict[str, Any]:
        check = compare_with_source(xml, source, options)
        return {
            "name": name or default_name(reference),
            "source": source.source.model_copy(
                update={"fingerprint": fingerprint(reference, options)}
            ),
            **variant.ports(opened.model),
            "batch": "dynamic" if opened.dynamic else "static",
            "batch_note": opened.note,
            "preprocessing": options.preprocessing or source.preprocessing,
            "check": check,
        }

    made = variant.save(out, opened.model, describe, replace)
    progress.advance()
    _report(made, progress)
    return made


def converted(
    reference: str, folder: Path, name: str | None, options: SourceOptions, progress: Progress
) -> variant.Variant:
    """Return the variant of a source in a folder of its own, made when it is not there or is old.

    Raises:
        InputError: As :func:`convert`, or the folder holds something else.
    """
    if not (folder / variant.RECORD).is_file():
        return convert(reference, folder, name, options, progress, replace=False)
    found = variant.Variant.load(folder)
    if found.record.steps or found.record.source.reference != reference:
        raise InputError(f"{folder} holds another model", "give another --out")
    now = fingerprint(reference, options)
    same = now is not None and now == found.record.source.fingerprint
    if same and found.record.versions == variant.versions() and found.name == (name or found.name):
        progress.note(f"{found.name}: reused, {folder} came from the same source and versions")
        return found
    return convert(reference, folder, name, options, progress, replace=True)


def default_name(reference: str) -> str:
    """Return a name that can be a folder's, made of a reference.

    >>> default_name("models/resnet 18.onnx"), default_name("nets:tiny"), default_name("sample:a")
    ('resnet-18', 'tiny', 'a')
    """
    kind = kind_of(reference)
    if kind in {"torch", "sample"}:
        plain = reference.rpartition(":")[2]
    else:
        path = Path(reference).resolve()
        plain = path.parent.name if path.name == "saved_model.pb" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "model"


def _check_options(kind: str, options: SourceOptions) -> None:
    """Refuse what would have no effect on a source of this kind."""
    modules = ("torch", "torch-file")
    if options.weights is not None and kind not in modules:
        raise InputError("weights are for module:function; this source brings its own", "drop them")
    if options.input_dtypes and kind not in modules:
        raise InputError(
            "input types are for module:function; this source has its own", "drop them"
        )


def _report(made: variant.Variant, progress: Progress) -> None:
    check = made.record.check
    for difference in check.differences if check else ():
        progress.note(
            f"{made.name}: output {difference.output} differs by at most "
            f"{units.text(difference.max_abs_difference)} from {check.against if check else ''}, "
            f"of values up to {units.text(difference.largest_value)}"
        )
    if made.record.batch_note:
        progress.note(f"{made.name}: the batch stays as it is: {made.record.batch_note}")
