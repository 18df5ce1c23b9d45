"""The verb evaluate: the quality of a variant on devices, and how far those are from the CPU."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.spec import DataSpec
from ovtool.devices.selection import available, emulated
from ovtool.models.references import Reference, existing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.benchmark.session import Job, Runner, Session
    from ovtool.core.notes import Note
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.device_difference import Difference
    from ovtool.evaluation.evaluator import Evaluator

EXACT = "exact"
"""The precision that stands for a device's most accurate mode."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What :func:`evaluate` found: figures by the names of ``columns.py``, and what it ran in.

    ``difference`` is from the same variant on the CPU in f32; None where it is that.
    """

    variant: str
    device: str
    precision: str
    executed_precision: str | None
    figures: dict[str, float]
    notes: tuple[Note, ...]
    difference: Difference | None = None


def evaluate(
    model: Reference,
    data: DataSpec | str,
    *,
    baseline: Reference | None = None,
    device: str = "CPU",
    precision: str = "default",
    batch: int = 1,
    tolerance: float | None = None,
    progress: Progress = SILENT,
) -> Quality:
    """Measure a variant's quality on one device in one precision; see :func:`evaluate_each`."""
    (found,) = evaluate_each(
        model,
        data,
        baseline=baseline,
        devices=[device],
        precisions=[precision],
        batch=batch,
        tolerance=tolerance,
        progress=progress,
    )
    return found


def evaluate_each(
    model: Reference,
    data: DataSpec | str,
    *,
    baseline: Reference | None = None,
    devices: Sequence[str] = ("CPU",),
    precisions: Sequence[str] = ("default", EXACT),
    batch: int = 1,
    tolerance: float | None = None,
    progress: Progress = SILENT,
) -> list[Quality]:
    """Measure a variant's quality against labels, or its agreement with an uncompressed one.

    Its outputs are also compared with its own on the CPU in f32, on a few samples.  Where they
    differ beyond the tolerance, a note names the operation from which on they do.

    Args:
        model: The variant.
        data: Held-out samples.
        baseline: The uncompressed variant to compare outputs with (run in f32 on the CPU).
        devices: Where to run.
        precisions: Inference precisions asked for, of each device; ``exact`` is its most accurate
            mode.
        batch: Samples in a request.
        tolerance: Largest difference from the CPU in f32 that is no warning, as a share of its
            largest output; by default 0.05.
        progress: Told of the stages.

    Returns:
        An answer for each device and precision.

    Raises:
        InputError: There are neither labels nor a baseline, or the model cannot run so.
        MissingDeviceError: A device is not there.
    """
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.evaluation.evaluator import Evaluator

    there, _ = available(devices, strict=True)
    spec = DataSpec(data) if isinstance(data, str) else data
    variant = existing(model)
    base = existing(baseline) if baseline is not None else None
    samples = spec.load(variant, progress)
    if not samples.labelled and base is None:
        raise InputError(
            f"{spec.source} has no labels, so there is nothing to compare with",
            "give the uncompressed variant with --baseline, or labels with --labels",
        )
    runner = ProcessRunner()
    known = {v.id: v for v in (variant, base) if v is not None}
    baselines = {variant.id: base.id if base else None}
    running = _Running(
        variant,
        samples,
        Evaluator(lambda _: samples, known, baselines, runner),
        runner,
        emulated(there),
        _tolerance(tolerance),
        progress,
    )
    asked = dict.fromkeys((d, p) for d in there for p in precisions)
    return [running.evaluated(device, precision, batch) for device, precision in asked]


def _tolerance(asked: float | None) -> float:
    from ovtool.evaluation.device_difference import TOLERANCE

    if asked is None:
        return TOLERANCE
    if not asked > 0:
        raise InputError(f"the tolerance {asked:g} is not above 0", "0.05 is 5 %")
    return asked


@dataclass(frozen=True, slots=True)
class _Running:
    """What the evaluations of one variant share."""

    variant: Variant
    samples: Samples
    evaluator: Evaluator
    runner: Runner
    emulated: frozenset[str]
    tolerance: float
    progress: Progress

    def evaluated(self, device: str, precision: str, batch: int) -> Quality:
        """Evaluate on a device in a precision."""
        from ovtool.benchmark.session import TrialFailedError
        from ovtool.core.device_names import mark_device
        from ovtool.core.notes import make_note

        self.progress.start(f"evaluating {self.variant.name} on {device} in {precision}")
        trial = self._trial(device, precision, batch)
        self.evaluator.known.clear()  # what is exact may be asked for by its own name too
        difference = None
        try:
            job = self._job(trial, exact=precision == EXACT)
            with contextlib.closing(self.runner.open(job)) as session:
                figures, notes = self.evaluator(trial, session)
                executed = session.opened.executed_precision
                if (device, precision) != ("CPU", EXACT):
                    difference = self._difference(job, session)
        except TrialFailedError as error:
            raise InputError(f"{trial.label}: {error}") from error
        shown = mark_device(device) if device in self.emulated else device
        if difference is not None:
            what = f"{self.variant.name} on {shown} in {executed or precision}"
            notes = [*notes, *(note for note in [difference.note(what)] if note is not None)]
        if device in self.emulated:
            notes = [*notes, make_note("emulated", shown)]
        return Quality(
            self.variant.name, shown, precision, executed, figures, tuple(notes), difference
        )

    def _trial(self, device: str, precision: str, batch: int) -> Trial:
        from ovtool.core.trial_grid import Axes, trials
        from ovtool.devices import rules
        from ovtool.evaluation.evaluator import shapes_of

        if precision == EXACT:
            exact = rules.exact_properties(device)
            if not exact:
                raise InputError(
                    f"{device} hands its work to others and has no most accurate mode of its own",
                    "evaluate each device behind it",
                )
            precision = exact["INFERENCE_PRECISION_HINT"]
        shapes = [dict(shapes_of(self.samples, self.variant))]
        axes = Axes(batches=[batch], hints=["latency"], precisions=[precision], shapes=shapes)
        (trial,) = trials([self.variant], [device], axes)
        return trial

    def _job(self, trial: Trial, *, exact: bool) -> Job:
        from ovtool.benchmark import jobs
        from ovtool.devices import rules

        job = jobs.prepare_job(trial, self.variant)
        more = rules.exact_properties(trial.device) if exact else {}
        return replace(job, properties={**job.properties, **more})

    def _difference(self, job: Job, session: Session) -> Difference:
        from ovtool.evaluation import device_difference as parting
        from ovtool.evaluation import judged_output

        index = judged_output(self.variant.record.outputs)
        return parting.difference(session, job, self.samples, index, self.runner, self.tolerance)
