"""Measure groups of trials: worker processes, real inputs, and quality by the same model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import failed_measurement, measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.notes import make_note
from ovtool.evaluation.evaluator import BaselineError, Evaluator, write_request
from ovtool.evaluation.language_evaluator import TextEvaluator
from ovtool.evaluation.metrics import MetricRequest
from ovtool.roofline.predict import TrialRooflines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovtool.benchmark.engine import MeasurementProgress
    from ovtool.benchmark.session import Job, Session
    from ovtool.core.measurement import Measurement
    from ovtool.core.notes import Note
    from ovtool.core.sweep_folder import SweepPlan
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import VariantSamples


class Observer(Protocol):
    """Receives the progress of a sweep, between measurements and never during one."""

    def on_plan(self, plan: SweepPlan, finished: int, repeated: int) -> None:
        """Receive the plan, and the numbers of trials that are finished already or repeated.

        Repeated trials fall short of the settings of the plan, or are in a group with such a trial.
        """

    def on_progress(self, step: MeasurementProgress) -> None:
        """Receive a step of the current trial."""

    def on_measurement(self, measurement: Measurement) -> None:
        """Receive a measurement that is on the disk."""


class SilentObserver:
    """Ignores all progress."""

    def on_plan(self, plan: SweepPlan, finished: int, repeated: int) -> None:
        """Ignore."""

    def on_progress(self, step: MeasurementProgress) -> None:
        """Ignore."""

    def on_measurement(self, measurement: Measurement) -> None:
        """Ignore."""


class Measurer:
    """Measures groups of trials, and the quality of each configuration once.

    Requests use the held-out samples; without samples, random inputs.  ``caveats`` are notes by
    device, for devices without real measurements.
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        plan: SweepPlan,
        samples: VariantSamples | None,
        settings: MeasurementSettings,
        environment: str,
        observer: Observer,
        scratch: Path,
        caveats: Mapping[str, Note] | None = None,
        request: MetricRequest | None = None,
    ) -> None:
        self._variants = {v.id: v for v in variants}
        self._samples, self._settings = samples, settings
        self._environment, self._observer, self._scratch = environment, observer, scratch
        self._caveats = caveats or {}
        self._runner = ProcessRunner(timeout_s=settings.timeout_s, seed=settings.seed)
        self._requests: dict[object, Path] = {}
        self._evaluator: Evaluator | None = None
        self._text_evaluator: TextEvaluator | None = None
        self._rooflines = TrialRooflines(environment)
        self.evaluated: set[tuple[object, ...]] = set()
        """Configurations with known quality."""
        if samples is not None:
            baselines = {i: planned.baseline for i, planned in plan.variants.items()}
            self._evaluator = Evaluator(
                samples,
                self._variants,
                baselines,
                self._runner,
                request or MetricRequest(),
                self.evaluated,
            )
            self._text_evaluator = TextEvaluator(
                samples, self._variants, baselines, scratch, settings.timeout_s, self.evaluated
            )

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure a group; a trial that cannot be prepared gives a failed measurement."""
        ready: list[Job] = []
        rows: dict[str, Measurement] = {}
        for trial in trials:
            try:
                ready.append(self._job(trial))
            except TrialFailedError as error:
                rows[trial.id] = failed_measurement(trial, self._environment, str(error))
        measured = measure_group(
            ready,
            self._runner,
            self._settings,
            self._environment,
            evaluate=self._evaluate,
            on_progress=self._observer.on_progress,
        )
        rows |= {m.trial.id: m for m in measured}
        return [self._mark(rows[trial.id]) for trial in trials]

    def _evaluate(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return quality figures and roofline figures of a trial, with notes."""
        quality: tuple[dict[str, float], list[Note]] = ({}, [])
        if self._text_evaluator is not None and trial.generation is not None:
            quality = self._text_evaluator(trial)
        elif self._evaluator is not None:
            quality = self._quality(self._evaluator, trial, session)
        figures, notes = self._rooflines.of(trial, session)
        return quality[0] | figures, [*quality[1], *notes]

    def _quality(
        self, evaluator: Evaluator, trial: Trial, session: Session
    ) -> tuple[dict[str, float], list[Note]]:
        """Return the quality of a trial; a note if it has neither labels nor a baseline."""
        variant = self._variants[trial.variant]
        if evaluator.baselines[trial.variant] is None and not evaluator.samples(variant).labelled:
            source = variant.record.source.compression
            return {}, [make_note("no-baseline", f"source {source}")]
        try:
            return evaluator(trial, session)
        except BaselineError as error:
            raise TrialFailedError(str(error)) from error

    def _mark(self, measurement: Measurement) -> Measurement:
        if self._evaluator is not None and measurement.status == "ok":
            baseline = self._evaluator.baselines[measurement.trial.variant]
            measurement = replace(measurement, evaluated_against=baseline)
        note = self._caveats.get(measurement.trial.device)
        if note is None:
            return measurement
        return replace(measurement, emulated=True, notes=(*measurement.notes, note))

    def _job(self, trial: Trial) -> Job:
        variant = self._variants[trial.variant]
        job = jobs.prepare_job(trial, variant)
        if self._samples is None or trial.generation is not None:
            return job
        key = (job.names, job.data_shapes, job.batch_axes, variant.record.preprocessing)
        if key not in self._requests:
            target = self._scratch / f"request-{len(self._requests)}.npz"
            self._requests[key] = write_request(self._samples(variant), job, target)
        return replace(job, inputs=self._requests[key])
