"""``ovtool report``."""

from __future__ import annotations

import functools
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from ovtool.cli import console, options, progress
from ovtool.cli.command import OUTPUT, option
from ovtool.cli.console import print_unwrapped
from ovtool.cli.spec_options import with_options_of
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.report.write import ReportFiles

RELOAD_S = 5
"""Interval at which a watched page reloads in the browser."""
EXAMPLES = (
    "ovtool report sweeps/mini-pc sweeps/laptop --out reports/both",
    "ovtool report sweeps/mini-pc --mlflow",
)


@with_options_of(ChoiceSpec)
def command(
    sweeps: options.Sweeps,
    spec: ChoiceSpec,
    profile: Annotated[
        list[str] | None,
        option(OUTPUT, "FOLDER", "Output folder of 'ovtool profile' to include; repeatable."),
    ] = None,
    out: Annotated[str | None, options.out_option("first sweep folder")] = None,
    watch: Annotated[
        bool,
        option(OUTPUT, "", "Write the report again at each progress, until Ctrl-C.", "--watch"),
    ] = False,
    mlflow: Annotated[
        bool,
        option(
            OUTPUT,
            "",
            "Log rows and report to MLflow: MLFLOW_TRACKING_URI, or the folder mlruns.",
            "--mlflow",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Write the offline page, the tables and the charts of one or more sweeps."""
    from ovtool import api
    from ovtool.core.errors import InputError

    for option_name, is_given in (("--json", json), ("--mlflow", mlflow)):
        if watch and is_given:
            raise InputError(f"{option_name} and --watch exclude each other", "give one of them")
    write = functools.partial(
        api.report, sweeps, out=out, spec=spec, profiles=profile or (), mlflow=mlflow
    )
    if watch:
        _watch(sweeps, write)
        return
    with progress.show_progress() as bar:
        bar.start("writing the report")
        files = write()
    print_report(files, json=json)


def _watch(sweeps: list[str], write: Callable[..., ReportFiles]) -> None:
    """Write the report at every change; Ctrl-C ends with a page that does not reload."""
    from ovtool import api

    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends the watch normally
    try:
        for number, _ in enumerate(api.watch_sweeps(sweeps)):
            files = write(reload_s=RELOAD_S)
            if number == 0:
                print_report(files, json=False)
                sys.stdout.flush()
                console.print_status("watching the sweeps; open the page; Ctrl-C ends")
            else:
                console.print_status(f"report updated ({number})")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write()
        console.print_status("watch ended; the report is final")


def print_report(files: ReportFiles, *, json: bool) -> None:
    """Print the paths of the report."""
    if json:
        console.print_json(report_paths(files))
        return
    print_unwrapped(f"page: {files.page}")
    print_unwrapped(f"tables: {files.csv}, {files.parquet}, {files.markdown}")
    print_unwrapped(f"charts: {files.page.parent / 'charts'} ({len(files.charts)} files)")
    if (run := files.tracked) is not None:
        place = f"{run.tracking_uri}, experiment {run.experiment}"
        print_unwrapped(f"MLflow: {place}, run {run.run_id} with {run.rows} rows")


def report_paths(files: ReportFiles) -> dict[str, Any]:
    """Return the paths of a report as JSON types."""
    document = asdict(files)
    tracked = document.pop("tracked")
    charts = [str(path) for path in document.pop("charts")]
    return {name: str(path) for name, path in document.items()} | {
        "charts": charts,
        "mlflow": tracked,
    }
