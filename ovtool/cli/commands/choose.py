"""``ovtool choose``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options
from ovtool.cli.answer import Origin, print_answer
from ovtool.cli.command import OUTPUT, option
from ovtool.cli.console import print_unwrapped
from ovtool.cli.spec_options import with_options_of
from ovtool.core.columns import BY_NAME
from ovtool.selection.choice_spec import ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.results.rows import Row
    from ovtool.selection.choice import Choice
    from ovtool.selection.pareto import Front

EXAMPLES = (
    "ovtool choose sweeps/mini-pc --max-latency-ms 20 --min-quality 0.95",
    "ovtool choose sweeps/mini-pc --rate 50 --prices prices.yaml --objective cost",
)
EXIT_CODES = {
    1: "no row meets the limits",
    5: "cannot tell: no row has the figures of the limits",
}


@with_options_of(ChoiceSpec)
def command(
    sweeps: options.Sweeps,
    spec: ChoiceSpec,
    front: Annotated[bool, option(OUTPUT, "", "Print the Pareto front.", "--front")] = False,
    snippet: Annotated[
        bool, option(OUTPUT, "", "Print only a Python program with these settings.", "--snippet")
    ] = False,
    explained: Annotated[
        bool, option(OUTPUT, "", "Print every reason, warning and figure.", "--explain")
    ] = False,
    json: options.Json = False,
) -> None:
    """Recommend a device, variant, batch and load; exit with 1 if no row meets the limits."""
    from ovtool import api
    from ovtool.core.errors import InputError
    from ovtool.selection.choice import NothingFitsError

    if json + front + snippet + explained > 1:
        raise InputError(
            "--json, --front, --snippet and --explain exclude each other", "give one of them"
        )
    try:
        choice = api.choose(sweeps, spec=spec)
    except NothingFitsError as error:
        if json:
            console.print_json(error.to_json())
        raise
    if snippet:
        print_unwrapped(choice.snippet, end="")
    elif front:
        print_front(choice.front)
    elif json:
        console.print_json(choice.to_json())
    elif explained:
        print_explained(choice)
    else:
        print_answer(choice, Origin(sweeps))


def print_explained(choice: Choice) -> None:
    """Print a recommendation with all reasons, warnings and runners-up."""
    console.print_line(choice.headline, style="bold")
    for reason in choice.reasons:
        console.print_line(f"- {reason}")
    if choice.passed_over_text:
        console.print_line(f"- Passed over {choice.passed_over_text}.")
    console.print_line(f"Confidence: {choice.confidence.sentence}.")
    if choice.ties:
        console.print_line(f"No significant difference: {choice.ties_text}.")
    settings = ", ".join(f'"{k}": "{v}"' for k, v in choice.properties.items())
    console.print_line(f"OpenVINO properties: {{{settings}}}")
    if choice.explanations:
        console.print_line("Explanations:")
    for note in choice.explanations:
        remedy = f"; {note.remedy}" if note.remedy else ""
        console.print_line(f"- {note.message} ({note.evidence}){remedy}")
    if choice.runners_up:
        console.print_line("Runners-up:")
    for runner in choice.runners_up:
        console.print_line(f"- {runner.label}: {runner.shortfall}")
    rows = [(choice.label, choice.winner), *((r.label, r.row) for r in choice.runners_up)]
    _print_rows("configuration", rows, choice.front.columns)
    if choice.hosts:
        from ovtool.selection.hosts import HEADINGS

        console.print_table(HEADINGS, [host.cells for host in choice.hosts])
    console.print_notes(choice.warnings)


def print_front(front: Front) -> None:
    """Print a Pareto front."""
    rows = list(zip(front.labels, front.rows, strict=True))
    caption = (
        f"{len(rows)} of {front.compared} rows: no other row is better in one of these figures and"
        " at least as good in all others."
    )
    if front.left_out:
        from ovtool.results.labels import column_label

        caption += f" Not measured: {', '.join(column_label(n) for n in front.left_out)}."
    _print_rows("Pareto front", rows, front.columns, caption)


def _print_rows(
    heading: str, rows: Sequence[tuple[str, Row]], columns: Sequence[str], caption: str = ""
) -> None:
    from ovtool.results.labels import column_heading, figure_text

    def cell(row: Row, name: str) -> str:
        figure = figure_text(row, name).removesuffix(BY_NAME[name].unit).rstrip()
        return figure.replace(" [", "\n[")

    headings = [column_heading(name) for name in columns]
    cells = [(label, *(cell(row, name) for name in columns)) for label, row in rows]
    console.print_table((heading, *headings), cells, caption, right=headings)
