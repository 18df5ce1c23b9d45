"""The verb ``sweep``: measure every combination of the axes, or resume."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ovtool.benchmark.engine import failed_measurement
from ovtool.core import temporary, units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.fields import with_fields
from ovtool.core.holding import holding_out
from ovtool.core.notes import make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.sweep_folder import (
    Environment,
    PlannedVariant,
    SweepFolder,
    SweepPlan,
    Unavailable,
)
from ovtool.core.sweep_spec import SweepFields, SweepSpec
from ovtool.core.terminal import shows_progress
from ovtool.core.trial_grid import drop_default_precisions, plan_trials
from ovtool.core.variant import Variant
from ovtool.datasets.spec import DataSpec, VariantSamples, as_data_spec
from ovtool.devices.discovery import describe_environment, find_caveats
from ovtool.evaluation.custom_metric import check_metric_name
from ovtool.evaluation.language_evaluator import judge_text
from ovtool.evaluation.metrics import Judge, MetricRequest, make_judge
from ovtool.models.language.loading import require_packages
from ovtool.sweep.measurer import Measurer, Observer, SilentObserver
from ovtool.sweep.preparation import Preparation
from ovtool.sweep.result import SweepResult
from ovtool.sweep.variants import check_shapes, describe_variants, load_variants
from ovtool.sweep.view import SweepView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.core.columns import Metric
    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial
    from ovtool.models.convert import ModelReference
    from ovtool.sweep.estimates import Estimator
    from ovtool.sweep.schedule import Resumption, TrialCounts


@shows_progress(SweepView)
@holding_out
def sweep(
    variants: ModelReference | Sequence[ModelReference],
    *,
    out: str | Path,
    name: str | None = None,
    spec: SweepSpec | None = None,
    data: DataSpec | str | Path | None = None,
    labels: str | Path | None = None,
    limit: int | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
    **fields: Unpack[SweepFields],
) -> SweepResult:
    """Measure every combination of variants, devices, shapes, batches, loads and precisions.

    The journal of the folder has each finished trial before the next one begins.  A call with the
    same folder resumes.  It measures trials again that fall short of its settings (rounds, seconds,
    target), with the trials that they are compared with.

    Args:
        variants: Variants, or models that are converted into the folder first; or a single one.
        out: Sweep folder.
        name: Name of the sweep in reports; by default the name of the folder.
        spec: Axes and measurement settings; a device that is not available has no rows.
        data: Held-out samples: inputs of the requests, and data of the quality of each variant,
            device, precision and shape.
        labels: Labels of a folder of images.
        limit: Maximum number of samples.
        metric: Quality metric, see :func:`ovtool.evaluation.evaluate.evaluate_each`.
        outputs: Names of the outputs to judge; all by default.
        trust: Whether the function of ``metric`` may be imported.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether to repeat trials that failed.
        observer: Receives the plan, the progress and the measurements.
        progress: Receives the progress of conversions.
        fields: Fields of ``spec``: ``devices=["CPU"], batches=[1, 4], rounds=3``.

    Raises:
        InputError: An axis, a variant or the metric is not valid, or no trial has a valid batch
            and shapes.
        MissingDeviceError: No device is available, or with ``strict`` any is missing.
        MissingDependencyError: openvino-genai is not installed, which measures text generators.
        NothingMeasuredError: No trial could be measured or estimated.
    """
    from ovtool.results.sweep_rows import write_sweep_rows
    from ovtool.sweep.estimates import Estimator, select_targets

    spec, folder = with_fields(SweepSpec, spec, fields), Path(out)
    observer, data = observer or SilentObserver(), as_data_spec(data, labels, limit)
    if isinstance(variants, str | Path | Variant):
        variants = [variants]
    SweepFolder.create(folder)
    preparation = Preparation(folder, spec.timeout_s, progress, judged=data is not None)
    with closing(preparation):
        preparation.start(variants)
        targets = select_targets(spec, strict=strict)
        loaded, baseline = load_variants(variants, spec, preparation, progress)
        weights = preparation.measure_weights(loaded, baseline)
    failures = preparation.failures
    usable = [v for v in loaded if v.id not in failures]
    samples = VariantSamples(data, progress) if data and usable else None
    requested = plan_trials(loaded, targets.names, spec)
    if any(t.generation is not None and t.variant not in failures for t in requested):
        require_packages("measuring a text generator", "openvino_genai")
    trials = drop_default_precisions(requested, targets.default_precisions)
    if len(trials) < len(requested):
        default = units.listing([f"{v} on {k}" for k, v in targets.default_precisions.items()], 3)
        progress.note(f"the default precision is {default}: not measured twice")
    check_shapes([t for t in trials if t.variant not in failures], usable, samples)
    planned = describe_variants(loaded, baseline, samples, weights, failures)
    request = MetricRequest(metric, tuple(outputs), trust)
    quality = select_metric(request, samples, usable, planned, progress) if usable else None
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


def _check_measured(folder: Path, plan: SweepPlan) -> None:
    """Raise NothingMeasuredError if every trial failed."""
    if all(m.status == "failed" for m in SweepFolder(folder).measurements()):
        first = next(SweepFolder(folder).measurements(), None)
        raise NothingMeasuredError(
            f"none of {len(plan.trials)} trials could be measured",
            f"{first.trial.label}: {first.reason}" if first else "the plan is empty",
        )


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


def select_metric(
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
        judge = _make_judge(request, source, samples)
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


def _make_judge(request: MetricRequest, source: Variant, samples: VariantSamples) -> Judge:
    if source.record.generates_text:
        return judge_text(request, source, samples)
    return make_judge(request, source, samples(source))
