"""Applying one method to one variant: read, compress, save, check, record."""

from __future__ import annotations

import filecmp
import glob
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import replace as with_fields
from typing import TYPE_CHECKING, Any

from ovtool.compression import execution_check as check
from ovtool.compression.method import Material, Method, Work, load, missing, parse_settings
from ovtool.core import files, units, variant
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.samples import Remembered, fingerprint
from ovtool.graph import census, storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import openvino as ov

    from ovtool.compression.method import Need
    from ovtool.core.variant import Preprocessing, Step, Variant
    from ovtool.datasets.samples import Samples
    from ovtool.graph.census import Census


SCRATCH = ".part"
"""End of the name of a folder that holds what an interrupted method goes on with."""
_KEY_DIGITS = 12


def compress(
    parent: Variant,
    method: str,
    settings: Mapping[str, Any],
    material: Material,
    *,
    out: Path,
    name: str,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Variant:
    """Apply a method to a saved variant and save the result as another one.

    What is in ``out`` already is returned as it is when it came from the same parent by the same
    steps, settings, data and versions; ``replace`` lets another variant there be replaced.

    Args:
        parent: What is compressed; its files are only read.
        method: A name of ``METHODS``.
        settings: As :func:`parse_settings` takes them; what is left out has its default.
        material: What the method may work with.  Calibration samples are also what the result is
            run on once.  A method that takes fewer takes them from all over the data, but reads
            all: load a subset of a large set.
        out: The folder to make.
        name: The variant's name.
        progress: Told of the stages and of what the user must know.
        replace: Whether another variant in that folder may be replaced.

    Raises:
        InputError: The method, a setting, the data or the model is wrong, the result does not
            run, or ``out`` holds something else.
    """
    chosen: Method[Any] = load(method)
    parsed = parse_settings(method, settings)
    needed = chosen.needed(parsed)
    if lacking := [need for need in needed if not material.has(need)]:
        raise missing(method, lacking)
    if material.calibration is not None:  # it is read for the record, and then by the method
        material = with_fields(material, calibration=Remembered(material.calibration))
    if out.resolve() == parent.folder.resolve():
        raise InputError(f"{out} is the variant to compress", "give another --out")
    step = variant.Step(
        method=method,
        settings=parsed.model_dump(mode="json"),
        data=_described(material, needed),
        seconds=0,
    )
    preprocessing = chosen.preprocessing(parent.record.preprocessing, parsed)
    same = _same_work(out, parent, name, step, preprocessing)
    if same is not None:
        progress.note(f"{name}: reused, {out} came from the same model, settings and versions")
        return same
    variant.check_target(out, replace)
    if not parent.intact:
        raise InputError(f"{parent.folder} was changed since it was made", "convert it again")
    scratch = _scratch(out, parent, step)
    model = _reader().read_model(parent.xml)
    work = Work(model, parsed, parent, material, scratch, progress)
    made = _make(chosen, work, step, out=out, name=name, replace=replace)
    # The key's length is part of the pattern: a variant out.name + ".x" has scratch of its own.
    for left in out.parent.glob(f".{glob.escape(out.name)}.{'?' * _KEY_DIGITS}{SCRATCH}"):
        shutil.rmtree(left, ignore_errors=True)
    return made


def _described(material: Material, needed: frozenset[Need]) -> str | None:
    """Return what the record says of the data; changed files make another text."""
    used: dict[Need, Samples | None] = {
        "calibration": material.calibration,
        "training": material.training,
        "validation": material.judge.samples if material.judge else None,
    }
    texts = [
        f"{purpose}: {samples.reference} ({len(samples)} samples, sha256 "
        f"{fingerprint(samples)[:12]})"
        for purpose, samples in used.items()
        if purpose in needed and samples is not None
    ]
    if "validation" in needed and material.judge is not None:
        texts.append(f"judged by {material.judge.metric}")
    return "; ".join(texts) or None


def _scratch(out: Path, parent: Variant, step: Step) -> Path:
    """Return a folder that only the same work finds again."""
    work = [parent.id, step.model_dump(mode="json"), variant.versions()]
    key = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:_KEY_DIGITS]
    return out.with_name(f".{out.name}.{key}{SCRATCH}")


def _same_work(
    out: Path, parent: Variant, name: str, step: Step, preprocessing: Preprocessing | None
) -> Variant | None:
    """Return the variant in ``out`` if it is what would be made, whole and unchanged."""
    if not (out / variant.RECORD).is_file():
        return None
    try:
        there = variant.Variant.load(out)
    except InputError:
        return None  # damaged, so not the same: making it says that the folder is taken
    expected = there.record.model_copy(
        update={
            "source": parent.record.source,
            "parent": parent.id,
            "steps": (*parent.record.steps, step),
            "preprocessing": preprocessing,
            "versions": variant.versions(),
        }
    )
    same = there.name == name and there.record.same_work(expected) and there.intact
    return there if same else None


def _reader() -> ov.Core:
    """Return a core; on Windows it reads files whole, since a mapped one cannot be renamed."""
    import openvino as ov

    core = ov.Core()
    core.set_property({"ENABLE_MMAP": os.name != "nt"})
    return core


def _make(
    method: Method[Any], work: Work[Any], step: Step, *, out: Path, name: str, replace: bool
) -> Variant:
    parent = work.parent
    started = time.perf_counter()
    done = method.apply(work)
    seconds = round(time.perf_counter() - started, 3)

    def describe(xml: Path) -> dict[str, Any]:
        work.progress.start("checking")
        saved = _reader().read_model(xml)
        after = census.count(saved)
        if filecmp.cmp(xml.with_suffix(".bin"), parent.bin, shallow=False) and (
            _outline(saved) == _outline(_reader().read_model(parent.xml))
        ):
            raise InputError(f"{step.method} changes nothing in {parent.name}: no layer takes it")
        check.runs_once(saved, parent, work.material.calibration, work.progress)
        weights = None
        if done.network is not None:
            done.network.save(xml.with_name(variant.NETWORK))
            weights = files.sha256(xml.with_name(variant.NETWORK))
        found = done.check(saved) if done.check is not None else {}
        stored = storage.storage(xml, saved).to_json()
        details = {**after.to_json(), storage.KEY: stored, **done.details, **found}
        taken = step.model_copy(update={"seconds": seconds, "details": details})
        record = parent.record
        return {
            "name": name,
            "source": record.source,
            "parent": parent.id,
            "steps": (*record.steps, taken),
            "batch": record.batch,
            "batch_note": record.batch_note,
            "preprocessing": method.preprocessing(record.preprocessing, work.settings),
            "network_sha256": weights,
            **variant.ports(saved),
        }

    made = variant.save(out, done.model, describe, replace)
    work.progress.note(f"{name}: {_summary(census.count(done.model), made, parent)}")
    return made


def _outline(model: ov.Model) -> tuple[object, ...]:
    """Return what two graphs of equal weights differ in: shapes of inputs and types of layers."""
    types = [operation.get_type_name() for operation in model.get_ordered_ops()]
    return variant.ports(model)["inputs"], Counter(types)


def _summary(counted: Census, made: Variant, parent: Variant) -> str:
    layers = sum(share.layers for share in counted.shares)
    shares = ", ".join(
        f"{units.text(share.share_pct)} % {share.type} ({share.layers} of {layers} layers)"
        for share in counted.shares
    )
    size = f"{units.text(made.model_mib)} MiB, was {units.text(parent.model_mib)}"
    return f"weights {shares}; {size}" if shares else size
