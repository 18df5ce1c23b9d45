"""``ovtool run``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import MODEL, OUTPUT
from ovtool.cli.commands.choose import print_choice
from ovtool.cli.commands.report import print_report, report_paths
from ovtool.cli.commands.sweep import print_trials

if TYPE_CHECKING:
    from ovtool.recipes.run import Run

EXAMPLES = ("ovtool run recipes/efficientnet-lite0.yaml --out reports/demo",)


def command(
    recipe: options.Recipe,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Allow the recipe to import code (module:function) or to load a pickle.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    strict: options.Strict = False,
    retry_failed: options.RetryFailed = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Output folder.",
            show_default="reports/NAME",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Run a recipe: convert, compress, sweep, report, choose."""
    from ovtool import api
    from ovtool.cli import progress

    with progress.show_progress() as shown, progress.show_sweep(shown) as view:
        done = api.run(
            recipe,
            out=out,
            trust=trust,
            strict=strict,
            retry_failed=retry_failed,
            observer=view,
            progress=shown,
        )
    print_run(done, json=json)
    if done.nothing is not None:
        raise done.nothing


def print_run(done: Run, *, json: bool) -> None:
    """Print what a recipe came to: the table, the recommendation, the page."""
    if json:
        console.print_json(
            {
                "folder": str(done.folder),
                "sweep": asdict(done.sweep) | {"folder": str(done.sweep.folder)},
                "summary": asdict(done.summary),
                "report": report_paths(done.report),
                "choice": done.choice.to_json() if done.choice else None,
            }
        )
        return
    print_trials(done.sweep, done.summary)
    if done.choice is not None:
        print()
        print_choice(done.choice, json=False)
    print()
    print_report(done.report, json=False)
