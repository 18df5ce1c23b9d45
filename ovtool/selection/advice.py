"""Why a row won, and what to know before relying on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import ratio_unpaired
from ovtool.results.labels import (
    column_label,
    figure_text,
    ratio_text,
    row_count_text,
)
from ovtool.results.rows import (
    Row,
    Rows,
    estimated_rows,
    excluded_rows,
    get_figure,
    measured_rows,
    real_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.core.metrics import QualityMetric
    from ovtool.results.table import ResultsTable
    from ovtool.selection.candidates import Candidate, Candidates
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.selection.quantities import Quantity


def reasons(
    winner: Candidate, rival: Candidate | None, goal: Quantity, quality: QualityMetric | None
) -> tuple[str, ...]:
    """Return why the winner won, in sentences with figures and intervals.

    Args:
        winner: The winner.
        rival: The next best that keeps to the limits, of another configuration.
        goal: What the winner is best at.
        quality: Column of quality; None when it was not evaluated.
    """
    told = [_objective(winner, rival, goal)]
    told += [f"It keeps to {check.limit_text}: {check.text}." for check in winner.checks]
    told += list(_speedups(winner.row))
    if quality is not None and winner.row[quality] is not None:
        of = winner.row["quality_samples"]
        samples = f" on {of:.0f} samples" if of is not None else ""
        told.append(
            f"Quality: {column_label(quality)} {figure_text(winner.row, quality)}{samples}."
        )
    return tuple(told)


def _objective(winner: Candidate, rival: Candidate | None, goal: Quantity) -> str:
    most = "lowest" if goal.lower else "highest"
    told = f"It has the {most} {goal.words} of all that fit: {goal.text(winner.row)}"
    if rival is None:
        return f"{told}; no other configuration fits."
    against = f"{rival.label} with {goal.text(rival.row)}"
    if winner.figure.value == rival.figure.value:
        return f"{told}, the same as {against}."
    ratio = ratio_unpaired(winner.figure, rival.figure)
    if winner.figure.exact and rival.figure.exact:
        return f"{told}; next comes {against}."
    if not ratio.known:
        return f"{told}; next comes {against} (no interval: how sure this is cannot be told)."
    sure = "beyond the noise" if ratio.excludes(1.0) else "within the noise"
    shown = units.interval_text(ratio.value, ratio.low, ratio.high)
    return f"{told}; next comes {against}: ratio {shown}, {sure}."


def _speedups(row: Row) -> Iterator[str]:
    names = {
        "speedup_f32_x": "the uncompressed model in f32",
        "speedup_default_x": "the uncompressed model in the device's default precision",
    }
    for column, against in names.items():
        ratio = get_figure(row, column)
        if row[column] is not None and (ratio.known or ratio.value != 1):
            yield f"Its throughput against {against} at this load: {ratio_text(ratio)}."


def warnings(
    winner: Candidate,
    candidates: Candidates,
    rows: Rows,
    spec: ChoiceSpec,
    table: ResultsTable,
) -> tuple[Note, ...]:
    """Return what limits the trust in a choice, as data."""
    return (
        *_of_winner(winner),
        *_of_quality(winner, candidates, spec, table.quality_metric),
        *_of_others(candidates, rows, table),
        *_of_estimates(candidates, rows, spec),
    )


def _of_winner(winner: Candidate) -> Iterator[Note]:
    if winner.row["status"] == "estimated":
        yield make_note("winner-estimated", winner.row["device"])
    for check in winner.checks:
        if check.outcome == "uncertain":
            yield make_note("limit-uncertain", f"{check.limit_text}: {check.text}")
        if check.quantity.column.name == "sustained_rps" and winner.row["rate_rps"] is None:
            yield make_note(
                "rate-by-capacity", f"{check.quantity.words} {check.text}", rate=check.limit
            )


def _of_quality(
    winner: Candidate, candidates: Candidates, spec: ChoiceSpec, quality: str | None
) -> Iterator[Note]:
    if quality is None or winner.row[quality] is None:
        yield make_note("quality-unknown")
        return
    mine = get_figure(winner.row, quality)
    best = float(np.nanmax(candidates.rows.numbers(quality)))
    if spec.min_quality is None and (mine.excludes(best) or (not mine.known and mine.value < best)):
        figures = f"{figure_text(winner.row, quality)}, best {units.text(best)}"
        yield make_note("quality-lower", f"{column_label(quality)} {figures}")


def _of_others(candidates: Candidates, rows: Rows, table: ResultsTable) -> Iterator[Note]:
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        yield make_note("emulated-left-out", excluded)
    failed = rows.take(rows.equal("status", "failed"))
    if failed:
        first = failed[0]
        where = f"{first['variant']} on {first['device']}"
        why = first["reason"] or "no reason given"
        yield make_note("failed-rows", f"{len(failed)} of {len(rows)} trials; {where}: {why}")
    for missing in table.unavailable:
        yield make_note("device-unavailable", f"{missing.device}: {missing.reason}")
    for quantity, count in candidates.unknown():
        rows_text = f"{count} of {len(candidates)} rows"
        yield make_note("limit-on-unknown", f"{rows_text} without {quantity.words}")
    fine = measured_rows(real_rows(rows))
    if without := len(fine) - len(measured_rows(candidates.rows)):
        yield make_note("objective-on-unknown", f"{without} of {len(fine)} rows")
    shapes = len(np.unique(fine.group_codes(("shape", "data_shape"))))
    if shapes > 1:
        yield make_note("several-shapes", f"{shapes} shapes")
    environments = len(fine.unique("environment"))
    if environments > 1:
        yield make_note("several-environments", f"{environments} environments")


def _of_estimates(candidates: Candidates, rows: Rows, spec: ChoiceSpec) -> Iterator[Note]:
    """Say of estimates that they could not be chosen, and why."""
    guesses = estimated_rows(rows)
    if guesses and not spec.allow_estimates:
        yield make_note("estimates-left-out", row_count_text(guesses))
    in_choice = estimated_rows(candidates.rows)
    if spec.allow_estimates and len(in_choice) < len(guesses):
        yield make_note("estimates-without-figure", f"{len(guesses) - len(in_choice)} rows")
