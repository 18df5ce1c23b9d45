"""``ovtool run``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.commands.choose import print_choice
from ovtool.cli.commands.report import print_report, report_paths
from ovtool.cli.commands.sweep import print_trials

if TYPE_CHECKING:
    from ovtool.recipes.run import Run

NAME = "run"
EXAMPLE = "Example: ovtool run recipes/efficientnet-lite0.yaml --out reports/demo"


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Recipe file, or the name of one that comes with ovtool.", show_default=False
        ),
    ],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to.", show_default="reports/NAME")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Let the recipe import code (module:function) or load a pickle."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A device that is not there is an error.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try trials again that failed before.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Take the whole way of a recipe: convert, compress, sweep, report, choose."""
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
