"""Every step of a recipe, from the model to a choice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.compression import compress as compression
from ovtool.compression.pipeline import failed_variant
from ovtool.core import places, steps, temporary
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.holding import holding
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.datasets.spec import DataSpec
from ovtool.evaluation.custom_metric import check_metric
from ovtool.fleet.run import sweep_fleet
from ovtool.models.convert import is_variant, load_or_convert
from ovtool.recipes.draft import baseline_name
from ovtool.recipes.schema import DataSource, Recipe, find_recipe, read_recipe
from ovtool.report.summary import Summary, summarize
from ovtool.report.write import ReportFiles, report
from ovtool.results.frame import SHOWN
from ovtool.selection.choice import choose
from ovtool.sweep.estimates import select_targets
from ovtool.sweep.run import sweep
from ovtool.system import memory_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from ovtool.compression.compress import CompressionData
    from ovtool.core.sweep_spec import SweepSpec
    from ovtool.core.variant import Variant
    from ovtool.fleet.hosts import FleetTarget
    from ovtool.fleet.run import FleetResult
    from ovtool.models.options import SourceOptions
    from ovtool.recipes.schema import RecipeStep
    from ovtool.selection.choice import Choice
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.sweep.measurer import Observer
    from ovtool.sweep.result import SweepResult


@dataclass(frozen=True, slots=True, repr=False)
class RecipeRun(Tabular):
    """Results of a recipe.  Exactly one of ``choice`` and ``no_choice`` is None.

    ``recipe`` is the path of the recipe; ``drafted``: it was written for the user's own model.
    ``seconds`` is the time of all steps, from the model to the choice.
    """

    folder: Path
    recipe: Path
    drafted: bool
    variants: tuple[Variant, ...]
    sweep: SweepResult | FleetResult
    summary: Summary
    report: ReportFiles
    choice: Choice | None
    no_choice: LimitNotMetError | None
    seconds: float
    _SHOWN = SHOWN

    def _title(self) -> str:
        return str(self.no_choice) if self.choice is None else self.choice.headline

    def _remarks(self) -> list[str]:
        return [] if self.choice is None else [doubt.line for doubt in self.choice.doubts]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of all trials, with the columns of the results."""
        return self.sweep.frame


def run_recipe(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    trust: bool = False,
    own_models: Collection[str] = (),
    fleet: FleetTarget | None = None,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
    drafted: bool = False,
) -> RecipeRun:
    """Run a recipe: convert, compress, sweep, report, choose.

    Variants and trials in the folder are reused unless the recipe, the data or a version changed.

    Args:
        recipe: A file, or the name of a bundled recipe.
        out: Folder of variants, sweep and report; by default ``reports/<name>``.
        trust: Whether the recipe may import code or load a pickle.
        own_models: Models of the recipe that the user named, which are the user's own code if
            they are ``module:function``.
        fleet: Fleet that measures; None: that of the recipe, else this machine.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether to repeat trials that failed.
        observer: Receives the progress of the sweep.
        progress: Receives the progress of the other steps.
        drafted: Whether the recipe was written for the user's own model.

    Raises:
        OvtoolError: A step failed; the results of earlier steps are kept.
    """
    started_s = steps.start_s()
    path = find_recipe(recipe)
    plan = read_recipe(path)
    base = path.parent
    if not trust:
        _refuse_code(plan, base, own_models)
    if fleet is None:
        fleet = _recipe_fleet(plan, base, trust)
    for judged in (plan.data.validation, plan.data.evaluation):
        if judged is not None and judged.metric is not None:
            check_metric(judged.metric, trust=trust)
    if fleet is None:
        select_targets(plan.sweep, strict=strict)  # missing devices are errors before compression
    folder = Path(out) if out is not None else Path(places.RESULTS["run"]) / plan.name
    with holding(folder):
        baseline = _make_baseline(plan, base, folder / "baseline", trust, progress)
        # A draft has just converted the model: that is no use of an earlier result.
        start = _convert(plan, base, folder / "variants", trust, SILENT if drafted else progress)
        variants = _make_variants(plan, base, start, folder / "variants", trust, progress)
        measure: Callable[..., SweepResult | FleetResult]
        measure = partial(sweep, name=plan.name, observer=observer, trust=trust)
        if fleet is not None:
            measure = partial(
                sweep_fleet,
                fleet=fleet.address,
                certificates=fleet.certificates,
                hosts=fleet.hosts,
            )
        evaluation = plan.data.evaluation
        result = measure(
            variants,
            out=folder / "sweep",
            spec=_sweep_spec(plan, baseline),
            data=_data_spec(evaluation, base),
            metric=evaluation.metric if evaluation else None,
            outputs=evaluation.outputs if evaluation else (),
            strict=strict,
            retry_failed=retry_failed,
            progress=progress,
        )
        spec = _choice_spec(plan, base)
        progress.start("writing the report")
        page = report(result.folders, out=folder, spec=spec)
        choice = _choose(result.folders, spec)
        return RecipeRun(
            folder=folder,
            recipe=path,
            drafted=drafted,
            variants=tuple(variants),
            sweep=result,
            summary=summarize(result.folders),
            report=page,
            choice=None if isinstance(choice, LimitNotMetError) else choice,
            no_choice=choice if isinstance(choice, LimitNotMetError) else None,
            seconds=time.monotonic() - started_s,
        )


def _sweep_spec(plan: Recipe, baseline: str | None) -> SweepSpec:
    """Return the sweep of a recipe with the precisions of its variants and its baseline."""
    own = {name: v.precisions for name, v in plan.variants.items() if v.precisions}
    precisions = plan.sweep.precisions_of | own
    return plan.sweep.model_copy(update={"precisions_of": precisions, "baseline": baseline})


def _recipe_fleet(plan: Recipe, base: Path, trust: bool) -> FleetTarget | None:
    """Return the fleet of a recipe, with usable paths; None if this machine measures.

    Raises:
        InputError: The recipe opens connections, and the user did not allow it.
    """
    fleet = plan.fleet
    if fleet is None:
        return None
    if not trust:
        raise InputError(
            f"the recipe opens connections to a fleet: {fleet.address}",
            "read it, then allow it with --trust, or give the fleet: --fleet",
        )
    folder = fleet.certificates and _located(fleet.certificates, base)
    located = {"address": _located(fleet.address, base), "certificates": folder}
    return fleet.model_copy(update=located)


def _choice_spec(plan: Recipe, base: Path) -> ChoiceSpec:
    """Return the choice of a recipe, with the path of its prices."""
    if not isinstance(plan.choose.prices, str):
        return plan.choose
    return plan.choose.model_copy(update={"prices": _located(plan.choose.prices, base)})


def _choose(folders: Sequence[Path], spec: ChoiceSpec) -> Choice | LimitNotMetError:
    """Return the choice, or the error if no row meets the limits."""
    try:
        return choose(folders, spec=spec)
    except LimitNotMetError as error:
        return error


def _refuse_code(plan: Recipe, base: Path, own_models: Collection[str]) -> None:
    """Refuse models that are code which the user did not name.

    Raises:
        InputError: A model of the recipe is ``module:function``.
    """
    from ovtool.models.registry import kind_of

    for reference in filter(None, (plan.model.source, plan.sweep.baseline)):
        source = _located(reference, base)
        if reference not in own_models and not is_variant(source) and kind_of(source) == "torch":
            raise InputError(
                f"the recipe imports code: {source}", "read the code, then allow it with --trust"
            )


def _source(reference: str, plan: Recipe, base: Path, trust: bool) -> tuple[str, SourceOptions]:
    """Return a model of a recipe, and how to read it."""
    from ovtool.models.options import SourceOptions

    model = plan.model
    return _located(reference, base), SourceOptions(
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
    name = baseline_name(source, plan.variants)
    load_or_convert(source, folder, name=name, options=options, progress=progress)
    return str(folder)


def _convert(plan: Recipe, base: Path, folder: Path, trust: bool, progress: Progress) -> Variant:
    """Return the model of a recipe as a variant, the parent of all others."""
    source, options = _source(plan.model.source, plan, base, trust)
    name = next((name for name, v in plan.variants.items() if not v.steps), "source")
    return load_or_convert(source, folder / name, name=name, options=options, progress=progress)


def _make_variants(
    plan: Recipe, base: Path, start: Variant, folder: Path, trust: bool, progress: Progress
) -> list[Variant]:
    """Run the steps of every variant from the converted model; shared first steps run once.

    A variant whose compression crashes, hangs, exhausts memory or holds no limit of quality is one
    that failed.
    """
    data = plan.data
    _, options = _source(plan.model.source, plan, base, trust)
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
    """Run a step.

    It fails if it ended the process, exhausts memory, holds no limit of quality, or its parent
    failed.
    """
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
                    force=True,
                )
        except LimitNotMetError as error:
            reason = str(error)
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
    return DataSpec(_located(data.source, base), labels, data.limit, data.part)


def _located(reference: str, base: Path) -> str:
    """Return a path relative to the recipe as a usable path; return other references unchanged."""
    path = base / reference
    return str(path) if path.exists() else reference
