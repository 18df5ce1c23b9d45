"""The verb sweep: every combination that was asked for, measured or resumed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.metrics import COLUMNS
from ovtool.core.progress import SILENT, Progress
from ovtool.core.sweep_folder import Plan, PlannedVariant, SweepFolder, Unavailable
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.trial_grid import plan_trials
from ovtool.core.variant import RECORD, Variant
from ovtool.datasets.samples import check_metric, default_metric
from ovtool.datasets.spec import DataSpec, VariantSamples
from ovtool.devices.selection import describe_environment, find_emulated
from ovtool.models.references import Reference, as_variant, existing
from ovtool.sweep.measurer import Measurer, Observer, Quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.core.measurement import Measurement
    from ovtool.core.metrics import Metric, QualityMetric
    from ovtool.core.trial import Trial


@dataclass(frozen=True, slots=True)
class SweepDone:
    """What a sweep came to, in trials; ``reused`` were in its folder already."""

    folder: Path
    measured: int
    failed: int
    reused: int
    unavailable: Mapping[str, str]
    estimated: int = 0


def sweep(
    variants: Sequence[Reference],
    *,
    out: str | Path,
    name: str | None = None,
    spec: SweepSpec | None = None,
    data: DataSpec | str | None = None,
    metric: Metric | None = None,
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
        spec: The axes and the measurement settings; a device that is not available has no rows.
        data: Held-out samples: the quality of each variant, device, precision and shape is
            measured too, and the requests carry real inputs.
        metric: Which quality counts; by default that of the labels (top-1, or characters of
            texts), without labels agreement.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether trials that failed before are tried again.
        observer: Told of the plan, of progress and of results.
        progress: Told of conversions.

    Raises:
        InputError: Something asked for is not possible.
        MissingDeviceError: ``strict``, and a device is missing; or none is there.
        NothingMeasuredError: Not one trial could be measured or estimated.
    """
    from ovtool.results.sweep_rows import write_sweep_rows
    from ovtool.sweep import run as running
    from ovtool.sweep.estimates import Estimator, targets

    spec, folder, watching = spec or SweepSpec(), Path(out), observer or Quiet()
    found = targets(spec, strict=strict)
    loaded = _different([_loaded(v, folder, progress) for v in variants], progress)
    data = DataSpec(data) if isinstance(data, str) else data
    samples = VariantSamples(data, progress) if data else None
    planned = _planned(loaded)
    plan = Plan(
        name=name or folder.resolve().name,
        variants=planned,
        trials=plan_trials(loaded, found.names, spec),
        unavailable=tuple(Unavailable(device=d, reason=why) for d, why in found.missing.items()),
        quality_metric=_metric(metric, samples, loaded, planned),
        evaluated_on=samples.description(loaded[0]) if samples else None,
        settings=spec.measurement_settings(),
    )
    now = describe_environment()
    with tempfile.TemporaryDirectory(prefix="ovtool-sweep-") as scratch:
        measurer = Measurer(
            loaded,
            plan,
            samples,
            spec,
            now.id,
            watching,
            Path(scratch),
            find_emulated(found.there),
        )
        measurer.evaluated |= _evaluated(folder)
        estimator = Estimator({v.id: v for v in loaded}, now.id, found.compilers, watching)

        def rows(group: Sequence[Trial]) -> list[Measurement]:
            if group[0].device in found.compilers:  # the trials of a group have one device
                return estimator.rows(group)
            return measurer.measure(group)

        done = running.run(
            folder,
            plan,
            now,
            rows,
            retry_failed=retry_failed,
            on_start=lambda finished: watching.planned(plan, finished),
            on_finished=watching.finished,
        )
    write_sweep_rows(folder)
    if all(m.status == "failed" for m in SweepFolder(folder).measurements()):
        raise NothingMeasuredError(
            f"not one of {len(plan.trials)} trials could be measured", _first_reason(folder)
        )
    return SweepDone(folder, done.measured, done.failed, done.reused, found.missing, done.estimated)


def _loaded(model: Reference, folder: Path, progress: Progress) -> Variant:
    if isinstance(model, Variant) or (Path(model) / RECORD).is_file():
        return existing(model)
    from ovtool.models.convert import default_name

    name = default_name(str(model))
    return as_variant(model, folder / "variants" / name, name=name, progress=progress)


def _planned(variants: Iterable[Variant]) -> dict[str, PlannedVariant]:
    """Describe variants, each with the uncompressed one that it came from as its baseline."""
    loaded = list(variants)
    return {
        v.id: PlannedVariant(
            name=v.name,
            folder=str(v.folder),
            model_mib=v.model_mib,
            compressed=v.compressed,
            baseline=_baseline(v, loaded),
            steps=tuple(step.method for step in v.record.steps),
            weights=_weights(v),
        )
        for v in loaded
    }


def _different(loaded: Iterable[Variant], progress: Progress) -> list[Variant]:
    """Return the variants whose files differ; of equal ones the first, and say so.

    Equal ones of one name stay, for the plan to refuse: one of them was named by mistake.
    """
    kept: list[Variant] = []
    for variant in loaded:
        same = next((one for one in kept if one.id == variant.id), None)
        if same is None or (same is not variant and same.name == variant.name):
            kept.append(variant)
        elif same is not variant:
            progress.note(
                f"{variant.name} is the same model as {same.name}, byte for byte: measured once, "
                f"as {same.name}"
            )
    return kept


def _baseline(variant: Variant, swept: Iterable[Variant]) -> str | None:
    """Return the id of the uncompressed variant with most of a variant's first steps; or None."""

    def shared(other: Variant) -> int:
        taken = [(s.method, s.settings) for s in other.record.steps]
        first = [(s.method, s.settings) for s in variant.record.steps[: len(taken)]]
        return len(taken) if taken == first else -1

    alike = [v for v in swept if v.record.source == variant.record.source and not v.compressed]
    best = max(alike, key=shared, default=None)
    return best.id if best is not None and shared(best) >= 0 else None


def _weights(variant: Variant) -> dict[str, float | None]:
    """Return the columns that tell of a variant's weights."""
    from ovtool.core.columns import FIGURES
    from ovtool.graph.storage import storage_of

    return {k: v for k, v in storage_of(variant).to_json().items() if k in FIGURES}


def _metric(
    metric: Metric | None,
    samples: VariantSamples | None,
    variants: Sequence[Variant],
    planned: Mapping[str, PlannedVariant],
) -> QualityMetric | None:
    if samples is None:
        if metric is not None:
            raise InputError(f"the metric {metric} needs samples", "give some with --data")
        return None
    chosen = metric or default_metric(samples(variants[0]))
    for one in variants:
        check_metric(chosen, samples(one))
    if chosen != "agreement":
        return COLUMNS[chosen]
    alone = [p.name for p in planned.values() if p.baseline is None]
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


def _first_reason(folder: Path) -> str:
    failures = [m for m in SweepFolder(folder).measurements() if m.status == "failed"]
    return f"{failures[0].trial.label}: {failures[0].reason}" if failures else "the plan is empty"
