"""``ovtool compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ovtool.cli import console, options
from ovtool.cli.command import HOW, LIMITS, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovtool.comparison.comparison import Comparison
    from ovtool.comparison.text import TextTable

EXAMPLES = ("ovtool compare sweeps/2026.3 sweeps/2026.4 --fail-on-regression 5% --out change.md",)


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="Baseline sweep.", show_default=False)],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Sweep to compare with A.", show_default=False)
    ],
    fail_on_regression: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Exit with 1 if speed or quality of a trial is significantly worse by at least"
            " this much, or if a trial of A fails in B.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    within: Annotated[
        str,
        typer.Option(
            metavar="PERCENT", help="Smaller changes count as no change.", rich_help_panel=LIMITS
        ),
    ] = "10%",
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SWEEP",
            help="Repetition of sweep A, repeatable: the variation between runs is measured"
            " instead of assumed.",
            rich_help_panel=HOW,
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Assumed standard deviation of the throughput between two runs.",
            show_default="3%",
            rich_help_panel=HOW,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Markdown file to write.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare sweep B with sweep A: releases, drivers, machines or commits."""
    from ovtool import api

    limit_pct = options.percent(fail_on_regression, "--fail-on-regression")
    found = api.compare(
        a,
        b,
        reruns=rerun or (),
        noise_pct=options.percent(noise, "--noise"),
        within_pct=options.percent(within, "--within"),
        out=out,
    )
    print_comparison(found, out, json=json)
    if limit_pct is not None:
        found.check(limit_pct)


SHOWN = 60
"""Lines of a table; what is the same comes last and is left out first."""


def print_comparison(found: Comparison, out: str | None, *, json: bool) -> None:
    """Print a comparison: what came out, where the sides differ, then figure by figure."""
    if json:
        console.print_json(found.to_json())
    else:
        _words(found)
    if out is not None:
        console.print_status(f"written: {out}")


def _words(found: Comparison) -> None:
    from ovtool.comparison import text

    if not found.same_machine:
        console.print_line(text.machines_text(found), style="bold")
    console.print_line(text.headline(found), style="bold")
    if found.same_machine:
        console.print_line(text.machines_text(found))
    if found.differences:
        console.print_table(("differs", "A", "B"), text.difference_rows(found))
    for table in (text.changes_table(found), text.quality_table(found)):
        if table.rows:
            _table(table)
    _list("Size:", text.size_lines(found))
    _list("Failed:", text.failure_lines(found))
    _list("Only in A:", found.only_a)
    _list("Only in B:", found.only_b)
    for line in text.method_lines(found):
        console.print_line(line, style="dim")
    console.print_notes(found.notes)


def _table(table: TextTable) -> None:
    rows, before = [], ""
    for row in table.rows[:SHOWN]:
        label, *cells = row.cells
        rows.append(("" if label == before else label, *cells))
        before = label
    left = len(table.rows) - len(rows)
    remarks = [f"({number}) {remark}" for number, remark in enumerate(table.remarks, 1)]
    more = [f"{left} more lines: --out FILE.md and --json have them all"] if left else []
    console.print_table(table.headings, rows, "\n".join([*remarks, *more]))


def _list(title: str, items: Iterable[str]) -> None:
    told = list(items)
    if told:
        console.print_line(title)
    for item in told[:SHOWN]:
        console.print_line(f"- {item}")
    if len(told) > SHOWN:
        console.print_line(f"- and {len(told) - SHOWN} more")
