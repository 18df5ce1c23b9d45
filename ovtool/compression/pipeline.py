"""Applies one method to one variant: read, compress, save, check, record."""

from __future__ import annotations

import contextlib
import filecmp
import glob
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import asdict
from dataclasses import replace as with_fields
from typing import TYPE_CHECKING, Any, get_args

from ovtool.compression.effects import EFFECT_NOTES, keep_notes, note_effects
from ovtool.compression.execution_check import check_runs
from ovtool.compression.method import (
    Method,
    MethodContext,
    MethodInputs,
    MethodResult,
    MethodSettings,
    MissingInputError,
    Need,
)
from ovtool.compression.registry import load_method, parse_settings
from ovtool.core import files, steps, units, variant
from ovtool.core.companions import SETTINGS, copy_companions
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json
from ovtool.core.ports import ports, set_output_layouts
from ovtool.core.progress import SILENT, Progress
from ovtool.core.third_party import read_graph
from ovtool.datasets.fingerprint import fingerprint, shared_notes, used_samples
from ovtool.datasets.samples import CachedSamples
from ovtool.graph import storage
from ovtool.graph.quantization import detect_compression
from ovtool.graph.weights import count_weight_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.core.ports import Preprocessing
    from ovtool.core.variant import SampleHashes, Step, Variant
    from ovtool.datasets.samples import Samples
    from ovtool.graph.weights import WeightTypes


SCRATCH = ".part"
"""Suffix of the folder with the checkpoints of an interrupted step."""
_KEY_DIGITS = 12
_NO_LAYER_HINT = "ignore fewer layers, or use another method"


def apply_method(
    parent: Variant,
    method: str,
    settings: Mapping[str, Any],
    inputs: MethodInputs,
    *,
    out: Path,
    name: str,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Variant:
    """Apply a method to a saved variant and save the result as another one.

    An existing variant in ``out`` is reused if it has the same parent, steps, settings, data and
    versions.

    The files of the parent are only read. The result is also run on a calibration sample. A method
    that uses fewer samples spreads them over the data but reads all: load a subset of a large data
    set. ``replace``: whether to replace a different variant in ``out``.

    Raises:
        InputError: The method, a setting, the data or the model is wrong, the result does not
            run, or ``out`` exists and differs.
    """
    definition: Method[Any] = load_method(method)
    parsed = parse_settings(method, settings)
    needs = definition.needs_for(parsed)
    if missing := [need for need in needs if not inputs.has(need)]:
        raise MissingInputError(method, missing)
    if inputs.calibration is not None:  # read for the record, and then by the method
        inputs = with_fields(inputs, calibration=CachedSamples(inputs.calibration))
    if out.resolve() == parent.folder.resolve():
        raise InputError(f"--out {out} is the variant to compress", "use another --out")
    data, hashes = _describe_data(inputs, needs)
    step = variant.Step(
        method=method,
        settings=parsed.model_dump(mode="json"),
        data=data,
        samples=hashes,
        seconds=0,
    )
    preprocessing = definition.preprocessing(parent.record.preprocessing, parsed)
    existing = _reusable(out, parent, name, step, preprocessing)
    if existing is not None:
        files.mark_kept(out, "a variant")
        progress.note(f"{name}: reused {out}, made from the same model, settings and versions")
        return existing
    variant.check_target(out, replace)
    parent.verify()
    scratch = _scratch(out, parent, step)
    started = time.perf_counter()
    with steps.limited(f"compressing {name}", limit_s=0.0):  # training may take any time
        # In a list, so that the graphs of the parent and of the result can be freed before the
        # check, which reads the saved files.
        results = [
            definition.apply(
                MethodContext(_read(parent.xml), parsed, parent, inputs, scratch, progress)
            )
        ]
    step = step.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
    compressed = _record(
        definition, results.pop(), parsed, parent, inputs, progress, step,
        out=out, name=name, replace=replace,
    )  # fmt: skip
    # The pattern has the length of the key: a variant named out.name + ".x" has its own scratch.
    for left in out.parent.glob(f".{glob.escape(out.name)}.{'?' * _KEY_DIGITS}{SCRATCH}"):
        shutil.rmtree(left, ignore_errors=True)
    return compressed


def failed_variant(
    parent: Variant, method: str, settings: Mapping[str, Any], out: Path, failure: str
) -> Variant:
    """Return a variant without files, in place of one that a method could not make."""
    parsed = parse_settings(method, settings).model_dump(mode="json")
    step = variant.Step(method=method, settings=parsed, seconds=0)
    identity = json.dumps([parent.id, step.model_dump(mode="json")], sort_keys=True)
    record = parent.record.model_copy(
        update={
            "name": out.name,
            "parent": parent.id,
            "steps": (*parent.record.steps, step),
            "notes": keep_notes(parent),
            "sha256": hashlib.sha256(identity.encode()).hexdigest(),
            "xml_bytes": 0,
            "bin_bytes": 0,
            "versions": variant.versions(),
        }
    )
    return variant.Variant(out, record, failure)


def _used_samples(inputs: MethodInputs, needs: frozenset[Need]) -> dict[Need, Samples]:
    """Return the samples that a step uses, by purpose."""
    used: dict[Need, Samples | None] = {
        "calibration": inputs.calibration,
        "training": inputs.training,
        "validation": inputs.evaluator.samples if inputs.evaluator else None,
    }
    return {n: samples for n, samples in used.items() if n in needs and samples is not None}


def _describe_data(
    inputs: MethodInputs, needs: frozenset[Need]
) -> tuple[str | None, dict[str, SampleHashes]]:
    """Return the description of the data for the record, and the hashes of the samples."""
    texts, hashes = [], {}
    for purpose, samples in _used_samples(inputs, needs).items():
        hashed = fingerprint(samples)
        hashes[str(purpose)] = hashed.samples
        texts.append(
            f"{purpose}: {samples.reference} ({len(samples)} samples, sha256 {hashed.sha256[:12]})"
        )
    if "validation" in needs and inputs.evaluator is not None:
        texts.append(f"metric: {inputs.evaluator.description}")
    return "; ".join(texts) or None, hashes


def _data_notes(parent: Variant, inputs: MethodInputs, step: Step) -> tuple[Note, ...]:
    """Return the warnings about the data of a step, each once."""
    needs = frozenset(need for need in get_args(Need) if need in step.samples)
    used = _used_samples(inputs, needs)
    notes = [note for samples in used.values() for note in samples.notes]
    validation = step.samples.get("validation")
    if validation is not None:
        before = dict(used_samples(parent.record))
        own = {f"{n} of {step.method}": h for n, h in step.samples.items() if n != "validation"}
        notes += shared_notes(before | own, validation, f"validation of {step.method}")
    return tuple(dict.fromkeys(notes))


def _scratch(out: Path, parent: Variant, step: Step) -> Path:
    """Return a scratch folder with a name that depends on parent, step and versions."""
    identity = [parent.id, step.model_dump(mode="json", exclude={"samples"}), variant.versions()]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_KEY_DIGITS]
    return out.with_name(f".{out.name}.{key}{SCRATCH}")


def _reusable(
    out: Path, parent: Variant, name: str, step: Step, preprocessing: Preprocessing | None
) -> Variant | None:
    """Return the variant in ``out`` if the step would create the same one."""
    if not (out / variant.RECORD).is_file():
        return None
    try:
        existing = variant.Variant.load(out)
    except InputError:
        return None  # damaged; the check of the target reports the existing folder
    expected = existing.record.model_copy(
        update={
            "source": parent.record.source,
            "parent": parent.id,
            "steps": (*parent.record.steps, step),
            "preprocessing": preprocessing,
            "versions": variant.versions(),
        }
    )
    same = existing.name == name and existing.record.provenance == expected.provenance
    return existing if same else None


def _read(xml: Path) -> ov.Model:
    """Read an IR; on Windows without memory mapping, since mapped files cannot be renamed."""
    return read_graph(xml, mapped=os.name != "nt")


def _record(
    method: Method[Any],
    result: MethodResult,
    settings: MethodSettings,
    parent: Variant,
    inputs: MethodInputs,
    progress: Progress,
    step: Step,
    *,
    out: Path,
    name: str,
    replace: bool,
) -> Variant:
    """Save a result, check it by a run, and record it."""
    counted: list[WeightTypes] = []
    network, verify, judge, known = result.network, result.verify, result.judge, result.details

    def describe(xml: Path) -> dict[str, Any]:
        progress.start("checking")
        saved = _read(xml)
        after = count_weight_types(saved)
        counted.append(after)
        if filecmp.cmp(xml.with_suffix(".bin"), parent.bin, shallow=False) and (
            _outline(saved) == _outline(_read(parent.xml))
        ):
            raise InputError(f"{step.method} changes no layer of {parent.name}", _NO_LAYER_HINT)
        checked = check_runs(xml, parent, inputs.calibration, progress, keep=judge is not None)
        stored = asdict(checked.storage or storage.measure_storage(xml, saved))
        weights = None
        if network is not None:
            network.save(xml.with_name(variant.NETWORK))
            weights = files.sha256(xml.with_name(variant.NETWORK))
        verified = verify(saved) if verify is not None else {}
        if judge is not None and checked.compiled is not None:
            progress.start("comparing outputs")
            verified |= judge(checked.compiled)
        details = {**after.to_json(), storage.KEY: stored, **known, **verified}
        finished = step.model_copy(update={"details": details})
        record = parent.record
        size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
        sizes = (size, record.xml_bytes + record.bin_bytes)
        effects = note_effects(finished, saved, checked, sizes)
        return {
            "name": name,
            "source": record.source,
            "parent": parent.id,
            "steps": (*record.steps, finished),
            "batch": record.batch,
            "batch_note": record.batch_note,
            "notes": tuple(
                dict.fromkeys((*keep_notes(parent), *effects, *_data_notes(parent, inputs, step)))
            ),
            "preprocessing": method.preprocessing(record.preprocessing, settings),
            "network_sha256": weights,
            **ports(saved, maxima={p.name: p.maximum for p in record.inputs}),
        }

    set_output_layouts(result.model, parent.record.outputs)
    write_companions = _companions_writer(parent, result.model)
    graphs = [result.model]
    del result
    compressed = variant.save(
        out,
        graphs.pop(),
        describe,
        replace,
        stem=parent.record.stem,
        write_companions=write_companions,
    )
    progress.note(f"{name}: {_summary(counted[0], compressed, parent)}")
    inherited = parent.record.notes
    for note in compressed.record.notes:
        if note.id in EFFECT_NOTES or (note.id == "samples-shared" and note not in inherited):
            progress.note(f"warning: {name}: {note.text}")
    return compressed


def _companions_writer(parent: Variant, model: ov.Model) -> Callable[[Path], None]:
    """Return a function that copies the companions of the parent, with the types of the weights."""
    copy = copy_companions(parent.folder, parent.record.companions)
    weights = detect_compression(model).weights

    def write(folder: Path) -> None:
        copy(folder)
        settings = folder / SETTINGS
        if not weights or not settings.is_file():
            return
        with contextlib.suppress(ValueError):  # not JSON: copied as it is
            content = parse_json(settings.read_bytes())
            if isinstance(content, dict):
                text = json.dumps(content | {"dtype": weights[0]}, indent=2) + "\n"
                settings.write_text(text, encoding="utf-8")

    return write


def _outline(model: ov.Model) -> tuple[object, ...]:
    """Return input shapes and layer types, which distinguish graphs with equal weights."""
    types = [operation.get_type_name() for operation in model.get_ordered_ops()]
    return ports(model)["inputs"], Counter(types)


def _summary(counted: WeightTypes, compressed: Variant, parent: Variant) -> str:
    layers = sum(share.layers for share in counted.shares)
    shares = ", ".join(
        f"{units.text(share.share_pct)}% {share.type} ({share.layers} of {layers} layers)"
        for share in counted.shares
    )
    size = f"{units.text(compressed.model_mib)} MiB, was {units.text(parent.model_mib)}"
    return f"weights {shares}; {size}" if shares else size
