"""``ovtool run``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.answer import print_answer
from ovtool.cli.command import MODEL, option
from ovtool.cli.commands.report import print_report, report_paths
from ovtool.cli.commands.sweep import print_trials
from ovtool.cli.console import print_unwrapped

EXAMPLES = ("ovtool run recipes/efficientnet-lite0.yaml --out reports/demo",)


def command(
    recipe: options.Recipe,
    trust: Annotated[
        bool, option(MODEL, "", "Allow the recipe to import code or to load a pickle.", "--trust")
    ] = False,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
    out: Annotated[str | None, options.out_option("reports/NAME")] = None,
    json: options.Json = False,
) -> None:
    """Run a recipe: convert, compress, sweep, report, choose."""
    from ovtool import api

    with progress.show_progress() as bar, progress.show_sweep(bar) as view:
        result = api.run(
            recipe,
            out=out,
            trust=trust,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=bar,
        )
    if json:
        document = {
            "folder": str(result.folder),
            "sweep": asdict(result.sweep) | {"folder": str(result.sweep.folder)},
            "summary": asdict(result.summary),
            "report": report_paths(result.report),
            "choice": result.choice.to_json() if result.choice else None,
        }
        console.print_json(document)
    elif result.choice is not None:
        print_answer(result.choice, [str(result.sweep.folder)], str(result.report.page))
    else:
        print_trials(result.sweep, result.summary)
        print_unwrapped("")
        print_report(result.report, json=False)
    if result.no_choice is not None:
        raise result.no_choice
