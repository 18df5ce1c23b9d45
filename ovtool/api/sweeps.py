"""Verbs on many trials: sweep, report, choose."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.api.measuring import Measurer, Observer, Quiet
from ovtool.api.models import (
    DataSpec,
    Reference,
    SamplesOf,
    as_variant,
    available,
    emulated,
    existing,
)
from ovtool.errors import InputError, NothingMeasuredError
from ovtool.progress import SILENT, Progress
from ovtool.store import Environment, Plan, PlannedVariant, SweepFolder, Unavailable
from ovtool.variant import RECORD, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.measure.engine import Settings
    from ovtool.metrics import Metric, QualityMetric
    from ovtool.report.choice import Choice, Objective
    from ovtool.report.limits import Limits
    from ovtool.report.summary import Summary
    from ovtool.report.write import ReportFiles
    from ovtool.sweep.plan import Axes


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
    """Measure every combination of variants, devices, shapes, batches, loads and precisions.

    Finished trials are in the folder's journal before the next ones begin: called again with the
    same folder, it goes on where it stopped.

    Args:
        variants: What to measure; a source that is no variant is converted into the folder first.
        out: The sweep's folder.
        name: What a report calls it; by default as the folder.
        devices: OpenVINO's names; one that is not there leaves its rows out.
        axes: What to vary: shapes, batches, loads, precisions.
        data: Held-out samples: the quality of each variant, device, precision and shape is
            measured too, and the requests carry real inputs.
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
    from ovtool.measure.engine import Settings
    from ovtool.sweep import plan as planning
    from ovtool.sweep import run as running

    wanted = axes or planning.Axes()
    wanted.check()
    there, missing = available(devices, strict=strict)
    folder, chosen, watching = Path(out), settings or Settings(), observer or Quiet()
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
    now = _environment()
    with tempfile.TemporaryDirectory(prefix="ovtool-sweep-") as scratch:
        measurer = Measurer(
            loaded, plan, samples, chosen, now.id, watching, Path(scratch), emulated(there)
        )
        measurer.evaluated |= _evaluated(folder)
        done = running.run(
            folder,
            plan,
            now,
            measurer.measure,
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


def _environment() -> Environment:
    """Return the environment of now, with the devices that are there."""
    from ovtool.devices.discovery import discover
    from ovtool.measure.environment import environment

    return environment(
        {
            d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
            for d in discover()
            if d.available
        }
    )


def _metric(
    metric: Metric | None, samples: SamplesOf | None, variants: Sequence[Variant]
) -> QualityMetric | None:
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


def _evaluated(folder: Path) -> set[tuple[object, ...]]:
    """Return the configurations whose quality the journal has."""
    return {
        m.trial.configuration
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
