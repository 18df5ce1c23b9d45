"""The verb ``run``: a recipe, or a model whose recipe is drafted first."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ovtool.core import steps, units
from ovtool.core.errors import InputError
from ovtool.core.fields import flag_of, with_fields
from ovtool.core.progress import SILENT, Progress
from ovtool.core.terminal import shows_progress
from ovtool.datasets.spec import DataSpec, as_data_spec
from ovtool.fleet.hosts import FleetTarget, as_labels
from ovtool.models.options import SourceFields, SourceOptions, source_options
from ovtool.models.registry import names_model
from ovtool.recipes.draft import DraftSpec, draft
from ovtool.recipes.own_data import OwnData
from ovtool.recipes.run import run_recipe
from ovtool.selection.choice_spec import ChoiceFields, ChoiceSpec
from ovtool.sweep.view import SweepView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from ovtool.core.columns import Metric
    from ovtool.recipes.run import RecipeRun
    from ovtool.sweep.measurer import Observer


class DraftFields(TypedDict, total=False):
    """The fields of :class:`.DraftSpec` as keyword arguments."""

    devices: Sequence[str] | None
    batches: Sequence[int] | None
    precisions: Sequence[str] | None
    baseline: str | PathLike[str] | None
    hints: Sequence[str]
    rounds: int
    round_s: float
    target_pct: float
    max_seconds: float


class RunFields(SourceFields, DraftFields, ChoiceFields, total=False):
    """How to read a model, what to measure and what to choose, as keyword arguments."""


@shows_progress(SweepView)
def run(
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    data: DataSpec | str | Path | None = None,
    labels: str | Path | None = None,
    limit: int | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    options: SourceOptions | None = None,
    spec: DraftSpec | None = None,
    choose: ChoiceSpec | None = None,
    fleet: str | None = None,
    hosts: Mapping[str, str] | str | None = None,
    certificates: str | Path | None = None,
    strict: bool = False,
    retry_failed: bool = False,
    observer: Observer | None = None,
    progress: Progress = SILENT,
    **fields: Unpack[RunFields],
) -> RecipeRun:
    """Convert, compress, sweep, report, choose: as a recipe says, or for a model.

    For a model, the recipe of these steps is written into the folder first; see
    :func:`ovtool.recipes.draft.draft`.  A recipe has keys for all of this: with a recipe, only
    ``trust`` and the arguments from ``fleet`` on apply.

    Args:
        recipe: A model, a recipe, or the name of a bundled recipe.
        out: Folder of variants, sweep and report; by default ``reports/<name>``.
        data: Samples; one half calibrates, the other one evaluates.
        labels: Labels of a folder of images.
        limit: Maximum number of samples.
        metric: Quality metric, see :func:`ovtool.evaluation.evaluate.evaluate_each`.
        outputs: Names of the outputs to judge; all by default.
        options: How to read the model.
        spec: Axes of the sweep and measurement settings.
        choose: Objective and limits of the choice.
        fleet: Fleet that measures: address of its scheduler, or ``HOSTS.yaml``.
        hosts: Labels and values that a host needs (``npu=4000``).
        certificates: Folder of certificates of the fleet.
        strict: Whether a device that is not available is an error.
        retry_failed: Whether to repeat trials that failed.
        observer: Receives the progress of the sweep.
        progress: Receives the progress of the other steps.
        fields: Fields of ``options``, ``spec`` and ``choose``: ``mean=127, max_latency_ms=20``.

    Raises:
        InputError: Arguments for a model are given with a recipe.
        OvtoolError: A step failed; the results of earlier steps are kept.
    """
    started_s = steps.start_s()
    source, axes, goal = _split(fields)
    options = source_options(options, source)
    spec, choose = with_fields(DraftSpec, spec, axes), with_fields(ChoiceSpec, choose, goal)
    path, own_models = recipe, []
    if names_model(str(recipe)):
        own = as_data_spec(data, labels, limit)
        path = draft(
            recipe,
            out=out,
            data=OwnData(
                None if own is None else own.source,
                None if own is None else own.labels,
                limit if own is None else own.limit,
                metric,
                tuple(outputs),
            ),
            options=options,
            spec=spec,
            choose=choose,
            strict=strict,
            progress=progress,
        )
        own_models = [str(model) for model in (recipe, spec.baseline) if model]
    else:
        given = {"--data": data, "--labels": labels, "--limit": limit, "--metric": metric,
                 "--output": outputs or None}  # fmt: skip
        _refuse_for_recipe(given, spec, choose, options)
    target = None
    if fleet is not None:
        folder = None if certificates is None else str(certificates)
        target = FleetTarget(address=fleet, hosts=as_labels(hosts), certificates=folder)
    elif hosts or certificates:
        raise InputError("the hosts and certificates of a fleet need its address", "add --fleet")
    result = run_recipe(
        path,
        out=out,
        trust=options.trust,
        own_models=own_models,
        fleet=target,
        strict=strict,
        retry_failed=retry_failed,
        observer=observer,
        progress=progress,
        drafted=bool(own_models),
    )
    return replace(result, seconds=time.monotonic() - started_s)


def _split(fields: RunFields) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the fields of the source, of the draft, and of the choice."""
    source, goal = SourceFields.__annotations__, ChoiceFields.__annotations__
    items = dict(fields)
    return (
        {name: value for name, value in items.items() if name in source},
        {name: value for name, value in items.items() if name not in source | goal},
        {name: value for name, value in items.items() if name in goal},
    )


def _refuse_for_recipe(given: Mapping[str, object], *specs: Any) -> None:
    """Refuse arguments that have no effect on a recipe, which has all of them as keys."""
    names = [name for name, value in given.items() if value is not None]
    for spec in specs:
        changed = spec.model_dump(exclude_defaults=True, exclude={"trust"})
        names += [flag_of(type(spec), name) for name in changed]
    if names:
        raise InputError(
            f"{units.listing(names, 3)}: only for a model; a recipe has its own keys",
            "write it into the recipe; 'ovtool recipes show NAME' prints a bundled one",
        )
