"""What a sweep measures with: processes, real inputs, and quality by the same compiled model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import failed_measurement, measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.device_names import mark_device
from ovtool.core.notes import make_note
from ovtool.evaluation.evaluator import Evaluator, write_request
from ovtool.roofline.predict import TrialRooflines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovtool.benchmark.engine import MeasurementProgress
    from ovtool.benchmark.session import Job, Session
    from ovtool.core.measurement import Measurement
    from ovtool.core.notes import Note
    from ovtool.core.sweep_folder import Plan
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import VariantSamples


class Observer(Protocol):
    """What a sweep reports to, between measurements and never during one."""

    def planned(self, plan: Plan, finished: int) -> None:
        """Told the plan, and how many of its trials the folder has already."""

    def progressed(self, step: MeasurementProgress) -> None:
        """Told where the trial that is measured stands."""

    def finished(self, measurement: Measurement) -> None:
        """Told each measurement once it is on the disk."""


class Quiet:
    """Reports nothing."""

    def planned(self, plan: Plan, finished: int) -> None:
        """Ignore."""

    def progressed(self, step: MeasurementProgress) -> None:
        """Ignore."""

    def finished(self, measurement: Measurement) -> None:
        """Ignore."""


class Measurer:
    """Measures groups of trials, and the quality of each of their configurations once.

    Args:
        variants: All that the plan has trials of.
        plan: What is measured; it knows the variants' baselines.
        samples: Held-out samples, which the requests carry too; None measures on random inputs.
        settings: How long and how sure.
        environment: Id of the environment, for the measurements.
        observer: Told of progress.
        scratch: A folder for the requests' inputs.
        emulated: Devices whose measurements are marked: they are played by something else.
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        plan: Plan,
        samples: VariantSamples | None,
        settings: MeasurementSettings,
        environment: str,
        observer: Observer,
        scratch: Path,
        emulated: frozenset[str] = frozenset(),
    ) -> None:
        self._variants = {v.id: v for v in variants}
        self._samples, self._settings = samples, settings
        self._environment, self._observer, self._scratch = environment, observer, scratch
        self._emulated = emulated
        self._runner = ProcessRunner(timeout_s=settings.timeout_s, seed=settings.seed)
        self._requests: dict[object, Path] = {}
        self._evaluator: Evaluator | None = None
        self._rooflines = TrialRooflines(environment, emulated)
        self.evaluated: set[tuple[object, ...]] = set()
        """Configurations of trials whose quality is known."""
        if samples is not None:
            baselines = {i: planned.baseline for i, planned in plan.variants.items()}
            self._evaluator = Evaluator(
                samples, self._variants, baselines, self._runner, self.evaluated
            )

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure a group; a trial that cannot even be prepared is a row with its reason."""
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
            on_progress=self._observer.progressed,
        )
        rows |= {m.trial.id: m for m in measured}
        return [self._marked(rows[trial.id]) for trial in trials]

    def _evaluate(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Take the quality of a trial, and what its device's calibration says of it."""
        taken: tuple[dict[str, float], list[Note]] = ({}, [])
        if self._evaluator is not None:
            taken = self._evaluator(trial, session)
        figures, notes = self._rooflines.of(trial, session)
        return taken[0] | figures, [*taken[1], *notes]

    def _marked(self, found: Measurement) -> Measurement:
        device = found.trial.device
        if device not in self._emulated:
            return found
        note = make_note("emulated", mark_device(device))
        return replace(found, emulated=True, notes=(*found.notes, note))

    def _job(self, trial: Trial) -> Job:
        variant = self._variants[trial.variant]
        job = jobs.prepare_job(trial, variant)
        if self._samples is None:
            return job
        key = (job.names, job.data_shapes, job.batch_axes, variant.record.preprocessing)
        if key not in self._requests:
            target = self._scratch / f"request-{len(self._requests)}.npz"
            self._requests[key] = write_request(self._samples(variant), job, target)
        return replace(job, inputs=self._requests[key])
