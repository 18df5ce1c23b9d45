"""The answer of ``choose`` on a terminal: what to run, how sure that is, and what it costs."""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.cli import console
from ovtool.core import units
from ovtool.results.labels import column_heading, column_label, figure_text, load_text
from ovtool.results.rows import get_figure
from ovtool.results.speedup import find_speedups
from ovtool.selection.certainty import TOO_FEW, UNSTABLE
from ovtool.selection.explanations import quality_text
from ovtool.selection.runners_up import objective_word, times_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ovtool.core.errors import LimitNotMetError
    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Row
    from ovtool.selection.choice import Choice
    from ovtool.selection.runners_up import RunnerUp

LINES = 25
"""Height of the answer on a terminal of 80 columns."""
_TABLE_LINES = 4
"""Lines of a table besides its rows and its caption."""
_WANTED_ROWS, _MIN_ROWS = 4, 2
"""Rows that shorten the reasons, and rows that are always shown."""
_DOUBTFUL = "bold yellow"
_HARD_SPACE = "\N{NO-BREAK SPACE}"
_ADVICE = ("knee", "memory-bound", "fallback-", "int8-", "sparse-")
"""Beginnings of the ids of explanations that say why, not what is in doubt."""
_SAID = ("limit-uncertain", TOO_FEW)
"""Ids of warnings that have a line of their own."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer comes from.

    Args:
        sweeps: Folders of the measurements.
        page: Path of the report; None where none was written.
        next_step: The last line; None: without one.
        took: How long the command took; empty if the answer is of earlier measurements.
    """

    sweeps: Sequence[str]
    page: str | None = None
    next_step: str | None = None
    took: str = ""

    @property
    def folders(self) -> str:
        """The folders of the measurements, as arguments of a command."""
        return " ".join(map(shlex.quote, self.sweeps))

    @property
    def page_line(self) -> str:
        """The path of the report, or the command that writes it."""
        return f"page: {self.page or f'ovtool report {self.folders}'}"

    @property
    def next_lines(self) -> list[str]:
        """The next step, if there is one."""
        return [] if self.next_step is None else [f"next: {self.next_step}"]


def print_no_answer(error: LimitNotMetError, origin: Origin) -> None:
    """Print the commands that go on where no row meets the limits; the error follows on stderr."""
    from ovtool.selection.choice import NothingFitsError

    again = []
    if isinstance(error, NothingFitsError) and error.nearest is not None:
        again = [f"take the nearest: ovtool choose {origin.folders} {error.nearest.options}"]
    for line in (origin.page_line, *again, *origin.next_lines):
        console.print_unwrapped(line)


def print_answer(choice: Choice, origin: Origin) -> None:
    """Print a recommendation in at most :data:`LINES` lines of 80 columns."""
    width = console.text_width()
    head = [*_wrapped(_head(choice, origin.took), width)]
    foot = _foot(origin)
    rows = 1 + len(choice.runners_up)
    wanted = _TABLE_LINES + (rows if rows <= _WANTED_ROWS else _WANTED_ROWS + 1)
    for reasons, doubts, brief, left_out in _ROOM:
        body = _body(choice, width, reasons, doubts, brief=brief)
        lines = (*body, foot[0], *foot[1 + left_out :])
        tail = [*_wrapped(lines, width)]
        if len(head) + wanted + len(tail) <= LINES:
            break
    for line, style in head:
        console.print_line(line, style)
    _print_configurations(choice, LINES - len(head) - len(tail))
    for line, style in tail:
        console.print_line(line, style)


_ROOM = (
    (3, 3, False, 0),
    (2, 3, False, 0),
    (2, 2, False, 0),
    (1, 2, False, 0),
    (1, 1, False, 0),
    (1, 1, True, 0),
    (1, 1, True, 1),
    (0, 1, True, 1),
    (0, 1, True, 2),
)
"""Numbers of reasons and doubts, whether doubts have no evidence, and number of left out commands:
the first that the screen has room for."""
_DOUBT_LINES = 2
"""Lines of a doubt with its evidence, which is shown whole or not at all."""
Line = tuple[str, str | None]
"""A line and its style."""


def _wrapped(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """Yield lines of at most ``width`` columns; intervals in brackets stay in one piece."""
    for text, style in lines:
        whole = re.sub(r"\[[^]]*\]", lambda match: match[0].replace(" ", _HARD_SPACE), text)
        indent = " " * (len(text) - len(text.lstrip()) + 2)
        for line in textwrap.wrap(whole, width, subsequent_indent=indent, break_on_hyphens=False):
            yield line.replace(_HARD_SPACE, " "), style


def _head(choice: Choice, took: str) -> Iterator[Line]:
    basis = choice.basis
    rows = units.count_text(basis.rows, "row")
    yield from ((doubt.line, _DOUBTFUL) for doubt in choice.doubts)
    measured = f"{units.duration(basis.measured_s)} measured" if basis.measured_s else ""
    times = filter(None, [rows, took or measured])
    yield f"{units.listing(basis.machines, 1)}; {', '.join(times)}", "dim"
    yield choice.headline.replace("Run", "RUN", 1).removesuffix("."), "bold green"
    yield f"  {', '.join(_figures(choice))}", None
    if choice.passed_over is not None:
        yield f"PASSED OVER {choice.passed_over_text}", "yellow"


def _figures(choice: Choice) -> Iterator[str]:
    """Yield the figures of the winner with their intervals."""
    row, metric = choice.winner, choice.quality_metric
    latency = f"latency_p{choice.percentile}_ms"
    names = ["throughput_fps", latency]
    if row["tokens_s"] is not None:
        names = ["tokens_s", "ttft_ms", "tpot_ms"]
    for name in names:
        if row[name] is not None:
            label = f"{column_label(name)} " if name != names[0] else ""
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
    if choice.winner["tokens_s"] is not None:
        columns[:3] = ["tokens_s", "concurrency", "ttft_ms", "tpot_ms"]
    names = {"throughput_fps": "samples/s", "latency_p50_ms": "p50, ms", "model_mib": "MiB"}
    names["tokens_s"] = "tokens/s"
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
    room, caption = room - _TABLE_LINES, ""
    if len(cells) > room:
        room, caption = max(_MIN_ROWS, room - 1), "more configurations: --explain"
    console.print_table(
        ("variant", *headings, ""), cells[:room], caption, right=headings, styles=_STYLES
    )


_STYLES = dict.fromkeys((*UNSTABLE, "estimate"), "yellow")


def _cell(row: Row, name: str) -> str:
    if name in ("batch", "concurrency"):
        return units.text(row[name] if row[name] is None else int(row[name]))
    return units.text(get_figure(row, name).value)


def _doubt(row: Row, runner: RunnerUp | None = None) -> str:
    """Return why a row is not the answer or not certain, in a word or two."""
    words = []
    if row["status"] == "estimated":
        words.append("estimate")
    elif row["verdict"] not in ("stable", None):
        words.append(row["verdict"])
    if runner is not None and runner.missed:
        words.append("missed" if words else "limit missed")
    elif runner is not None and runner.tied:
        words.append("tie")
    return ", ".join(words)


def _body(choice: Choice, width: int, reasons: int, doubts: int, *, brief: bool) -> Iterator[Line]:
    if reasons:
        yield "Why", "bold"
        yield from ((f"  {text}", None) for text in itertools.islice(_why(choice), reasons))
    doubtful = _doubts(choice, width, doubts, brief=brief)
    if doubtful:
        yield "Before you rely on it", "bold"
        yield from ((f"  {text}", None) for text in doubtful)


def _foot(origin: Origin) -> list[Line]:
    """Return the commands that go on."""
    program = f"program: ovtool choose {origin.folders} --snippet; more: --explain"
    return [(line, "dim") for line in (origin.page_line, program, *origin.next_lines)]


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
    speedups = [f"{times_text(ratio)} in {name}" for name, ratio in
                find_speedups(choice.winner).items()]  # fmt: skip
    if speedups:
        yield f"speed against the uncompressed model: {', '.join(speedups)}"
    yield from (note.message for note in choice.explanations if note.id.startswith(_ADVICE))


def _short(runner: RunnerUp) -> str:
    """Return the name of the configuration of a row."""
    return runner.label.removesuffix(f", {load_text(runner.row)}")


def _doubts(choice: Choice, width: int, items: int, *, brief: bool) -> list[str]:
    """Return what is uncertain; the last item has the number of further ones."""
    doubts = []
    straddled = [c.limit.quantity.label for c in choice.checks if c.outcome == "uncertain"]
    if straddled:
        names = ", ".join(straddled)
        doubts.append(("the limit lies within the confidence interval", names))
    wide = (note for note in choice.explanations if note.id == "quality-interval-wide")
    notes = (note for note in choice.warnings if note.id not in _SAID)
    doubts += [(note.message, note.evidence) for note in (*wide, *notes)]
    more = len(doubts) - items
    rest = f" (and {more} more: --explain)" if more > 0 else ""
    shown = [_doubt_text(*doubt, width, brief=brief) for doubt in doubts[:items]]
    return [*shown[:-1], *(f"{last}{rest}" for last in shown[-1:])]


def _doubt_text(message: str, evidence: str, width: int, *, brief: bool) -> str:
    """Return a doubt with its evidence, or without it if that takes too many lines."""
    text = f"{message}: {evidence}"
    whole = [*_wrapped([(f"  {text}", None)], width)]
    return message if brief or not evidence or len(whole) > _DOUBT_LINES else text


def _inverse(ratio: Interval) -> Interval:
    return type(ratio)(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
