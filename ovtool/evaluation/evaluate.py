"""The verb evaluate: quality of a variant on devices, and their difference from the CPU in f32."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core import temporary, units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import InputError
from ovtool.core.notation import type_name
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular, TabularList
from ovtool.core.terminal import shows_progress
from ovtool.datasets.fingerprint import evaluation_notes
from ovtool.datasets.spec import DataSpec, as_data_spec
from ovtool.devices.discovery import find_caveats, select_available
from ovtool.models.convert import ModelReference, load_or_convert_next_to, load_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovtool.benchmark.session import Runner
    from ovtool.core.columns import Metric, QualityMetric
    from ovtool.core.notes import Note
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.device_difference import DeviceDifference
    from ovtool.evaluation.evaluator import Evaluator
    from ovtool.evaluation.metrics import MetricRequest
    from ovtool.evaluation.outputs import OutputQuality

EXACT = "exact"
"""Stands for the precision of the most accurate mode of a device."""


@dataclass(frozen=True, slots=True, repr=False)
class Quality(Tabular):
    """Quality of a variant on a device, from :func:`evaluate`.

    Args:
        variant: Name of the variant.
        precision: The requested precision.
        executed_precision: The executed precision; None if unknown.
        figures: Quality figures by column name.
        metric: Column of the figure that decides.
        reason: Why this figure decides.
        outputs: The outputs, and their channel groups, compared with the baseline.
        notes: Warnings.
        difference: Difference from the same variant on the CPU in f32; None for that run.
    """

    variant: str
    device: str
    precision: str
    executed_precision: str | None
    figures: dict[str, float]
    notes: tuple[Note, ...]
    metric: QualityMetric
    reason: str = ""
    outputs: tuple[OutputQuality, ...] = ()
    difference: DeviceDifference | None = None

    def _title(self) -> str:
        figure = units.interval_text(
            self.figures.get(self.metric),
            self.figures.get(f"{self.metric}_ci_low"),
            self.figures.get(f"{self.metric}_ci_high"),
        )
        where = f"{self.variant} on {self.device} in {self.executed_precision or self.precision}"
        return f"{where}: {BY_NAME[self.metric].title} {figure}"

    def _rows(self) -> list[dict[str, Any]]:
        names = ("variant", "device", "precision", "executed_precision", "metric")
        error = None if self.difference is None else self.difference.error
        row = {name: getattr(self, name) for name in names}
        return [row | self.figures | {"error_vs_cpu_f32": error}]


@shows_progress()
def evaluate(
    model: ModelReference,
    data: DataSpec | str | Path,
    *,
    labels: str | Path | None = None,
    limit: int | None = None,
    baseline: ModelReference | None = None,
    device: str = "CPU",
    precision: str = "default",
    batch: int | None = None,
    tolerance: float | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    progress: Progress = SILENT,
) -> Quality:
    """Measure the quality on one device in one precision; see :func:`evaluate_each`."""
    (quality,) = evaluate_each(
        model,
        data,
        labels=labels,
        limit=limit,
        baseline=baseline,
        devices=[device],
        precisions=[precision],
        batch=batch,
        tolerance=tolerance,
        metric=metric,
        outputs=outputs,
        trust=trust,
        progress=progress,
    )
    return quality


@shows_progress()
def evaluate_each(
    model: ModelReference,
    data: DataSpec | str | Path,
    *,
    labels: str | Path | None = None,
    limit: int | None = None,
    baseline: ModelReference | None = None,
    devices: Sequence[str] = ("CPU",),
    precisions: Sequence[str] = ("default",),
    batch: int | None = None,
    tolerance: float | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    progress: Progress = SILENT,
) -> TabularList[Quality]:
    """Measure quality against labels, and how outputs agree with the uncompressed variant.

    The outputs for a few samples are also compared with those of the same variant on the CPU in
    f32. If they differ by more than the tolerance, a note names the operation where they diverge.

    A text generator is judged by its perplexity over a text, and by its divergence from a baseline.

    Args:
        model: The variant.
        data: Held-out samples; a text for a text generator.
        labels: Labels of a folder of images.
        limit: Maximum number of samples.
        baseline: The uncompressed model: a variant, or a model that is converted. Its f32 outputs
            on the CPU are the reference.
        devices: Devices to run on.
        precisions: Inference precisions to request of each device; ``exact`` is its most accurate
            mode.
        batch: Samples in a request; None: the fixed batch of the variant, or 1.
        tolerance: Largest difference from the CPU in f32 without a warning, relative to the
            largest output; 0.05 by default.
        metric: ``top1``, ``agreement``, ``characters``, ``cosine``, ``mae``, ``map``, ``iou``,
            ``perplexity`` or ``module:function``; by default by the labels, else by the outputs,
            see :mod:`ovtool.evaluation.metrics`.
        outputs: Names of the outputs to judge; all by default.
        trust: Whether the function of ``metric`` may be imported.
        progress: Receives the stages.

    Raises:
        InputError: There are neither labels nor a baseline, or the model does not run.
        MissingDeviceError: A device is not available.
    """
    from ovtool.evaluation.metrics import MetricRequest

    with temporary.scratch_folder("evaluate") as scratch:
        base = None
        if baseline is not None:
            base = load_or_convert_next_to(baseline, None, scratch, progress)
        request = MetricRequest(metric, tuple(outputs), trust)
        variant = load_variant(model)
        if variant.record.generates_text:
            other = None if metric == "perplexity" else metric
            _reject_options(
                labels=labels, output=outputs or None, batch=batch, tolerance=tolerance,
                metric=other,
            )  # fmt: skip
            spec = as_data_spec(data, None, limit)
            wanted = list(map(type_name, precisions))
            return _evaluate_texts(variant, base, spec, devices, wanted, scratch, progress)
        return _evaluate_each(
            variant,
            base,
            as_data_spec(data, labels, limit),
            devices,
            list(map(type_name, precisions)),
            batch,
            tolerance,
            request,
            progress,
        )


def _reject_options(**options: object) -> None:
    """Reject options that a text generator has no use for.

    Raises:
        InputError: One is given.
    """
    if given := [f"--{name}" for name, value in options.items() if value is not None]:
        raise InputError(
            f"{', '.join(given)}: a text generator is judged by the perplexity over a text",
            "remove the option; --data is a text, --baseline the uncompressed model",
        )


def _evaluate_texts(
    variant: Variant,
    base: Variant | None,
    spec: DataSpec,
    devices: Sequence[str],
    precisions: Sequence[str],
    scratch: Path,
    progress: Progress,
) -> TabularList[Quality]:
    """Measure the quality of a text generator over a text."""
    from ovtool.evaluation import language

    names, _ = select_available(devices, strict=True)
    text = language.load_text(variant, spec, progress)
    reference = None if base is None else language.open_reference(base, text, scratch)
    pairs = dict.fromkeys((device, precision) for device in names for precision in precisions)
    return TabularList(
        language.evaluate_text(variant, text, reference, device, precision, progress)
        for device, precision in pairs
    )


def _evaluate_each(
    variant: Variant,
    base: Variant | None,
    spec: DataSpec,
    devices: Sequence[str],
    precisions: Sequence[str],
    batch: int | None,
    tolerance: float | None,
    request: MetricRequest,
    progress: Progress,
) -> TabularList[Quality]:
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.evaluation.device_difference import TOLERANCE
    from ovtool.evaluation.evaluator import Evaluator

    names, _ = select_available(devices, strict=True)
    samples = spec.load(variant, progress)
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"the tolerance {tolerance:g} is not positive", "0.05 is 5%")
    runner = ProcessRunner()
    variants = {v.id: v for v in (variant, base) if v is not None}
    baselines = {variant.id: base.id if base else None}
    evaluator = Evaluator(lambda _: samples, variants, baselines, runner, request)
    judge = evaluator.judge(variant.id)
    if judge.compares and base is None:
        raise InputError(
            f"{spec.source} is judged by the {BY_NAME[judge.column].title} ({judge.reason}), and"
            " there is no baseline to compare with",
            "set --baseline to the uncompressed model, or give labels with --labels",
        )
    progress.note(f"quality is judged by {BY_NAME[judge.column].title}: {judge.reason}")
    limit = TOLERANCE if tolerance is None else tolerance
    caveats = find_caveats(names)
    notes = evaluation_notes(variant.record, samples)
    evaluation = _Evaluation(variant, samples, evaluator, runner, caveats, limit, notes, progress)
    pairs = dict.fromkeys((device, precision) for device in names for precision in precisions)
    return TabularList(evaluation.run(device, precision, batch) for device, precision in pairs)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The evaluation of one variant on several devices."""

    variant: Variant
    samples: Samples
    evaluator: Evaluator
    runner: Runner
    caveats: Mapping[str, Note]
    tolerance: float
    notes: tuple[Note, ...]
    """Warnings about the samples."""
    progress: Progress

    def run(self, device: str, precision: str, batch: int | None) -> Quality:
        """Evaluate on a device in a precision."""
        from ovtool.benchmark import jobs
        from ovtool.benchmark.session import TrialFailedError
        from ovtool.core.device_names import mark_device
        from ovtool.devices import rules
        from ovtool.evaluation.device_difference import compare_with_cpu
        from ovtool.evaluation.repeatability import check_repeatable

        self.progress.start(f"evaluating {self.variant.name} on {device} in {precision}")
        exact = rules.exact_properties(device) if precision == EXACT else {}
        if precision == EXACT and not exact:
            raise InputError(
                f"precision {EXACT} is not supported by the virtual device {device}",
                "evaluate its member devices",
            )
        trial = self._trial(device, exact.get("INFERENCE_PRECISION_HINT", precision), batch)
        difference = None
        try:
            job = jobs.prepare_job(trial, self.variant)
            job = replace(job, properties={**job.properties, **exact})
            with contextlib.closing(self.runner.open(job)) as session:
                result = self.evaluator.score(trial, session)
                notes = list(result.notes)
                executed = session.info.executed_precision
                shown = mark_device(device) if device in self.caveats else device
                subject = f"{self.variant.name} on {shown} in {executed or precision}"
                unsteady = check_repeatable(session, job, self.samples, self.runner, subject)
                notes += [unsteady] if unsteady else []
                if (device, precision) != ("CPU", EXACT):
                    difference = compare_with_cpu(
                        session, job, self.samples, self.runner, self.tolerance
                    )
        except TrialFailedError as error:
            raise InputError(f"{trial.label}: {error}") from error
        notes = [*self.notes, *notes]
        if difference is not None:
            note = difference.note(subject)
            notes += [note] if note else []
        if device in self.caveats:
            notes.append(self.caveats[device])
        judge = self.evaluator.judge(self.variant.id)
        return Quality(
            variant=self.variant.name,
            device=shown,
            precision=precision,
            executed_precision=executed,
            figures=result.figures,
            metric=judge.column,
            reason=judge.reason,
            outputs=result.outputs,
            notes=tuple(notes),
            difference=difference,
        )

    def _trial(self, device: str, precision: str, batch: int | None) -> Trial:
        from ovtool.core.trial_grid import plan_trials, single_spec
        from ovtool.evaluation.evaluator import read_sample_shapes

        shapes = dict(read_sample_shapes(self.samples, self.variant))
        spec = single_spec(batch=batch, precision=precision, shapes=shapes)
        (trial,) = plan_trials([self.variant], [device], spec)
        return trial
