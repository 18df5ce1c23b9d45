"""Convert a source to a variant, check its outputs against the source, and reuse variants."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace as with_fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ovtool.core import files, steps, units, variant
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.ports import ports
from ovtool.core.progress import SILENT, Progress
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import read_graph
from ovtool.core.variant import RECORD, Variant
from ovtool.datasets.registry import load_samples
from ovtool.graph.operations import describe_state
from ovtool.graph.quantization import NONE, detect_compression
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.batch import BatchedModel, open_batch
from ovtool.models.bundled import networks
from ovtool.models.check_inputs import MAX_SAMPLES
from ovtool.models.control_flow import find_difference
from ovtool.models.inputs import apply_options, name_ports, reject_text
from ovtool.models.language.decoder import is_decoder
from ovtool.models.network import NETWORK_OPTIONS
from ovtool.models.onnx_file import external_files
from ovtool.models.options import SourceFields, SourceOptions, source_options
from ovtool.models.output_check import compare_with_source
from ovtool.models.registry import COMPANIONS, LANGUAGE, SOURCES, kind_of
from ovtool.models.size_check import FixedSizeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.datasets.samples import Samples
    from ovtool.models.check_verdict import CheckedConversion
    from ovtool.models.source import SourceModel

_LANGUAGE_LIMIT_S = 1800.0

ModelReference = str | Path | Variant
"""A variant, its folder, or a source for :func:`convert`."""


@shows_progress()
def convert(
    source: str | Path,
    *,
    out: str | Path,
    name: str | None = None,
    data: str | Path | None = None,
    values: Mapping[str, float] | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
    force: bool = False,
    **fields: Unpack[SourceFields],
) -> Variant:
    """Convert a model to OpenVINO IR and compare its outputs with the source's.

    Args:
        source: A model file or folder, ``module:function`` or ``sample:NAME``.
        out: Folder of the new variant.
        name: Name of the variant; by default that of the folder.
        data: Samples for the output check.
        values: Input name to the value that fills it in the output check.
        options: Weights, shapes, layouts, preprocessing, trust and tolerance.
        progress: Receives the stages and the largest difference.
        force: Whether to replace an existing variant.
        fields: Fields of ``options``: ``shapes={"x": (1, 3, 224, 224)}, mean=127``.

    Raises:
        InputError: The source is not readable, or the outputs differ beyond the tolerance; nothing
            is left on disk.
        MissingDependencyError: A package for the kind of source is not installed.
    """
    checked = {"data": None if data is None else str(data), "values": values}
    given = {name: value for name, value in checked.items() if value is not None}
    options = source_options(options, {**fields, **given})
    reference, target = str(source), Path(out)
    kind = kind_of(reference)
    _check_options(kind, options)
    variant.check_target(target, force)
    if target.exists() and Path(reference).resolve().is_relative_to(target.resolve()):
        raise InputError(f"the folder to replace contains the source: {target}", "change --out")
    # The user's code may take any time, and so may downloads.
    limit_s = 0.0 if kind in ("torch", "sample") else _limit_s(kind, Path(reference))
    with steps.limited(f"converting {reference}", limit_s=limit_s):
        return _convert(reference, target, kind, name, options, progress, force)


def _limit_s(kind: str, path: Path) -> float:
    """Return the time limit of a conversion; tracing a language model takes minutes."""
    if kind not in LANGUAGE:
        return steps.default_limit_s(path)
    return steps.default_limit_s(*_source_files(path), base_s=_LANGUAGE_LIMIT_S)


def _convert(
    reference: str,
    target: Path,
    kind: str,
    name: str | None,
    options: SourceOptions,
    progress: Progress,
    replace: bool,
) -> Variant:
    progress.start(f"converting {reference}", 3)
    read: SourceModel = SOURCES.load(kind)(reference, options)
    reject_text(read.model)
    name_ports(read.model)
    apply_options(read.model, options, read.layouts)
    progress.advance()
    if read.own_check is None:
        batched = open_batch(read.model, options.seed, read.symbols, read.accepts)
    else:
        batched = BatchedModel(read.model, "dynamic")
    progress.advance()

    def describe(xml: Path) -> dict[str, Any]:
        compression = detect_compression(batched.model).label
        known: dict[str, Any] = {
            "fingerprint": source_fingerprint(reference, options),
            "compression": compression,
        }
        compressed = [] if compression == NONE else [make_note("compressed-source", compression)]
        if read.network is not None:
            known |= {n: getattr(options, n) for n in NETWORK_OPTIONS}
        if read.own_check is None:
            samples = _load_samples(batched.model, read, options, progress)
            checked = _check(xml, read, options, samples)
        else:
            checked = read.own_check(xml, options)
        beside = read.companions.check(xml.parent)
        # Text generators are checked, and judged, over sequences of steps.
        state = "" if is_decoder(batched.model) else describe_state(batched.model)
        stateful = [make_note("state-initial", state)] if state else []
        return {
            "name": name or target.resolve().name,
            "source": read.source.model_copy(update=known),
            **ports(batched.model, checked.maxima),
            "batch": batched.batch,
            "batch_note": batched.note,
            "preprocessing": options.preprocessing or read.preprocessing,
            "check": checked.check,
            "notes": (
                *_source_notes(xml, read),
                *compressed,
                *stateful,
                *notes,
                *checked.notes,
                *beside,
            ),
        }

    notes: list[Note] = []
    while True:
        try:
            converted = variant.save(
                target,
                batched.model,
                describe,
                replace,
                stem=read.companions.stem,
                write_companions=read.companions.write,
            )
            break
        except FixedSizeError as error:
            notes.append(make_note("size-fixed", f"{error.text}: {error}"))
            batched = error.fix(batched)
    progress.advance()
    _report(converted, progress)
    return converted


def _load_samples(
    model: ov.Model, read: SourceModel, options: SourceOptions, progress: Progress
) -> Samples | None:
    """Return the user's samples for the output check."""
    if options.data is None:
        return None
    inputs = [p for p in ports(model)["inputs"] if p.name not in options.values]
    return load_samples(
        options.data,
        inputs,
        options.preprocessing or read.preprocessing,
        limit=MAX_SAMPLES,
        seed=options.seed,
        progress=progress,
    )


def load_or_convert(
    model: ModelReference,
    folder: Path,
    *,
    name: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress = SILENT,
) -> Variant:
    """Return a variant, or convert a source into ``folder``, reusing an up-to-date conversion.

    Raises:
        InputError: As :func:`convert`, or the folder contains another model.
    """
    if is_variant(model):
        return load_variant(model)
    reference, options = str(model), options or SourceOptions()
    exists = (folder / RECORD).is_file()
    if exists:
        stored = Variant.load(folder)
        if stored.record.steps or stored.record.source.reference != reference:
            raise InputError(f"{folder} contains another model", "change --out")
        fingerprint = source_fingerprint(reference, options)
        same = fingerprint is not None and fingerprint == stored.record.source.fingerprint
        if same and stored.record.versions == variant.versions() and name in (None, stored.name):
            files.mark_kept(folder, "a variant")
            progress.note(f"{stored.name}: reused, {folder} has the same source and versions")
            return stored
    name = name or default_name(reference)
    return convert(
        reference, out=folder, name=name, options=options, progress=progress, force=exists
    )


def load_or_convert_next_to(
    model: ModelReference, out: Path | None, scratch: Path, progress: Progress = SILENT
) -> Variant:
    """Return a variant, or convert a source into ``<out>-source``, or into ``scratch``."""
    if is_variant(model):
        return load_variant(model)
    name = default_name(str(model))
    folder = scratch / name if out is None else out.with_name(f"{out.name}-source")
    return load_or_convert(model, folder, name=name, progress=progress)


def is_variant(model: ModelReference) -> bool:
    """Whether a reference is a variant or its folder."""
    return isinstance(model, Variant) or (Path(model) / RECORD).is_file()


def load_variant(model: ModelReference) -> Variant:
    """Return an existing variant.

    Raises:
        InputError: The reference is not a variant, or its files were changed.
    """
    if isinstance(model, Variant):
        model.verify()
        return model
    if not is_variant(model):
        raise InputError(f"no variant in {model}: {RECORD} is missing", "run ovtool convert first")
    return Variant.load(model)


def default_name(reference: str) -> str:
    """Return a folder name for a reference.

    >>> default_name("models/resnet 18.onnx"), default_name("nets:tiny"), default_name("sample:a")
    ('resnet-18', 'tiny', 'a')
    """
    kind = kind_of(reference)
    if kind in {"torch", "sample"}:
        plain = reference.rpartition(":")[2]
    else:
        path = Path(reference).resolve()
        plain = path.parent.name if path.name == "saved_model.pb" else path.stem
        plain = path.name if path.is_dir() else plain
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "model"


def source_fingerprint(reference: str, options: SourceOptions) -> str | None:
    """Return a hash of a source's files and reading options, without reading the model.

    None for ``module:function``, which can import anything.  The packages of a sample are pinned
    to one version each, and the untrained networks are in one file.

    Raises:
        InputError: The reference is not a source.
    """
    kind = kind_of(reference)
    reading = options.model_dump(mode="json", exclude={"trust", "tolerance"})
    digest = hashlib.sha256(json.dumps(reading, sort_keys=True).encode())
    if kind == "torch":
        return None
    if kind == "sample":
        digest.update(f"{reference} {files.sha256(Path(networks.__file__))}".encode())
        return digest.hexdigest()
    path = Path(reference)
    if not path.exists():
        return None
    for part in _source_files(path):
        digest.update(f"{part.name} {files.sha256(part)}".encode())
    if options.weights is not None and Path(options.weights).is_file():
        digest.update(files.sha256(Path(options.weights)).encode())
    return digest.hexdigest()


def _source_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if path.suffix.lower() == ".onnx":
        return [path, *external_files(path)]
    companions = [path.with_suffix(s) for s in COMPANIONS.get(path.suffix.lower(), ())]
    return [path, *(p for p in companions if p.is_file())]


def _check(
    xml: Path, read: SourceModel, options: SourceOptions, samples: Samples | None
) -> CheckedConversion:
    """Compare a saved IR with its source; lost control flow is the cause of a difference."""
    try:
        return compare_with_source(xml, read, options, samples)
    except FixedSizeError:
        raise
    except InputError as error:
        lost = next((note for note in read.notes if note.id == "traced-control-flow"), None)
        if lost is None:
            raise
        raise InputError(f"{error}; {lost.evidence}: {lost.message}", lost.remedy) from error


def _source_notes(xml: Path, read: SourceModel) -> tuple[Note, ...]:
    """Return the notes of a source, with a proof of lost control flow where inputs show it."""
    if read.network is None or read.reference is None:
        return read.notes

    notes = []
    for note in read.notes:
        evidence = note.evidence
        if note.id == "traced-control-flow":
            graph = ReferenceModel(read_graph(xml, mapped=False))
            example = {n: t.numpy(force=True) for n, t in read.network.example.items()}
            shown = find_difference(graph.run, read.reference, example)
            evidence = f"{evidence}; {shown}"
        notes.append(with_fields(note, evidence=evidence))
    return tuple(notes)


def _check_options(kind: str, options: SourceOptions) -> None:
    """Reject options that have no effect on a source of this kind."""
    if kind in ("torch", "torch-file"):
        return
    if options.weights is not None:
        raise InputError("--weights requires module:function", "remove --weights")
    if options.input_dtypes:
        raise InputError("--dtype requires module:function or TorchScript", "remove --dtype")


def _report(converted: Variant, progress: Progress) -> None:
    record = converted.record
    check = record.check
    for difference in check.differences if check else ():
        own = difference.source_error
        if difference.checked:
            progress.note(
                f"{converted.name}: output {difference.output} differs by at most "
                f"{units.text(difference.max_abs_difference)} from {check.against if check else ''}"
                f", with values up to {units.text(difference.largest_value)}"
                + (f"; own error of the source: {units.text(own)}" if own else "")
            )
    for note in record.notes:
        progress.note(f"warning: {converted.name}: {note.text}")
    if record.batch_note:
        progress.note(f"{converted.name}: {record.batch_text}: {record.batch_note}")
