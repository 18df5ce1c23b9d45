"""The answer of ``choose`` on a terminal: what to run, how sure that is, and what it costs."""

from __future__ import annotations

import itertools
import math
import re
import shlex
import textwrap
from typing import TYPE_CHECKING

from ovtool.cli import console
from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.results.labels import column_heading, column_label, figure_text, load_text
from ovtool.results.rows import get_figure
from ovtool.selection.explanations import quality_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Row
    from ovtool.selection.choice import Choice
    from ovtool.selection.limits import Check
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
    elif choice.winner["verdict"] != "stable" or 2 * basis.disturbed > basis.rows:
        yield f"PROVISIONAL: {basis.disturbed} of {rows} disturbed while measured", _DOUBTFUL
    yield choice.headline.replace("Run", "RUN", 1).removesuffix("."), "bold green"
    yield f"  {', '.join(_figures(choice))}", None
    if choice.passed_over is not None:
        yield _passed_over_text(choice, choice.passed_over), "yellow"


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


def _passed_over_text(choice: Choice, passed: RunnerUp) -> str:
    options = " ".join(_option_that_takes(check, passed.row, choice) for check in passed.missed)
    misses = ", ".join(_miss(check) for check in passed.missed)
    gain = f"{_times(passed.ratio)} the {_objective(choice)}"
    return f"PASSED OVER {passed.label}: {gain}, but {misses}; to take it: {options}"


def _miss(check: Check) -> str:
    quantity, limit = check.limit.quantity, check.limit.value
    side = "over" if quantity.lower else "under"
    if check.limit.default:
        return f"{quantity.label} {check.text}, measurably {side} {limit:g}"
    figure = f"{units.text(check.figure.value)} {quantity.column.unit}".rstrip()
    return f"{quantity.label} {figure} {side} {limit:g}"


def _option_that_takes(check: Check, row: Row, choice: Choice) -> str:
    """Return the option with the nearest round limit that the figure satisfies."""
    value, lower = check.figure.value, check.limit.quantity.lower
    if check.limit.option == "min_quality" and choice.quality_metric is not None:
        value, lower = row[choice.quality_metric], BY_NAME[choice.quality_metric].better == "lower"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    rounded = (math.ceil if lower else math.floor)(value / step) * step
    return f"--{check.limit.option.replace('_', '-')} {rounded:.6g}"


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


_STYLES = {"contended": "yellow", "throttled": "yellow", "unsteady": "yellow", "estimate": "yellow"}


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
        yield f"{_objective(choice)}: a tie, settled by the better {label}{sure}"
    elif rival is None:
        yield f"{_objective(choice)}: no other configuration fits"
    elif rival.ratio.known:
        distance = f"{_times(_inverse(rival.ratio))} the next, {_short(rival)}"
        yield f"{_objective(choice)}: {distance}{sure}"
    speedups = [
        f"{_times(get_figure(choice.winner, column))} in {name}"
        for column, name in (("speedup_f32_x", "f32"), ("speedup_default_x", "default precision"))
        if choice.winner[column] not in (None, 1.0)
    ]
    if speedups:
        yield f"speed-up over the uncompressed model: {', '.join(speedups)}"
    yield from (note.message for note in choice.explanations if note.id.startswith(_ADVICE))


def _objective(choice: Choice) -> str:
    """Return the objective in one word."""
    return "score" if "," in choice.objective else choice.objective.partition("=")[0]


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


def _times(ratio: Interval) -> str:
    if ratio.exact:
        return f"{units.text(ratio.value)}x"
    return f"{units.interval_text(ratio.value, ratio.low, ratio.high)}x"
