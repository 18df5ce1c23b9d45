"""The verb that takes the whole way of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.compression import compress as compression
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.spec import DataSpec
from ovtool.models.references import as_variant
from ovtool.recipes import schema as recipes
from ovtool.report.summary import Summary, summarize
from ovtool.report.write import ReportFiles, report
from ovtool.selection.choice import choose
from ovtool.sweep import sweep as sweeps

if TYPE_CHECKING:
    from ovtool.core.variant import Variant
    from ovtool.recipes.schema import Recipe
    from ovtool.selection.choice import Choice
    from ovtool.selection.limits import Limits
    from ovtool.sweep.measurer import Observer


@dataclass(frozen=True, slots=True)
class Run:
    """What a recipe came to.  ``choice`` is None where nothing fits its limits: see ``nothing``."""

    folder: Path
    variants: tuple[Variant, ...]
    sweep: sweeps.SweepDone
    summary: Summary
    report: ReportFiles
    choice: Choice | None
    nothing: LimitNotMetError | None


def run(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    trust: bool = False,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Take the whole way that a recipe describes: convert, compress, sweep, report, choose.

    What is in the folder already is reused where it would come out the same, and made again where
    the recipe, the data or a version changed.

    Args:
        recipe: A file, or the name of one that comes with ovtool.
        out: Where variants, sweep and report go; by default ``reports/<name>``.
        trust: Whether the recipe may name code to import or a pickle to load.
        strict: Whether a device that is not there is an error.
        retry_failed: Whether trials that failed before are tried again.
        observer: Told of the sweep.
        progress: Told of the other steps.

    Raises:
        OvtoolError: A step failed; those before it are kept.
    """
    path = recipes.find(recipe)
    plan = recipes.read(path)
    _check_devices(plan, strict=strict)  # said before the long work, not after it
    folder = Path(out) if out is not None else Path("reports") / plan.name
    made = _variants(plan, path.parent, folder / "variants", trust, progress)
    done = _sweep(
        plan, path.parent, made, folder / "sweep", strict, retry_failed, observer, progress
    )
    limits, objective, percentile = _wanted(plan, path.parent)
    progress.start("writing the report")
    files = report(
        [done.folder], out=folder, limits=limits, objective=objective, percentile=percentile
    )
    choice, nothing = None, None
    try:
        choice = choose([done.folder], limits=limits, objective=objective, percentile=percentile)
    except LimitNotMetError as error:
        nothing = error
    return Run(folder, tuple(made), done, summarize([done.folder]), files, choice, nothing)


def _check_devices(plan: Recipe, *, strict: bool) -> None:
    from ovtool.benchmark.engine import MeasurementSettings
    from ovtool.sweep.estimates import targets

    targets(
        plan.sweep.devices,
        strict=strict,
        estimates=plan.sweep.with_estimates,
        timeout_s=MeasurementSettings().timeout_s,
    )


def _variants(
    plan: Recipe, base: Path, folder: Path, trust: bool, progress: Progress
) -> list[Variant]:
    from ovtool.models.options import SourceOptions
    from ovtool.models.source_table import kind_of

    model = plan.model
    source = _located(model.source, base)
    if kind_of(source) == "torch" and not trust:
        raise InputError(
            f"the recipe imports code: {source}", "read it, then allow it with --trust"
        )
    options = SourceOptions(
        weights=_located(model.weights, base) if model.weights else None,
        input_shapes=model.shapes,
        layouts=model.layouts,
        preprocessing=model.preprocessing,
        tolerance=model.tolerance,
        trust=trust,
    )
    plain = next((n for n, v in plan.variants.items() if not v.steps), "source")
    start = as_variant(source, folder / plain, name=plain, options=options, progress=progress)
    data = plan.data
    samples = compression.CompressionData(
        calibration=_data(data.calibration, base),
        training=_data(data.training, base),
        validation=_data(data.validation, base),
        metric=data.validation.metric if data.validation else None,
    )
    made: dict[str, Variant] = {}
    known: dict[tuple[str, ...], Variant] = {(): start}
    for name, planned in plan.variants.items():
        taken: tuple[str, ...] = ()
        for index, step in enumerate(planned.steps):
            before, taken = known[taken], (*taken, repr(step))
            last = index == len(planned.steps) - 1
            if taken in known and not last:
                continue
            step_name = name if last else f"{name}-{index + 1}-{step.method}"
            made[step_name] = known[taken] = compression.compress(
                before,
                step.method,
                settings=step.settings,
                data=samples,
                out=folder / step_name,
                name=step_name,
                options=options,
                progress=progress,
                replace=True,
            )
        made[name] = known[taken]
    return list(made.values())


def _sweep(
    plan: Recipe,
    base: Path,
    variants: list[Variant],
    folder: Path,
    strict: bool,
    retry_failed: bool,
    observer: Observer | None,
    progress: Progress,
) -> sweeps.SweepDone:
    from ovtool.benchmark.engine import MeasurementSettings
    from ovtool.core.shapes import shape_sets
    from ovtool.core.trial_grid import Axes, LatencyLimit

    wanted, evaluation = plan.sweep, plan.data.evaluation
    find = wanted.find_rate
    return sweeps.sweep(
        variants,
        out=folder,
        name=plan.name,
        devices=wanted.devices,
        axes=Axes(
            batches=wanted.batches,
            hints=wanted.hints,
            streams=wanted.streams,
            requests=wanted.requests,
            threads=wanted.threads,
            pinning=wanted.pinning,
            rates=[None if rate == "busy" else rate for rate in wanted.rates],
            find_rate=None if find is None else LatencyLimit(find.max_latency_ms, find.percentile),
            precisions_of={name: v.precisions for name, v in plan.variants.items()},
            shapes=shape_sets(wanted.shapes, "sweep.shapes"),
            data_shapes=shape_sets(wanted.data_shapes, "sweep.data_shapes"),
        ),
        data=_data(evaluation, base),
        metric=evaluation.metric if evaluation else None,
        settings=MeasurementSettings(
            target_pct=wanted.target_pct,
            min_rounds=wanted.rounds,
            round_s=wanted.round_s,
            max_s=wanted.max_seconds,
        ),
        strict=strict,
        with_estimates=wanted.with_estimates,
        retry_failed=retry_failed,
        observer=observer,
        progress=progress,
    )


def _wanted(plan: Recipe, base: Path) -> tuple[Limits, str, int]:
    from ovtool.selection import prices
    from ovtool.selection.limits import Limits

    wanted = plan.choose
    limits = Limits(
        max_latency_ms=wanted.max_latency_ms,
        min_throughput_fps=wanted.min_throughput_fps,
        min_quality=wanted.min_quality,
        max_model_mib=wanted.max_model_mib,
        allow_estimates=wanted.allow_estimates,
        max_memory_mib=wanted.max_memory_mib,
        max_energy_mj=wanted.max_energy_mj,
        max_cost=wanted.max_cost,
        rate_rps=wanted.rate,
        prices=prices.read(_located(wanted.prices, base)) if wanted.prices else None,
    )
    return limits, wanted.objective, wanted.percentile


def _data(data: recipes.Data | None, base: Path) -> DataSpec | None:
    if data is None:
        return None
    labels = _located(data.labels, base) if data.labels else None
    return DataSpec(_located(data.source, base), labels, data.limit)


def _located(reference: str, base: Path) -> str:
    """Return a path relative to the recipe as one from here; other references as they are."""
    beside = base / reference
    return str(beside) if beside.exists() else reference
