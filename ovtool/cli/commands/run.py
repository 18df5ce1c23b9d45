"""``ovtool run``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ovtool.cli import console, options, progress
from ovtool.cli.answer import Origin, print_answer, print_no_answer
from ovtool.cli.command import is_from_environment
from ovtool.cli.commands.report import report_paths
from ovtool.cli.spec_options import with_options_of, with_source_options
from ovtool.core import units
from ovtool.core.fields import Record
from ovtool.models.options import SourceOptions
from ovtool.recipes.draft import DraftSpec, rerun_command
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from ovtool.recipes.run import RecipeRun

EXAMPLES = (
    "ovtool run resnet.onnx --data images/ --mean 127 --scale 128",
    "ovtool run resnet.onnx --data images/ --labels labels.csv --max-latency-ms 20",
    "ovtool run int8.xml --baseline fp32.xml --data images/",
    "ovtool run recipes/efficientnet-lite0.yaml --out reports/demo",
)

M = TypeVar("M", bound=Record)


@with_options_of(ChoiceSpec, "choose")
@with_options_of(DraftSpec)
@with_source_options
def command(
    ctx: typer.Context,
    recipe: options.RecipeOrModel,
    spec: DraftSpec,
    choose: ChoiceSpec,
    source_options: SourceOptions,
    data: options.Data = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    metric: options.MetricName = None,
    output: options.JudgedOutputs = None,
    fleet: options.FleetOption = None,
    hosts: options.Hosts = None,
    certificates: options.Certificates = None,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
    out: Annotated[
        str | None,
        options.out_option("reports/NAME"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compress, measure, report and choose: for a model, or as a recipe says.

    A model is converted, quantized and measured on the devices of this machine. Half of --data
    calibrates, the other half evaluates. The recipe of these steps is written into the output
    folder: edit it, and run it again.
    """
    from ovtool import api
    from ovtool.models.registry import names_model

    with progress.show_progress() as bar, progress.show_sweep(bar) as view:
        if not names_model(recipe):
            spec, choose = _as_given(ctx, spec), _as_given(ctx, choose)
            source_options = _as_given(ctx, source_options)
            if any(is_from_environment(ctx, name) for name in ctx.params):
                console.print_status("the environment changes no recipe, which has its own keys")
        result = api.run(
            recipe,
            out=out,
            data=data,
            labels=labels,
            limit=limit,
            metric=metric,
            outputs=tuple(output or ()),
            options=source_options,
            spec=spec,
            choose=choose,
            fleet=fleet,
            hosts=hosts,
            certificates=certificates,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=bar,
        )
    rerun = ""
    if result.drafted:
        trust = source_options.trust
        rerun = rerun_command(result.recipe, out, (recipe, spec.baseline), trust=trust)
    _print_run(result, rerun, json=json)
    if result.no_choice is not None:
        raise result.no_choice


def _as_given(ctx: typer.Context, spec: M) -> M:
    """Return a spec without the defaults from the environment, which a recipe does not take."""
    given = {n for n in spec.model_fields_set if not is_from_environment(ctx, n)}
    return type(spec).model_construct(**{n: getattr(spec, n) for n in given})


def _print_run(result: RecipeRun, rerun: str, *, json: bool) -> None:
    """Print a run; ``rerun`` is the command that runs a drafted recipe."""
    recipe = str(result.recipe) if result.drafted else None
    if json:
        document = {
            "folder": str(result.folder),
            "recipe": recipe,
            "sweep": result.sweep.to_json(),
            "summary": asdict(result.summary),
            "report": report_paths(result.report),
            "choice": result.choice.to_json() if result.choice else None,
            "seconds": result.seconds,
        }
        console.print_json(document)
        return
    next_step = None if recipe is None else f"edit the recipe, then: {rerun}"
    origin = Origin(
        [*map(str, result.sweep.folders)], str(result.report.page), next_step, _took_text(result)
    )
    if result.choice is not None:
        print_answer(result.choice, origin)
    elif result.no_choice is not None:
        print_no_answer(result.no_choice, origin)


def _took_text(result: RecipeRun) -> str:
    """Return how long a run took, and how much of this time it measured."""
    took = f"took {units.duration(result.seconds)}"
    measured_s = 0.0 if result.choice is None else result.choice.basis.measured_s
    if result.sweep.reused:
        return f"{took}, {units.count_text(result.sweep.reused, 'trial')} reused"
    return f"{took}, {units.duration(measured_s)} of it measuring" if measured_s else took
