"""The answer of ``choose`` on a terminal: what to run, how sure that is, and what it costs."""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from typing import TYPE_CHECKING

from ovtool.cli import console
from ovtool.core import units
from ovtool.results.labels import column_heading, column_label, figure_text, load_text
from ovtool.results.rows import get_figure
from ovtool.selection.explanations import quality_text
from ovtool.selection.runners_up import objective_word, times_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Row
    from ovtool.selection.choice import Choice
    from ovtool.selection.runners_up import RunnerUp

LINES = 25
"""Height of the answer on a terminal of 80 columns."""
_MAX_ITEMS = 3
_TABLE_LINES = 4
"""Lines of a table besides its rows."""
_MIN_ROWS = 2
_DOUBTFUL = "bold yellow"
_HARD_SPACE = "\N{NO-BREAK SPACE}"
_ADVICE = ("knee", "memory-bound", "fallback-", "int8-", "sparse-")
"""Beginnings of the ids of explanations that say why, not what is in doubt."""


def print_answer(choice: Choice, sweeps: Sequence[str], page: str | None = None) -> None:
    """Print a recommendation in at most :data:`LINES` lines of 80 columns.

    ``page`` is the path of the report; None where none was written.
    """
    width = console.text_width()
    head = [*_wrapped(_head(choice), width)]
    for items in range(_MAX_ITEMS, 0, -1):
        tail = [*_wrapped(_tail(choice, sweeps, page, width, items), width)]
        if len(head) + _TABLE_LINES + _MIN_ROWS + len(tail) <= LINES:
            break
    for line, style in head:
        console.print_line(line, style)
    _print_configurations(choice, LINES - len(head) - len(tail))
    for line, style in tail:
        console.print_line(line, style)


Line = tuple[str, str | None]
"""A line and its style."""


def _wrapped(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """Yield lines of at most ``width`` columns; intervals in brackets stay in one piece."""
    for text, style in lines:
        whole = re.sub(r"\[[^]]*\]", lambda match: match[0].replace(" ", _HARD_SPACE), text)
        indent = " " * (len(text) - len(text.lstrip()) + 2)
        for line in textwrap.wrap(whole, width, subsequent_indent=indent, break_on_hyphens=False):
            yield line.replace(_HARD_SPACE, " "), style


def _head(choice: Choice) -> Iterator[Line]:
    basis = choice.basis
    rows = units.count_text(basis.rows, "row")
    measured = f", {units.duration(basis.measured_s)} measured" if basis.measured_s else ""
    yield f"{units.listing(basis.machines, 1)}; {rows}{measured}", "dim"
    if choice.winner["status"] == "estimated":
        yield "ESTIMATE: by the device's compiler; nothing ran on the device", _DOUBTFUL
    elif choice.winner["verdict"] != "stable" or 2 * sum(basis.unstable.values()) > basis.rows:
        counts = (f"{count} {_VERDICTS[verdict]}" for verdict, count in basis.unstable.items())
        yield f"PROVISIONAL: of {rows}, {', '.join(counts)}", _DOUBTFUL
    yield choice.headline.replace("Run", "RUN", 1).removesuffix("."), "bold green"
    yield f"  {', '.join(_figures(choice))}", None
    if choice.passed_over is not None:
        yield f"PASSED OVER {choice.passed_over_text}", "yellow"


def _figures(choice: Choice) -> Iterator[str]:
    """Yield the figures of the winner with their intervals."""
    row, metric = choice.winner, choice.quality_metric
    latency = f"latency_p{choice.percentile}_ms"
    for name in ("throughput_fps", latency):
        if row[name] is not None:
            label = f"{column_label(name)} " if name == latency else ""
            yield f"{label}{figure_text(row, name)}"
    if row["latency_estimate_ms"] is not None:
        yield f"latency {figure_text(row, 'latency_estimate_ms')}"
    if metric is not None and row[metric] is not None:
        yield quality_text(row, metric)
    if row["model_mib"] is not None:
        yield figure_text(row, "model_mib")


def _print_configurations(choice: Choice, room: int) -> None:
    """Print the best row of each configuration in ``room`` lines, but at least two rows."""
    metric = [choice.quality_metric] if choice.quality_metric else []
    columns = ["throughput_fps", "batch", "latency_p50_ms", *metric, "model_mib"]
    names = {"throughput_fps": "samples/s", "latency_p50_ms": "p50, ms", "model_mib": "MiB"}
    headings = [names.get(name, column_heading(name)) for name in columns]
    winner = choice.label.removesuffix(f", {load_text(choice.winner)}")
    rows = [(winner, choice.winner, _doubt(choice.winner))]
    rows += [
        (_short(runner), runner.row, _doubt(runner.row, runner)) for runner in choice.runners_up
    ]
    cells = [[*(_cell(row, c) for c in columns), doubt] for _, row, doubt in rows]
    name_width = console.name_width([*headings, ""], cells) - 1
    cells = [
        [units.shortened(name, name_width), *cell]
        for (name, *_), cell in zip(rows, cells, strict=True)
    ]
    shown = cells[: max(_MIN_ROWS, room - _TABLE_LINES)]
    console.print_table(("variant", *headings, ""), shown, right=headings, styles=_STYLES)


_VERDICTS = {
    "contended": "disturbed by other processes",
    "throttled": "slowed down by clock, heat or a quota",
    "unsteady": "did not stabilize",
}
_STYLES = dict.fromkeys((*_VERDICTS, "estimate"), "yellow")


def _cell(row: Row, name: str) -> str:
    if name == "batch":
        return str(row["batch"])
    return units.text(get_figure(row, name).value)


def _doubt(row: Row, runner: RunnerUp | None = None) -> str:
    """Return why a row is not the answer or not certain, in a word or two."""
    words = []
    if row["status"] == "estimated":
        words.append("estimate")
    elif row["verdict"] not in ("stable", None):
        words.append(row["verdict"])
    if runner is not None and runner.missed:
        words.append("limit missed")
    elif runner is not None and runner.tied:
        words.append("tie")
    return ", ".join(words)


def _tail(
    choice: Choice, sweeps: Sequence[str], page: str | None, width: int, items: int
) -> Iterator[Line]:
    yield "Why", "bold"
    yield from ((f"  {text}", None) for text in itertools.islice(_why(choice), items))
    doubts = _doubts(choice, width - 2, items)
    if doubts:
        yield "Before you rely on it", "bold"
        yield from ((f"  {text}", None) for text in doubts)
    folders = " ".join(map(shlex.quote, sweeps))
    report = page or f"ovtool report {folders}"
    yield f"page: {report}; program: ovtool choose {folders} --snippet; more: --explain", "dim"


def _why(choice: Choice) -> Iterator[str]:
    rival = next((runner for runner in choice.runners_up if not runner.missed), None)
    sure = f"; {choice.confidence.summary}" if choice.confidence.resamples else ""
    if choice.settled_by:
        label = column_label(choice.settled_by)
        yield f"{objective_word(choice.objective)}: a tie, settled by the better {label}{sure}"
    elif rival is None:
        yield f"{objective_word(choice.objective)}: no other configuration fits"
    elif rival.ratio.known:
        distance = f"{times_text(_inverse(rival.ratio))} the next, {_short(rival)}"
        yield f"{objective_word(choice.objective)}: {distance}{sure}"
    speedups = [
        f"{times_text(get_figure(choice.winner, column))} in {name}"
        for column, name in (("speedup_f32_x", "f32"), ("speedup_default_x", "default precision"))
        if choice.winner[column] not in (None, 1.0)
    ]
    if speedups:
        yield f"speed-up over the uncompressed model: {', '.join(speedups)}"
    yield from (note.message for note in choice.explanations if note.id.startswith(_ADVICE))


def _short(runner: RunnerUp) -> str:
    """Return the name of the configuration of a row."""
    return runner.label.removesuffix(f", {load_text(runner.row)}")


def _doubts(choice: Choice, width: int, items: int) -> list[str]:
    """Return what is uncertain, in one line each; the last one has the number of further lines."""
    texts = []
    straddled = [c.limit.quantity.label for c in choice.checks if c.outcome == "uncertain"]
    if straddled:
        texts.append(f"the limit lies within the confidence interval: {', '.join(straddled)}")
    wide = (note for note in choice.explanations if note.id == "quality-interval-wide")
    notes = (note for note in choice.warnings if note.id != "limit-uncertain")
    texts += [f"{note.message}: {note.evidence}".removesuffix(": ") for note in (*wide, *notes)]
    more = len(texts) - items
    rest = f" (and {more} more)" if more > 0 else ""
    shown = [textwrap.shorten(text, width, placeholder="…") for text in texts[:items]]
    if rest:
        shown[-1] = textwrap.shorten(shown[-1], width - len(rest), placeholder="…") + rest
    return shown


def _inverse(ratio: Interval) -> Interval:
    return type(ratio)(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
