"""The verb ``run``: every step of a recipe, from the model to a choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.compression import compress as compression
from ovtool.compression.pipeline import failed_variant
from ovtool.core import steps, temporary
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.spec import DataSpec
from ovtool.models.convert import is_variant, load_or_convert
from ovtool.recipes.schema import DataSource, Recipe, find_recipe, read_recipe
from ovtool.report.summary import Summary, summarize
from ovtool.report.write import ReportFiles, report
from ovtool.selection.choice import choose
from ovtool.sweep.estimates import select_targets
from ovtool.sweep.run import SweepResult, sweep
from ovtool.system import memory_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compression.compress import CompressionData
    from ovtool.core.variant import Variant
    from ovtool.models.options import SourceOptions
    from ovtool.recipes.schema import RecipeStep
    from ovtool.selection.choice import Choice
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.sweep.measurer import Observer


@dataclass(frozen=True, slots=True)
class RecipeRun:
    """Results of a recipe.  Exactly one of ``choice`` and ``no_choice`` is None."""

    folder: Path
    variants: tuple[Variant, ...]
    sweep: SweepResult
    summary: Summary
    report: ReportFiles
    choice: Choice | None
    no_choice: LimitNotMetError | None


def run(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    trust: bool = False,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
) -> RecipeRun:
    """Run a recipe: convert, compress, sweep, report, choose.

    Variants and trials in the folder are reused unless the recipe, the data or a version changed.

    Args:
        recipe: A file, or the name of a bundled recipe.
        out: Folder of variants, sweep and report; by default ``reports/<name>``.
        trust: Whether the recipe may import code or load a pickle.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether to repeat trials that failed.
        observer: Receives the progress of the sweep.
        progress: Receives the progress of the other steps.

    Raises:
        OvtoolError: A step failed; the results of earlier steps are kept.
    """
    path = find_recipe(recipe)
    plan = read_recipe(path)
    base = path.parent
    select_targets(plan.sweep, strict=strict)  # report missing devices before the compression
    folder = Path(out) if out is not None else Path("reports") / plan.name
    baseline = _make_baseline(plan, base, folder / "baseline", trust, progress)
    variants = _make_variants(plan, base, folder / "variants", trust, progress)
    evaluation = plan.data.evaluation
    precisions = {name: v.precisions for name, v in plan.variants.items() if v.precisions}
    result = sweep(
        variants,
        out=folder / "sweep",
        name=plan.name,
        spec=plan.sweep.model_copy(
            update={"precisions_of": plan.sweep.precisions_of | precisions, "baseline": baseline}
        ),
        data=_data_spec(evaluation, base),
        metric=evaluation.metric if evaluation else None,
        outputs=evaluation.outputs if evaluation else (),
        trust=trust,
        strict=strict,
        retry_failed=retry_failed,
        observer=observer,
        progress=progress,
    )
    return _report(folder, variants, result, plan.choose, base, progress)


def _report(
    folder: Path,
    variants: Sequence[Variant],
    result: SweepResult,
    spec: ChoiceSpec,
    base: Path,
    progress: Progress,
) -> RecipeRun:
    """Write the report of a sweep, and choose."""
    if isinstance(spec.prices, str):
        spec = spec.model_copy(update={"prices": _located(spec.prices, base)})
    progress.start("writing the report")
    page = report([result.folder], out=folder, choice=spec)
    choice, no_choice = None, None
    try:
        choice = choose([result.folder], spec=spec)
    except LimitNotMetError as error:
        no_choice = error
    summary = summarize([result.folder])
    return RecipeRun(folder, tuple(variants), result, summary, page, choice, no_choice)


def _source(reference: str, plan: Recipe, base: Path, trust: bool) -> tuple[str, SourceOptions]:
    """Return a model of a recipe, and how to read it.

    Raises:
        InputError: The model is code, and the user did not allow it.
    """
    from ovtool.models.options import SourceOptions
    from ovtool.models.registry import kind_of

    model, source = plan.model, _located(reference, base)
    if kind_of(source) == "torch" and not trust:
        raise InputError(
            f"the recipe imports code: {source}", "read the code, then allow it with --trust"
        )
    return source, SourceOptions(
        weights=_located(model.weights, base) if model.weights else None,
        input_shapes=model.shapes,
        input_dtypes=model.dtypes,
        layouts=model.layouts,
        preprocessing=model.preprocessing,
        tolerance=model.tolerance,
        trust=trust,
    )


def _make_baseline(
    plan: Recipe, base: Path, folder: Path, trust: bool, progress: Progress
) -> str | None:
    """Return the folder of the baseline of a recipe, which is read like its model; or None."""
    if plan.sweep.baseline is None:
        return None
    located = _located(plan.sweep.baseline, base)
    if is_variant(located):
        return located
    source, options = _source(plan.sweep.baseline, plan, base, trust)
    options = options.model_copy(update={"weights": None})
    name = "baseline" if "baseline" not in plan.variants else "baseline-model"
    load_or_convert(source, folder, name=name, options=options, progress=progress)
    return str(folder)


def _make_variants(
    plan: Recipe, base: Path, folder: Path, trust: bool, progress: Progress
) -> list[Variant]:
    """Convert the model and run the steps of every variant; shared first steps run once.

    A variant whose compression crashes, hangs or exhausts memory is one that failed.
    """
    data = plan.data
    source, options = _source(plan.model.source, plan, base, trust)
    unchanged = next((name for name, v in plan.variants.items() if not v.steps), "source")
    start = load_or_convert(
        source, folder / unchanged, name=unchanged, options=options, progress=progress
    )
    samples = compression.CompressionData(
        calibration=_data_spec(data.calibration, base),
        training=_data_spec(data.training, base),
        validation=_data_spec(data.validation, base),
        metric=data.validation.metric if data.validation else None,
        outputs=data.validation.outputs if data.validation else (),
        trust=trust,
    )
    variants: dict[str, Variant] = {}
    by_steps: dict[tuple[str, ...], Variant] = {(): start}
    for name, planned in plan.variants.items():
        done: tuple[str, ...] = ()
        for index, step in enumerate(planned.steps):
            before, done = by_steps[done], (*done, repr(step))
            last = index == len(planned.steps) - 1
            if done in by_steps and not last:
                continue
            step_name = name if last else f"{name}-{index + 1}-{step.method}"
            by_steps[done] = _compress(before, step, samples, options, folder / step_name, progress)
            if last or not by_steps[done].failure:
                variants[step_name] = by_steps[done]
        variants[name] = by_steps[done]
    return list(variants.values())


def _compress(
    parent: Variant,
    step: RecipeStep,
    data: CompressionData,
    options: SourceOptions,
    out: Path,
    progress: Progress,
) -> Variant:
    """Run a step; one that ended the process, exhausts memory or has a failed parent fails."""
    reason = parent.failure or steps.failure_of(str(out))
    if not reason:
        try:
            with steps.attempt(str(out)):
                return compression.compress(
                    parent,
                    step.method,
                    settings=step.settings,
                    data=data,
                    out=out,
                    name=out.name,
                    options=options,
                    progress=progress,
                    replace=True,
                )
        except Exception as error:
            if not memory_limit.is_out_of_memory(error):
                raise
            reason = f"compressing {out.name}: {memory_limit.describe()[0]}"
    temporary.remove_abandoned(out.parent)
    return failed_variant(parent, step.method, step.settings, out, reason)


def _data_spec(data: DataSource | None, base: Path) -> DataSpec | None:
    if data is None:
        return None
    labels = _located(data.labels, base) if data.labels else None
    return DataSpec(_located(data.source, base), labels, data.limit)


def _located(reference: str, base: Path) -> str:
    """Return a path relative to the recipe as a usable path; return other references unchanged."""
    path = base / reference
    return str(path) if path.exists() else reference
