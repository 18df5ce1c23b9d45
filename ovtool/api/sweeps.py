"""Verbs on many trials: sweep, report, choose."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from ovtool.api.evaluation import Evaluator, write_request
from ovtool.api.models import DataSpec, Reference, SamplesOf, as_variant, available, existing
from ovtool.errors import InputError, NothingMeasuredError
from ovtool.progress import SILENT, Progress
from ovtool.store import Plan, PlannedVariant, SweepFolder, Unavailable
from ovtool.variant import RECORD, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.measure.engine import Progressed, Settings
    from ovtool.measure.session import Job, Runner
    from ovtool.report.choice import Choice, Objective
    from ovtool.report.limits import Limits
    from ovtool.report.summary import Summary
    from ovtool.report.write import ReportFiles
    from ovtool.results import Measurement
    from ovtool.sweep.plan import Axes
    from ovtool.trial import Trial

Metric = Literal["top1", "agreement"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Observer(Protocol):
    """What a sweep reports to, between measurements and never during one."""

    def planned(self, plan: Plan, finished: int) -> None:
        """Told the plan, and how many of its trials the folder has already."""

    def progressed(self, step: Progressed) -> None:
        """Told where the trial that is measured stands."""

    def finished(self, measurement: Measurement) -> None:
        """Told each measurement once it is on the disk."""


class Quiet:
    """Reports nothing."""

    def planned(self, plan: Plan, finished: int) -> None:
        """Ignore."""

    def progressed(self, step: Progressed) -> None:
        """Ignore."""

    def finished(self, measurement: Measurement) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class SweepDone:
    """What a sweep came to, in trials; ``reused`` were in its folder already."""

    folder: Path
    measured: int
    failed: int
    reused: int
    unavailable: Mapping[str, str]


def sweep(
    variants: Sequence[Reference],
    *,
    out: str | Path,
    name: str | None = None,
    devices: Sequence[str] = ("CPU",),
    axes: Axes | None = None,
    data: DataSpec | str | None = None,
    metric: Metric | None = None,
    settings: Settings | None = None,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
) -> SweepDone:
    """Measure every combination of variants, devices, batches, loads and precisions.

    Finished trials are in the folder's journal before the next ones begin: called again with the
    same folder, it goes on where it stopped.

    Args:
        variants: What to measure; a source that is no variant is converted into the folder first.
        out: The sweep's folder.
        name: What a report calls it; by default as the folder.
        devices: OpenVINO's names; one that is not there leaves its rows out.
        axes: What to vary.
        data: Held-out samples: the quality of each variant, device and precision is measured too,
            and the requests carry real inputs.
        metric: Which quality counts; by default top-1 where there are labels, else agreement.
        settings: How long and how sure.
        strict: Whether a device that is not there is an error.
        retry_failed: Whether trials that failed before are tried again.
        observer: Told of the plan, of progress and of results.
        progress: Told of conversions.

    Raises:
        InputError: Something asked for is not possible.
        MissingDeviceError: ``strict``, and a device is missing; or none is there.
        NothingMeasuredError: Not one trial could be measured.
    """
    from ovtool.devices.discovery import discover
    from ovtool.measure.engine import Settings
    from ovtool.measure.environment import environment
    from ovtool.measure.process import ProcessRunner
    from ovtool.sweep import plan as planning
    from ovtool.sweep import run as running

    wanted = axes or planning.Axes()
    wanted.check()
    there, missing = available(devices, strict=strict)
    folder, chosen = Path(out), settings or Settings()
    loaded = [_loaded(v, folder, progress) for v in variants]
    spec = DataSpec(data) if isinstance(data, str) else data
    samples = SamplesOf(spec, progress) if spec else None
    plan = Plan(
        name=name or folder.resolve().name,
        variants=_planned(loaded),
        trials=planning.trials(loaded, there, wanted),
        unavailable=tuple(Unavailable(device=d, reason=why) for d, why in missing.items()),
        quality_metric=_metric(metric, samples, loaded),
        evaluated_on=samples.described(loaded[0]) if samples else None,
        settings=asdict(chosen),
    )
    facts = {
        d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
        for d in discover()
        if d.available
    }
    now = environment(facts)
    watching = observer or Quiet()
    with tempfile.TemporaryDirectory(prefix="ovtool-sweep-") as scratch:
        group = _Group(
            variants={v.id: v for v in loaded},
            samples=samples,
            scratch=Path(scratch),
            runner=ProcessRunner(timeout_s=chosen.timeout_s, seed=chosen.seed),
            settings=chosen,
            environment=now.id,
            observer=watching,
            evaluator=None,
        )
        if samples is not None:
            baselines = {i: p.baseline for i, p in plan.variants.items()}
            group.evaluator = Evaluator(
                samples, group.variants, baselines, group.runner, _evaluated(folder)
            )
        done = running.run(
            folder,
            plan,
            now,
            group.measure,
            retry_failed=retry_failed,
            on_start=lambda finished: watching.planned(plan, finished),
            on_finished=watching.finished,
        )
    _write_results(folder)
    if not any(m.status == "ok" for m in SweepFolder(folder).measurements()):
        raise NothingMeasuredError(
            f"not one of {len(plan.trials)} trials could be measured", _first_reason(folder)
        )
    return SweepDone(folder, done.measured, done.failed, done.reused, missing)


@dataclass(slots=True)
class _Group:
    """Measures the trials of a group with what the sweep shares."""

    variants: Mapping[str, Variant]
    samples: SamplesOf | None
    scratch: Path
    runner: Runner
    settings: Settings
    environment: str
    observer: Observer
    evaluator: Evaluator | None
    _requests: dict[object, Path] = field(default_factory=dict)

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure; a trial that cannot even be prepared is a row with its reason."""
        from ovtool.measure.engine import failed, measure_group
        from ovtool.measure.session import TrialFailedError

        jobs: list[Job] = []
        rows: dict[str, Measurement] = {}
        for trial in trials:
            try:
                jobs.append(self._job(trial))
            except TrialFailedError as error:
                rows[trial.id] = failed(trial, self.environment, str(error))
        measured = measure_group(
            jobs,
            self.runner,
            self.settings,
            self.environment,
            evaluate=self.evaluator,
            on_progress=self.observer.progressed,
        )
        rows |= {m.trial.id: m for m in measured}
        return [rows[trial.id] for trial in trials]

    def _job(self, trial: Trial) -> Job:
        from ovtool.devices import rules
        from ovtool.measure import jobs

        variant = self.variants[trial.variant]
        job = jobs.job(trial, variant, rules.properties(trial))
        if self.samples is None:
            return job
        key = (job.names, job.shapes, job.batch_axes, variant.record.preprocessing)
        if key not in self._requests:
            target = self.scratch / f"request-{len(self._requests)}.npz"
            self._requests[key] = write_request(self.samples(variant), job, target)
        return replace(job, inputs=self._requests[key])


def report(
    sweeps: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    limits: Limits | None = None,
    objective: Objective = "throughput",
    percentile: int = 99,
) -> ReportFiles:
    """Write a page, tables and charts of one or many sweeps.

    Args:
        sweeps: Sweep folders, of one machine or of many.
        out: Where to write; by default the first sweep's folder.
        limits: What the recommended trial must meet.
        objective: What it should be best at.
        percentile: The latency percentile that limits and objective are about.

    Raises:
        InputError: A folder is no sweep.
    """
    from ovtool.report.limits import Limits
    from ovtool.report.write import write

    target = Path(out) if out is not None else Path(sweeps[0])
    return write(sweeps, target, limits or Limits(), objective, percentile)


def choose(
    sweeps: Sequence[str | Path],
    *,
    limits: Limits | None = None,
    objective: Objective = "throughput",
    percentile: int = 99,
) -> Choice:
    """Recommend a device, variant, batch and load under limits.

    Args:
        sweeps: Sweep folders.
        limits: What the recommended trial must meet.
        objective: What it should be best at.
        percentile: The latency percentile that limits and objective are about.

    Raises:
        LimitNotMetError: Nothing fits; the error carries the nearest miss.
        NothingMeasuredError: There is no measured trial.
        InputError: A folder is no sweep, or the objective was measured nowhere.
    """
    from ovtool.report import choice, table
    from ovtool.report.limits import Limits

    return choice.choose(table.load(sweeps), limits or Limits(), objective, percentile)


def summary(sweeps: Sequence[str | Path]) -> Summary:
    """Return a line for each variant and precision: size, quality, latency, speed, speed-up.

    Raises:
        InputError: A folder is no sweep.
    """
    from ovtool.report import summary as summaries
    from ovtool.report import table

    return summaries.summary(table.load(sweeps))


def _loaded(model: Reference, folder: Path, progress: Progress) -> Variant:
    if isinstance(model, Variant) or (Path(model) / RECORD).is_file():
        return existing(model)
    from ovtool.sources.convert import default_name

    name = default_name(str(model))
    return as_variant(model, folder / "variants" / name, name=name, progress=progress)


def _planned(variants: Iterable[Variant]) -> dict[str, PlannedVariant]:
    """Describe variants, each with the uncompressed one of the same source as its baseline."""
    loaded = list(variants)
    uncompressed = {v.record.source.model_dump_json(): v.id for v in loaded if not v.compressed}
    return {
        v.id: PlannedVariant(
            name=v.name,
            folder=str(v.folder),
            model_mib=v.model_mib,
            compressed=v.compressed,
            baseline=uncompressed.get(v.record.source.model_dump_json()),
            steps=tuple(step.method for step in v.record.steps),
        )
        for v in loaded
    }


def _metric(
    metric: Metric | None, samples: SamplesOf | None, variants: Sequence[Variant]
) -> Literal["accuracy_top1", "agreement_top1"] | None:
    if samples is None:
        if metric is not None:
            raise InputError(f"the metric {metric} needs samples", "give some with --data")
        return None
    labelled = all(samples(v).labelled for v in variants)
    if metric == "top1" and not labelled:
        raise InputError(f"{samples.spec.source} has no labels, so top-1 cannot be measured")
    if metric == "top1" or (metric is None and labelled):
        return "accuracy_top1"
    planned = _planned(variants).values()
    alone = [p.name for p in planned if p.baseline is None]
    if alone:
        raise InputError(
            f"nothing to compare {alone[0]} with: {samples.spec.source} has no labels, and its"
            " uncompressed variant is not in the sweep",
            "add the uncompressed variant",
        )
    return "agreement_top1"


def _evaluated(folder: Path) -> set[tuple[str, str, str]]:
    """Return the (variant, device, precision) whose quality the journal has."""
    return {
        (m.trial.variant, m.trial.device, m.trial.precision)
        for m in SweepFolder(folder).measurements()
        if "quality_samples" in m.figures
    }


def _write_results(folder: Path) -> None:
    from ovtool import files
    from ovtool.report import table
    from ovtool.store import RESULTS

    rows = table.plain(table.load([folder]))
    files.write_file(folder / RESULTS, lambda path: rows.to_parquet(path, index=False))


def _first_reason(folder: Path) -> str:
    failures = [m for m in SweepFolder(folder).measurements() if m.status == "failed"]
    return f"{failures[0].trial.label}: {failures[0].reason}" if failures else "the plan is empty"
