"""The verb evaluate: quality of a variant on devices, and their difference from the CPU in f32."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.core import temporary
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.fingerprint import evaluation_notes
from ovtool.datasets.spec import DataSpec
from ovtool.devices.discovery import find_caveats, select_available
from ovtool.models.convert import ModelReference, load_or_convert_next_to, load_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


@dataclass(frozen=True, slots=True)
class Quality:
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


def evaluate(
    model: ModelReference,
    data: DataSpec | str,
    *,
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


def evaluate_each(
    model: ModelReference,
    data: DataSpec | str,
    *,
    baseline: ModelReference | None = None,
    devices: Sequence[str] = ("CPU",),
    precisions: Sequence[str] = ("default", EXACT),
    batch: int | None = None,
    tolerance: float | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    trust: bool = False,
    progress: Progress = SILENT,
) -> list[Quality]:
    """Measure quality against labels, and how outputs agree with the uncompressed variant.

    The outputs for a few samples are also compared with those of the same variant on the CPU in
    f32. If they differ by more than the tolerance, a note names the operation where they diverge.

    Args:
        model: The variant.
        data: Held-out samples.
        baseline: The uncompressed model: a variant, or a model that is converted. Its f32 outputs
            on the CPU are the reference.
        devices: Devices to run on.
        precisions: Inference precisions to request of each device; ``exact`` is its most accurate
            mode.
        batch: Samples in a request; None: the fixed batch of the variant, or 1.
        tolerance: Largest difference from the CPU in f32 without a warning, relative to the
            largest output; 0.05 by default.
        metric: ``top1``, ``agreement``, ``characters``, ``cosine``, ``mae``, ``map``, ``iou`` or
            ``module:function``; by default by the labels, else by the outputs, see
            :mod:`ovtool.evaluation.metrics`.
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
        return _evaluate_each(
            load_variant(model),
            base,
            data,
            devices,
            precisions,
            batch,
            tolerance,
            request,
            progress,
        )


def _evaluate_each(
    variant: Variant,
    base: Variant | None,
    data: DataSpec | str,
    devices: Sequence[str],
    precisions: Sequence[str],
    batch: int | None,
    tolerance: float | None,
    request: MetricRequest,
    progress: Progress,
) -> list[Quality]:
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.evaluation.device_difference import TOLERANCE
    from ovtool.evaluation.evaluator import Evaluator

    names, _ = select_available(devices, strict=True)
    spec = DataSpec(data) if isinstance(data, str) else data
    samples = spec.load(variant, progress)
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"the tolerance {tolerance:g} is not positive", "0.05 is 5 %")
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
    return [evaluation.run(device, precision, batch) for device, precision in pairs]


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
                if (device, precision) != ("CPU", EXACT):
                    difference = compare_with_cpu(
                        session, job, self.samples, self.runner, self.tolerance
                    )
        except TrialFailedError as error:
            raise InputError(f"{trial.label}: {error}") from error
        notes = [*self.notes, *notes]
        shown = mark_device(device) if device in self.caveats else device
        if difference is not None:
            note = difference.note(f"{self.variant.name} on {shown} in {executed or precision}")
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
