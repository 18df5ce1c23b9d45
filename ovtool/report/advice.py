"""Why a row won, and what to know before relying on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool import units
from ovtool.columns import BY_NAME
from ovtool.devicename import is_virtual, not_behind
from ovtool.report.rows import (
    Row,
    count_text,
    estimated,
    figure,
    figure_text,
    left_out_text,
    measured,
    real,
    words,
)
from ovtool.results import Note
from ovtool.statistics import Interval, ratio_unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.metrics import QualityMetric
    from ovtool.report.limits import Candidate, Limits
    from ovtool.report.table import Background

WIDE_QUALITY = 0.02
"""Half-width of a quality interval beyond which a loss that matters would go unseen."""


def reasons(
    winner: Candidate, rival: Candidate | None, column: str, quality: QualityMetric | None
) -> tuple[str, ...]:
    """Return why the winner won, in sentences with figures and intervals.

    Args:
        winner: The winner.
        rival: The next best that keeps to the limits, of another configuration.
        column: Of the objective.
        quality: Column of quality; None when it was not evaluated.
    """
    told = [_objective(winner, rival, column)]
    told += [f"It keeps to {check.limit_text}: {check.text}." for check in winner.checks]
    told += list(_speedups(winner.row))
    if quality is not None and winner.row[quality] is not None:
        of = winner.row["quality_samples"]
        samples = f" on {of:.0f} samples" if of is not None else ""
        told.append(f"Quality: {words(quality)} {figure_text(winner.row, quality)}{samples}.")
    return tuple(told)


def ratio_words(ratio: Interval) -> str:
    """Return a ratio of throughputs; ``faster`` or ``slower`` only if its interval excludes 1."""
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    if not ratio.known:
        return f"{shown}x, interval unknown"
    if not ratio.excludes(1.0):
        return f"{shown}x, not told apart"
    return f"{shown}x, {'faster' if ratio.value > 1 else 'slower'}"


def _objective(winner: Candidate, rival: Candidate | None, column: str) -> str:
    most = "lowest" if BY_NAME[column].better == "lower" else "highest"
    told = f"It has the {most} {words(column)} of all that fit: {winner.text}"
    if rival is None:
        return f"{told}; no other configuration fits."
    against = f"{rival.label} with {rival.text}"
    if winner.figure.value == rival.figure.value:
        return f"{told}, the same as {against}."
    ratio = ratio_unpaired(winner.figure, rival.figure)
    if column == "model_mib":
        return f"{told}; next comes {against}."
    if not ratio.known:
        return f"{told}; next comes {against} (no interval: how sure this is cannot be told)."
    sure = "beyond the noise" if not winner.figure.overlaps(rival.figure) else "within the noise"
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    return f"{told}; next comes {against}: ratio {shown}, {sure}."


def _speedups(row: Row) -> Iterator[str]:
    names = {
        "speedup_f32_x": "the uncompressed model in f32",
        "speedup_default_x": "the uncompressed model in the device's default precision",
    }
    for column, against in names.items():
        ratio = figure(row, column)
        if row[column] is not None and (ratio.known or ratio.value != 1):
            yield f"Its throughput against {against} at this load: {ratio_words(ratio)}."


def warnings(
    winner: Candidate,
    candidates: Sequence[Candidate],
    rows: Sequence[Row],
    limits: Limits,
    about: Background,
) -> tuple[Note, ...]:
    """Return what limits the trust in a choice, as data."""
    return (
        *_of_winner(winner),
        *_of_quality(winner, candidates, limits, about.quality_metric),
        *_of_others(candidates, rows, about),
        *_of_estimates(candidates, rows, limits),
    )


def _of_winner(winner: Candidate) -> Iterator[Note]:
    verdict = winner.row["verdict"]
    if verdict not in (None, "stable"):
        others = winner.row["others_cpu_pct"]
        taken = "" if others is None else f"others took {units.text(others)} % of the CPU"
        yield Note(
            f"winner-{verdict}",
            f"the recommended row is {verdict}: {_VERDICTS.get(verdict, '')}",
            taken if verdict == "contended" else figure_text(winner.row, "throughput_fps"),
            "measure again on a quiet machine" if verdict == "contended" else "measure again",
        )
    if winner.row["status"] == "estimated":
        yield Note(
            "winner-estimated",
            "the recommended row is an estimate by the device's compiler of one inference by"
            " itself: nothing was run, and nothing is known of its throughput and quality there",
            winner.row["device"],
            "measure on such a device before you rely on it",
        )
    device, ran_on = winner.row["device"], winner.row["ran_on"]
    absent = not_behind(device, ran_on.split(", ")) if ran_on and is_virtual(device) else []
    if absent:
        yield Note(
            "winner-fallback",
            f"the recommended row is no figure of {' or '.join(absent)}",
            f"{device} ran on {ran_on}",
            f"choose it only where {ran_on} is meant",
        )
    for check in winner.checks:
        if check.outcome == "uncertain":
            yield Note(
                "limit-uncertain",
                f"whether {check.limit_text} holds is uncertain",
                f"{words(check.column)} {check.text} straddles the limit",
                "measure longer, or evaluate on more samples",
            )


_VERDICTS = {
    "contended": "others took the CPU while it was measured",
    "throttled": "clock or heat limited it",
    "unsteady": "it did not converge in its time",
}


def _of_quality(
    winner: Candidate, candidates: Sequence[Candidate], limits: Limits, quality: str | None
) -> Iterator[Note]:
    if quality is None or winner.row[quality] is None:
        yield Note(
            "quality-unknown",
            "the quality of the recommended variant was not evaluated",
            remedy="evaluate it before it is used",
        )
        return
    mine = figure(winner.row, quality)
    best = max(figure(c.row, quality).value for c in candidates if c.row[quality] is not None)
    if limits.min_quality is None and (
        mine.excludes(best) or (not mine.known and mine.value < best)
    ):
        yield Note(
            "quality-lower",
            f"the recommended variant has less {words(quality)} than the best one, and no limit "
            "on quality was given",
            f"{figure_text(winner.row, quality)} against {units.text(best)}",
            "give the least quality that you accept",
        )
    if mine.known and (mine.high - mine.low) / 2 > WIDE_QUALITY:
        yield Note(
            "quality-interval-wide",
            f"{words(quality)} is known only roughly: a loss of several per cent would go unseen",
            figure_text(winner.row, quality),
            "evaluate on more samples",
        )


def _of_others(
    candidates: Sequence[Candidate], rows: Sequence[Row], about: Background
) -> Iterator[Note]:
    if emulated := left_out_text(measured(rows)):
        yield Note(
            "emulated-left-out",
            f"left out: {emulated}; figures of an emulated device are for tests",
        )
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        first = failed[0]
        yield Note(
            "failed-rows",
            f"{len(failed)} of {len(rows)} trials failed and could not be chosen",
            f"{first['variant']} on {first['device']}: {first['reason'] or 'no reason given'}",
        )
    for missing in about.not_there:
        yield Note(
            "device-not-there", f"{missing.device} was asked for and is not there", missing.reason
        )
    columns = [c.column for one in candidates for c in one.checks if c.outcome == "unknown"]
    for column in dict.fromkeys(columns):
        yield Note(
            "limit-on-unknown",
            f"{columns.count(column)} of {len(candidates)} rows have no {words(column)}, which a "
            "limit is about, and were left out",
        )
    shapes = {(row["shape"], row["data_shape"]) for row in measured(real(rows))}
    if len(shapes) > 1:
        yield Note(
            "several-shapes",
            f"rows of {len(shapes)} shapes of inputs were compared: a smaller input is less work",
            remedy="sweep the shapes apart to choose for each",
        )
    environments = {row["environment"] for row in measured(real(rows))}
    if len(environments) > 1:
        yield Note(
            "several-environments",
            f"rows of {len(environments)} machines or software versions were compared",
        )


def _of_estimates(
    candidates: Sequence[Candidate], rows: Sequence[Row], limits: Limits
) -> Iterator[Note]:
    """Say of estimates that they could not be chosen, and why."""
    guesses = estimated(rows)
    if guesses and not limits.allow_estimates:
        yield Note(
            "estimates-left-out",
            f"left out: {count_text(guesses)}, which a compiler made and nobody measured",
            remedy="--allow-estimates lets them be chosen",
        )
    in_choice = estimated(c.row for c in candidates)
    if limits.allow_estimates and len(in_choice) < len(guesses):
        yield Note(
            "estimates-without-figure",
            f"{len(guesses) - len(in_choice)} estimated rows have no such figure and were left"
            " out: an estimate is of the latency alone",
            remedy="choose by latency",
        )
