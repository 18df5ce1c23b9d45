"""``ovtool why``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

from ovtool.cli import console, options, progress
from ovtool.cli.command import LOAD, MEASUREMENT, OUTPUT, argument, option
from ovtool.core import units
from ovtool.core.shapes import parse_named_shapes
from ovtool.profiling.causes import UNEXPLAINED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.core.statistics import Interval
    from ovtool.profiling.causes import Cause
    from ovtool.profiling.explanation import Explanation, Side
    from ovtool.profiling.layer_matching import LayerPair

EXAMPLES = (
    "ovtool why variants/fp32 variants/int8",
    "ovtool why model.onnx model-int8.onnx --batch 8 --explain",
)
_LINES = 25
"""Height of the answer on a terminal of 80 columns."""
_FIXED_LINES = 7
"""Lines of the table besides its causes: three of the heading, four of total, rest and caption."""
_MAX_CAUSES = 5
_NOISE = " ~"
"""Mark of a difference within the noise."""
_MAX_REMEDIES = 3


def command(
    a: Annotated[str, argument("The reference, usually in floating point.", kind="MODEL")],
    b: Annotated[str, argument("The model that should be faster, usually in INT8.", kind="MODEL")],
    device: options.Device = "CPU",
    batch: options.Batch = None,
    precision: options.Precision = "default",
    hint: options.Hint = "latency",
    streams: Annotated[
        int | None, option(LOAD, "N", "Number of streams, instead of the hint.", min=1)
    ] = None,
    shape: options.Shapes = None,
    data: options.Data = None,
    rounds: Annotated[
        int,
        option(MEASUREMENT, "N", "Rounds, each of which profiles both models.", min=3, max=1000),
    ] = 8,
    max_seconds: Annotated[
        float,
        option(
            MEASUREMENT,
            "SECONDS",
            "Maximum measuring time, without compiling; three rounds are always measured.",
            min=0.01,
            max=3600,
        ),
    ] = 12.0,
    explain: Annotated[
        bool, option(OUTPUT, "", "Print the layers of both models side by side.", "--explain")
    ] = False,
    top: options.Top = 40,
    json: options.Json = False,
) -> None:
    """Explain why B is not faster than A: the causes with their milliseconds, and remedies."""
    from ovtool import api

    with progress.show_progress() as bar:
        explanation = api.why(
            a,
            b,
            device=device,
            batch=batch,
            precision=precision,
            hint=hint,
            streams=streams,
            shapes=parse_named_shapes(shape or ()),
            data=data,
            rounds=rounds,
            max_seconds=max_seconds,
            progress=bar,
        )
    if json:
        console.print_json(explanation.to_json())
        return
    print_explanation(explanation)
    if explain:
        _print_layers(explanation, top)
    console.print_notes(explanation.notes)


def print_explanation(explanation: Explanation) -> None:
    """Print the answer, the ranked causes and their remedies in at most 25 lines of 80 columns."""
    width = console.text_width()
    style = "bold red" if explanation.slower else "bold"
    head = textwrap.wrap(explanation.headline, width, subsequent_indent="  ")
    context = _wrap(_context(explanation), width)
    ranked = _shown(explanation.causes)
    rest = [cause for cause in explanation.causes if cause not in ranked]
    remedies = list(_remedies(ranked, width))
    room = _LINES - len(head) - len(context) - _FIXED_LINES - len(ranked)
    while remedies and sum(map(len, remedies)) > room:
        remedies.pop()
    for line in head:
        console.print_line(line, style)
    for line in context:
        console.print_line(line, "dim")
    _print_causes(explanation, ranked, rest, width)
    for lines in remedies:
        for line in lines:
            console.print_line(line)


def _shown(causes: Sequence[Cause]) -> list[Cause]:
    """Return the first causes, and always the time that no layer explains."""
    ranked = [cause for cause in causes if not cause.neutral]
    unexplained = [cause for cause in ranked[_MAX_CAUSES:] if cause.id == UNEXPLAINED]
    return [*ranked[: _MAX_CAUSES - len(unexplained)], *unexplained]


def _wrap(text: str, width: int, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _context(explanation: Explanation) -> str:
    sides = (
        f"{name} {_side_text(side)}" for name, side in (("A", explanation.a), ("B", explanation.b))
    )
    return (
        f"{'; '.join(sides)}; {explanation.device}, batch {explanation.batch},"
        f" {explanation.load}, {explanation.rounds} rounds"
    )


def _side_text(side: Side) -> str:
    executed = side.executed_precision or "an unknown precision"
    return f"{side.variant}: {units.text(side.compared_ms.value)} ms in {executed}"


def _print_causes(
    explanation: Explanation, ranked: list[Cause], rest: list[Cause], width: int
) -> None:
    """Print a row for each ranked cause, and rows for the rest, which add up to the difference."""
    headings = ("", "A ms", "B ms", "B - A ms", "to gain", "cause")
    rows = [[str(i), *_figures(cause)] for i, cause in enumerate(ranked, 1)]
    names = [f"{cause.id}: {cause.evidence}" for cause in ranked]
    if rest:
        rows.append(["", *_sums(rest), "-"])
        names.append(", ".join(cause.id for cause in rest))
    a, b = explanation.a.compared_ms, explanation.b.compared_ms
    total = [units.text(a.value), units.text(b.value), _signed(explanation.difference_ms), "-"]
    rows.append(["", *total])
    names.append("total")
    used = sum(max(map(len, column)) + 2 for column in zip(headings[:-1], *rows, strict=True))
    cells = [[*row, units.shortened(n, max(12, width - used - 2))]
             for row, n in zip(rows, names, strict=True)]  # fmt: skip
    noisy = any(row[3].endswith(_NOISE) for row in rows)
    caption = f"{_NOISE.strip()} no significant difference" if noisy else ""
    console.print_table(headings, cells, caption, right=headings[1:-1])


def _figures(cause: Cause) -> list[str]:
    return [
        units.text(cause.a_ms.value),
        units.text(cause.b_ms.value),
        _signed(cause.added_ms),
        units.text(cause.stake_ms),
    ]


def _sums(causes: list[Cause]) -> list[str]:
    a, b = (sum(getattr(cause, name).value for cause in causes) for name in ("a_ms", "b_ms"))
    return [units.text(a), units.text(b), f"{b - a:+.3f}"]


def _signed(difference: Interval) -> str:
    """Return a difference with its sign, marked if it is within the noise of the rounds."""
    return f"{difference.value:+.3f}{'' if difference.excludes(0.0) else _NOISE}"


def _remedies(ranked: list[Cause], width: int) -> Iterator[list[str]]:
    """Yield the lines of the remedy of each cause."""
    for number, cause in enumerate(ranked[:_MAX_REMEDIES], 1):
        text = f"{number}. {cause.sentence}: {cause.remedy}"
        yield textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _print_layers(explanation: Explanation, top: int) -> None:
    """Print the layers of both models side by side, the slowest first."""
    pairs = sorted(explanation.pairs, key=lambda pair: -max(pair.a_ms, pair.b_ms))
    headings = ("A ms", "B ms", "B - A", "type", "A", "B", "cause", "layer")
    cells = [_pair_cells(pair) for pair in pairs[:top]]
    caption = f"and {len(pairs) - top} more layers" if len(pairs) > top else ""
    names = [pair.label for pair in pairs[:top]]
    console.print_layer_table(headings, cells, names, caption, right=headings[:3])


def _pair_cells(pair: LayerPair) -> list[str]:
    timed = pair.b or pair.a
    return [
        "-" if pair.a is None else f"{pair.a_ms:.3f}",
        "-" if pair.b is None else f"{pair.b_ms:.3f}",
        f"{pair.b_ms - pair.a_ms:+.3f}",
        "" if timed is None else timed.layer.type,
        *("-" if t is None else units.text(t.layer.precision) for t in (pair.a, pair.b)),
        f"{pair.cause} ({pair.reason})" if pair.reason else pair.cause,
    ]
