"""``ovtool compare``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options
from ovtool.cli.command import LIMITS, MEASUREMENT, OUTPUT, argument, option
from ovtool.core import files, units
from ovtool.core.notes import make_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ovtool.comparison.comparison import Comparison
    from ovtool.comparison.text import TextTable
    from ovtool.results.environments import Difference

EXAMPLES = ("ovtool compare sweeps/2026.3 sweeps/2026.4 --fail-on-regression 5% --out change.md",)
EXIT_CODES = {
    1: "a regression (--fail-on-regression)",
    5: "cannot tell: a figure is unknown (--fail-on-unknown)",
}


def command(
    a: Annotated[str, argument("Baseline sweep.", "A", kind="SWEEP")],
    b: Annotated[str, argument("Sweep to compare with A.", "B", kind="SWEEP")],
    fail_on_regression: Annotated[
        str | None,
        option(
            LIMITS,
            "PERCENT",
            "Exit with 1 if speed or quality of a trial is significantly worse by at least"
            " this much, or if a trial of A fails in B.",
        ),
    ] = None,
    fail_on_unknown: Annotated[
        bool,
        option(
            LIMITS,
            "",
            "Exit with 5 if a figure is unknown, unless its interval excludes a loss of"
            " --fail-on-regression; or if a trial of A was not measured in both.",
            "--fail-on-unknown",
        ),
    ] = False,
    within: Annotated[
        str, option(LIMITS, "PERCENT", "Smaller changes count as no change.")
    ] = "10%",
    rerun: Annotated[
        list[str] | None,
        option(MEASUREMENT, "SWEEP", "Repetition of sweep A, to measure the noise; repeatable."),
    ] = None,
    noise: Annotated[
        str, option(MEASUREMENT, "PERCENT", "Assumed standard deviation between two runs.")
    ] = "3%",
    out: Annotated[
        str | None, option(OUTPUT, "FILE", "Markdown file to write.", "--out", "-o")
    ] = None,
    junit: Annotated[
        str | None,
        option(
            OUTPUT,
            "FILE",
            "JUnit XML file to write: a test for each figure, which fails as --fail-on-regression"
            " says (default: any significant loss).",
        ),
    ] = None,
    explain: Annotated[
        bool, option(OUTPUT, "", "Print every figure, with the method.", "--explain")
    ] = False,
    json: options.Json = False,
) -> None:
    """Compare sweep B with sweep A: releases, drivers, machines or commits."""
    from ovtool import api
    from ovtool.comparison.junit import to_junit

    limit_pct = None
    if fail_on_regression is not None:
        limit_pct = options.parse_percent(fail_on_regression, "--fail-on-regression")
    comparison = api.compare(
        a,
        b,
        reruns=rerun or (),
        noise_pct=options.parse_percent(noise, "--noise"),
        within_pct=options.parse_percent(within, "--within"),
        out=out,
    )
    if junit is not None:
        files.write_text(Path(junit), to_junit(comparison, limit_pct or 0.0))
    if json:
        console.print_json(comparison.to_json())
    elif explain:
        _print_explained(comparison)
    else:
        _print_short(comparison)
    for written in filter(None, (out, junit)):
        console.print_status(f"written: {written}")
    if limit_pct is not None and not fail_on_unknown and comparison.nothing_decided:
        console.print_notes([make_note("nothing-decided")])
    comparison.check(limit_pct, unknown=fail_on_unknown)


MAX_ROWS = 60
"""Printed rows of a table or list; unchanged rows come last."""
SHORT_ROWS = 8
"""Rows of a table or list without ``--explain``."""
_STYLES = {"better": "green", "worse": "bold red"}


def _print_short(comparison: Comparison) -> None:
    """Print the result and the figures that changed, the worst first."""
    from ovtool.comparison import text

    console.print_line(text.headline(comparison), style="bold")
    console.print_line(text.machines_text(comparison))
    _print_list("Differs:", map(_difference_text, comparison.differences), SHORT_ROWS)
    for table in (text.changes_table(comparison), text.quality_table(comparison)):
        decided = [row for row in table.rows if row.outcome in _STYLES]
        if decided:
            _print_rows(replace(table, rows=tuple(decided)), SHORT_ROWS, remarks=False)
    _print_list("Size:", text.size_lines(comparison), SHORT_ROWS)
    _print_list("Failed:", text.failure_lines(comparison), SHORT_ROWS)
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            console.print_line(f"Only in {side}: {units.count_text(len(labels), 'trial')}")
    console.print_line(text.detectable_text(comparison))
    console.print_line("every figure, and how it was decided: --explain", style="dim")
    console.print_notes(comparison.notes)


def _print_explained(comparison: Comparison) -> None:
    """Print the result, the differences of the environments, then all figures."""
    from ovtool.comparison import text

    if not comparison.same_machine:
        console.print_line(text.machines_text(comparison), style="bold")
    console.print_line(text.headline(comparison), style="bold")
    if comparison.same_machine:
        console.print_line(text.machines_text(comparison))
    if comparison.differences:
        console.print_table(("differs", "A", "B"), text.difference_rows(comparison))
    for table in (text.changes_table(comparison), text.quality_table(comparison)):
        if table.rows:
            _print_rows(table, MAX_ROWS)
    _print_list("Size:", text.size_lines(comparison), MAX_ROWS)
    _print_list("Failed:", text.failure_lines(comparison), MAX_ROWS)
    _print_list("Only in A:", comparison.only_a, MAX_ROWS)
    _print_list("Only in B:", comparison.only_b, MAX_ROWS)
    for line in text.method_lines(comparison):
        console.print_line(line, style="dim")
    console.print_notes(comparison.notes)


def _print_rows(table: TextTable, limit: int, *, remarks: bool = True) -> None:
    """Print a table; the remarks that its last column refers to follow."""
    rows, previous, styles = [], "", {}
    for row in table.rows[:limit]:
        label, *cells = row.cells if remarks else (*row.cells[:-1], row.outcome)
        rows.append(("" if label == previous else label, *cells))
        previous = label
        styles[cells[-1]] = _STYLES.get(row.outcome, "")
    rest = len(table.rows) - len(rows)
    notes = [f"({number}) {remark}" for number, remark in enumerate(table.remarks, 1)]
    place = "--out FILE.md and --json have all" if remarks else "--explain"
    more = [f"{units.count_text(rest, 'more row')}: {place}"] if rest else []
    caption = "\n".join([*(notes if remarks else []), *more])
    console.print_table(table.headings, rows, caption, styles=styles)


def _difference_text(difference: Difference) -> str:
    a, b = difference.a or units.UNKNOWN, difference.b or units.UNKNOWN
    return f"{difference.name}: {a} in A, {b} in B"


def _print_list(title: str, items: Iterable[str], limit: int) -> None:
    lines = list(items)
    if lines:
        console.print_line(title)
    for item in lines[:limit]:
        console.print_line(f"- {item}")
    if len(lines) > limit:
        console.print_line(f"- and {len(lines) - limit} more")
