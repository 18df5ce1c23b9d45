"""The variants of a sweep: loaded, without equal ones, and described for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.benchmark import jobs
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import shape_text
from ovtool.core.sweep_folder import PlannedVariant
from ovtool.datasets.fingerprint import evaluation_notes
from ovtool.evaluation.evaluator import read_sample_shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.core.notes import Note
    from ovtool.core.progress import Progress
    from ovtool.core.sweep_spec import SweepSpec
    from ovtool.core.trial import Trial
    from ovtool.core.variant import SampleHashes, Variant
    from ovtool.datasets.spec import VariantSamples
    from ovtool.models.convert import ModelReference
    from ovtool.sweep.preparation import Preparation

_NOTED_BY_ROWS = frozenset({"compressed-source", "files-larger", "int8-not-executed"})
"""Ids of notes of variants that the notes and figures of the rows replace."""
_OF_INFERENCES = frozenset({"state-initial"})
"""Ids of notes on single inferences: the rows of a text generator are of sequences."""
_LARGER = 1.01
"""Ratio of sizes above which files count as larger."""


def load_variants(
    variants: Sequence[ModelReference],
    spec: SweepSpec,
    preparation: Preparation,
    progress: Progress,
) -> tuple[list[Variant], Variant | None]:
    """Return the variants of a sweep, with the requested baseline, and this baseline.

    Raises:
        OvtoolError: A model is not valid.
    """
    loaded = _drop_equal([preparation.load(v) for v in variants], progress)
    if spec.baseline is None:
        return loaded, None
    baseline = preparation.load_baseline(spec.baseline, loaded)
    if all(v.id != baseline.id for v in loaded):
        loaded.insert(0, baseline)
    return loaded, baseline


def check_shapes(
    trials: Sequence[Trial], variants: Sequence[Variant], samples: VariantSamples | None
) -> None:
    """Check that the batch and the shapes of some trial fit its variant; others are failed rows.

    Raises:
        InputError: None fits.
    """
    by_id, reasons = {v.id: v for v in variants}, []
    for trial in trials:
        try:
            jobs.build_job(trial, by_id[trial.variant], {})
        except TrialFailedError as error:
            reasons.append(str(error))
        else:
            return
    if not trials:
        return
    hint, first = "", by_id[trials[0].variant]
    shapes = read_sample_shapes(samples(first), first) if samples is not None else ()
    if shapes:
        options = " ".join(f"--shape {name}={shape_text(shape)}" for name, shape in shapes)
        hint = f"the first sample has {options}"
    raise InputError(f"no trial can be measured: {reasons[0]}", hint)


def describe_variants(
    loaded: Sequence[Variant],
    baseline: Variant | None,
    samples: VariantSamples | None,
    weights: Mapping[str, dict[str, float | None]],
    failures: Mapping[str, str],
) -> dict[str, PlannedVariant]:
    """Describe variants, each with the requested or else its uncompressed baseline.

    A variant that cannot be measured is no baseline of others.
    The notes of a variant are those of its record, of its size, and about its samples.
    """
    hashes: dict[int, SampleHashes] = {}
    planned = {}
    usable = [v for v in loaded if v.id not in failures]
    for variant in loaded:
        base = baseline.id if baseline is not None else _baseline(variant, usable)
        other = next((v for v in loaded if v.id == base), None)
        notes = _variant_notes(variant, other)
        if samples is not None and variant.id not in failures:
            notes += evaluation_notes(variant.record, samples(variant), hashes)
        planned[variant.id] = PlannedVariant(
            name=variant.name,
            folder=str(variant.folder),
            model_mib=variant.model_mib,
            compressed=variant.compressed,
            baseline=base,
            source_compression=variant.record.source.compression,
            steps=tuple(step.method for step in variant.record.steps),
            preprocessing=variant.record.preprocessing,
            weights=weights[variant.id],
            notes=tuple(dict.fromkeys(notes)),
        )
    return planned


def _variant_notes(variant: Variant, baseline: Variant | None) -> tuple[Note, ...]:
    """Return the notes of a variant that hold for its rows, and on a size above the baseline's."""
    replaced = _NOTED_BY_ROWS | (_OF_INFERENCES if variant.record.generates_text else frozenset())
    notes = [note for note in variant.record.notes if note.id not in replaced]
    if variant.compressed and baseline and variant.model_mib > _LARGER * baseline.model_mib:
        sizes = f"{units.text(variant.model_mib)} MiB, {units.text(baseline.model_mib)} MiB"
        notes.append(make_note("files-larger", f"{sizes} of {baseline.name}"))
    return tuple(notes)


def _drop_equal(loaded: Iterable[Variant], progress: Progress) -> list[Variant]:
    """Return the first variant of each content, with a note for every dropped variant.

    Equal variants with the same name stay, and the plan rejects them.
    """
    kept: list[Variant] = []
    for variant in loaded:
        same = next((other for other in kept if other.id == variant.id), None)
        if same is None or (same is not variant and same.name == variant.name):
            kept.append(variant)
        elif same is not variant:
            progress.note(
                f"{variant.name} and {same.name} have the same files; only {same.name} is measured"
            )
    return kept


def _baseline(variant: Variant, swept: Iterable[Variant]) -> str | None:
    """Return the id of the uncompressed variant with the longest shared first steps; or None."""

    def shared(other: Variant) -> int:
        steps = [(s.method, s.settings) for s in other.record.steps]
        first = [(s.method, s.settings) for s in variant.record.steps[: len(steps)]]
        return len(steps) if steps == first else -1

    source = variant.record.source
    uncompressed = [v for v in swept if v.record.source == source and not v.compressed]
    best = max(uncompressed, key=shared, default=None)
    return best.id if best is not None and shared(best) >= 0 else None
