"""The verb ``sweep``: measure every combination of the axes, or resume."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import failed_measurement
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import temporary, units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.notes import make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.shapes import shape_text
from ovtool.core.sweep_folder import (
    Environment,
    PlannedVariant,
    SweepFolder,
    SweepPlan,
    Unavailable,
)
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.trial_grid import plan_trials
from ovtool.datasets.fingerprint import evaluation_notes
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.devices.discovery import describe_environment, find_caveats
from ovtool.evaluation.custom_metric import check_metric_name
from ovtool.evaluation.evaluator import read_sample_shapes
from ovtool.evaluation.metrics import Judge, MetricRequest, make_judge
from ovtool.sweep.measurer import Measurer, Observer, SilentObserver
from ovtool.sweep.preparation import Preparation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.core.columns import Metric
    from ovtool.core.measurement import Measurement
    from ovtool.core.notes import Note
    from ovtool.core.trial import Trial
    from ovtool.core.variant import SampleHashes, Variant
    from ovtool.models.convert import ModelReference
    from ovtool.sweep.estimates import Estimator
    from ovtool.sweep.schedule import Resumption, TrialCounts


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Numbers of trials by outcome; ``reused`` trials were already in the folder.

    ``repeated`` of the others were in the folder too, but fell short of the settings.
    """

    folder: Path
    measured: int
    failed: int
    reused: int
    unavailable: Mapping[str, str]
    estimated: int = 0
    repeated: int = 0


def sweep(
    variants: Sequence[ModelReference],
    *,
    out: str | Path,
    name: str | None = None,
    spec: SweepSpec | None = None,
    data: DataSpec | str | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
) -> SweepResult:
    """Measure every combination of variants, devices, shapes, batches, loads and precisions.

    The journal of the folder has each finished trial before the next one begins.  A call with the
    same folder resumes.  It measures trials again that fall short of its settings (rounds, seconds,
    target), with the trials that they are compared with.

    Args:
        variants: Variants, or models that are converted into the folder first.
        out: Sweep folder.
        name: Name of the sweep in reports; by default the name of the folder.
        spec: Axes and measurement settings; a device that is not available has no rows.
        data: Held-out samples: inputs of the requests, and data of the quality of each variant,
            device, precision and shape.
        metric: Quality metric, see :func:`ovtool.evaluation.evaluate.evaluate_each`.
        outputs: Names of the outputs to judge; all by default.
        trust: Whether the function of ``metric`` may be imported.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether to repeat trials that failed.
        observer: Receives the plan, the progress and the measurements.
        progress: Receives the progress of conversions.

    Raises:
        InputError: An axis, a variant or the metric is not valid, or no trial has a valid batch
            and shapes.
        MissingDeviceError: No device is available, or with ``strict`` any is missing.
        NothingMeasuredError: No trial could be measured or estimated.
    """
    from ovtool.results.sweep_rows import write_sweep_rows
    from ovtool.sweep.estimates import Estimator, select_targets

    spec, folder, observer = spec or SweepSpec(), Path(out), observer or SilentObserver()
    SweepFolder.create(folder)
    preparation = Preparation(folder, spec.timeout_s, progress, judged=data is not None)
    with closing(preparation):
        preparation.start(variants)
        targets = select_targets(spec, strict=strict)
        loaded, baseline = _load(variants, spec, preparation, progress)
        weights = preparation.measure_weights(loaded, baseline)
    failures = preparation.failures
    usable = [v for v in loaded if v.id not in failures]
    data = DataSpec(data) if isinstance(data, str) else data
    samples = VariantSamples(data, progress) if data and usable else None
    trials = plan_trials(loaded, targets.names, spec)
    _check_shapes([t for t in trials if t.variant not in failures], usable, samples)
    planned = _describe_variants(loaded, baseline, samples, weights, failures)
    request = MetricRequest(metric, tuple(outputs), trust)
    quality = _select_metric(request, samples, usable, planned, progress) if usable else None
    if quality is not None:
        title = BY_NAME[quality.column].title
        progress.note(f"quality is judged by {title}: {quality.reason}")
        request = replace(request, metric=quality.metric)
    plan = SweepPlan(
        name=name or folder.resolve().name,
        variants=planned,
        trials=trials,
        unavailable=tuple(Unavailable(device=d, reason=why) for d, why in targets.missing.items()),
        quality_metric=None if quality is None else quality.column,
        quality_reason="" if quality is None else quality.reason,
        evaluated_on=samples.description(usable[0]) if samples else None,
        settings=spec.measurement_settings(),
    )
    environment = describe_environment()
    with temporary.scratch_folder("sweep") as scratch:
        caveats = find_caveats(targets.measured)
        measurer = Measurer(
            loaded, plan, samples, spec, environment.id, observer, scratch, caveats, request
        )
        estimator = Estimator(
            {v.id: v for v in loaded}, environment.id, targets.compilers, observer
        )
        counts = _run(
            folder, plan, environment, measurer, estimator, failures, retry_failed=retry_failed
        )
    write_sweep_rows(folder)
    _check_measured(folder, plan)
    return SweepResult(folder, unavailable=targets.missing, **asdict(counts))


def _load(
    variants: Sequence[ModelReference],
    spec: SweepSpec,
    preparation: Preparation,
    progress: Progress,
) -> tuple[list[Variant], Variant | None]:
    """Return the variants of the sweep, with the requested baseline, and this baseline."""
    loaded = _drop_equal([preparation.load(v) for v in variants], progress)
    if spec.baseline is None:
        return loaded, None
    baseline = preparation.load_baseline(spec.baseline, loaded)
    if all(v.id != baseline.id for v in loaded):
        loaded.insert(0, baseline)
    return loaded, baseline


def _check_measured(folder: Path, plan: SweepPlan) -> None:
    """Raise NothingMeasuredError if every trial failed."""
    if all(m.status == "failed" for m in SweepFolder(folder).measurements()):
        first = next(SweepFolder(folder).measurements(), None)
        raise NothingMeasuredError(
            f"none of {len(plan.trials)} trials could be measured",
            f"{first.trial.label}: {first.reason}" if first else "the plan is empty",
        )


def _check_shapes(
    trials: Sequence[Trial], variants: Sequence[Variant], samples: VariantSamples | None
) -> None:
    """Check that the batch and the shapes of some trial fit its variant; others are failed rows."""
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


def _run(
    folder: Path,
    plan: SweepPlan,
    environment: Environment,
    measurer: Measurer,
    estimator: Estimator,
    failures: Mapping[str, str],
    *,
    retry_failed: bool,
) -> TrialCounts:
    """Measure or estimate the trials of a plan that the folder does not have.

    ``failures`` are the reasons of variants that cannot be measured.
    """
    from ovtool.sweep.schedule import run_plan

    observer = estimator.observer

    def start(resumption: Resumption) -> None:
        measurer.evaluated |= {
            m.trial.configuration for m in resumption.reused if "quality_samples" in m.figures
        }
        observer.on_plan(plan, len(resumption.reused), resumption.repeated)

    def measure_group(group: Sequence[Trial]) -> list[Measurement]:
        usable = [t for t in group if t.variant not in failures]
        rows = {m.trial.id: m for m in measure_usable(usable)} if usable else {}
        return [
            rows.get(t.id) or failed_measurement(t, environment.id, failures[t.variant])
            for t in group
        ]

    def measure_usable(group: Sequence[Trial]) -> list[Measurement]:
        if group[0].device in estimator.compilers:  # the trials of a group have one device
            return estimator.estimate(group)
        return measurer.measure(group)

    return run_plan(
        folder,
        plan,
        environment,
        measure_group,
        retry_failed=retry_failed,
        on_start=start,
        on_finished=observer.on_measurement,
    )


_NOTED_BY_ROWS = frozenset({"compressed-source", "files-larger", "int8-not-executed"})
"""Ids of notes of variants that the notes and figures of the rows replace."""
_LARGER = 1.01
"""Ratio of sizes above which files count as larger."""


def _describe_variants(
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
            weights=weights[variant.id],
            notes=tuple(dict.fromkeys(notes)),
        )
    return planned


def _variant_notes(variant: Variant, baseline: Variant | None) -> tuple[Note, ...]:
    """Return the notes of a variant that hold for its rows, and on a size above the baseline's."""
    notes = [note for note in variant.record.notes if note.id not in _NOTED_BY_ROWS]
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


def _select_metric(
    request: MetricRequest,
    samples: VariantSamples | None,
    variants: Sequence[Variant],
    planned: Mapping[str, PlannedVariant],
    progress: Progress,
) -> Judge | None:
    """Return the judge whose metric decides for all variants; None if nothing can be judged.

    Without the user's metric, models that differ in theirs are judged by the cosine.
    """
    if samples is None:
        if request.metric is not None:
            check_metric_name(request.metric)
            raise InputError(f"metric {request.metric} needs samples", "add --data")
        if request.outputs:
            raise InputError(f"output {request.outputs[0]!r} needs samples to judge", "add --data")
        return None
    by_id = {v.id: v for v in variants}
    judges: dict[str, Judge] = {}
    for variant in variants:
        baseline = planned[variant.id].baseline
        source = by_id[baseline] if baseline is not None else variant
        judge = make_judge(request, source, samples(source))
        if judge.compares and baseline is None:
            if planned[variant.id].source_compression == "none":
                raise InputError(
                    f"{variant.name} has no baseline for the {BY_NAME[judge.column].title}, and"
                    f" {samples.spec.source} has no labels that decide",
                    "add the uncompressed variant, or set --baseline",
                )
            note = make_note("no-baseline", f"source {planned[variant.id].source_compression}")
            progress.note(f"{variant.name}: {note.text}")
        else:
            judges[source.id] = judge
    if not judges:
        return None
    first, *others = judges.values()
    other = next((judge for judge in others if judge.metric != first.metric), None)
    if other is None:
        return first
    if not (first.compares and other.compares):
        raise InputError(
            f"the models have different metrics: {first.metric} and {other.metric}",
            "set --metric, or sweep each model separately",
        )
    return first if first.metric == "cosine" else other
