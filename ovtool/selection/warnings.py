"""Warnings about a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.notes import VARIANT_NOTES, Note, make_note
from ovtool.results.labels import column_label, figure_text, row_count_text
from ovtool.results.rows import estimated_rows, excluded_rows, get_figure, measured_rows, real_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.results.rows import Rows
    from ovtool.results.table import ResultsTable
    from ovtool.selection.candidates import Candidate, Candidates
    from ovtool.selection.choice_spec import ChoiceSpec


def find_warnings(
    winner: Candidate, candidates: Candidates, rows: Rows, spec: ChoiceSpec, table: ResultsTable
) -> tuple[Note, ...]:
    """Return the warnings about a choice; ``rows`` are all rows of the table."""
    return (
        *_winner_warnings(winner),
        *(n for n in table.details_of(winner.row).notes if n.id in VARIANT_NOTES),
        *_quality_warnings(winner, candidates, spec, table.quality_metric),
        *_row_warnings(candidates, rows, table),
        *_estimate_warnings(candidates, rows, spec),
    )


def _winner_warnings(winner: Candidate) -> Iterator[Note]:
    if winner.row["status"] == "estimated":
        yield make_note("winner-estimated", winner.row["device"])
    for check in winner.checks:
        if check.outcome == "uncertain":
            yield make_note("limit-uncertain", f"{check.limit.text}: {check.text}")
        quantity = check.limit.quantity
        if quantity.column.name == "sustained_rps" and winner.row["rate_rps"] is None:
            evidence = f"{quantity.label} {check.text}"
            yield make_note("rate-by-capacity", evidence, rate=check.limit.value)


def _quality_warnings(
    winner: Candidate, candidates: Candidates, spec: ChoiceSpec, column: str | None
) -> Iterator[Note]:
    if column is None or winner.row[column] is None:
        yield make_note("quality-unknown")
        return
    quality = get_figure(winner.row, column)
    known, lower_is_better = candidates.rows.numbers(column), BY_NAME[column].better == "lower"
    best = float(np.nanmin(known) if lower_is_better else np.nanmax(known))
    worse = quality.excludes(best) or (not quality.known and quality.value != best)
    kept = any(check.limit.default for check in winner.checks)
    if spec.min_quality is None and worse and not kept:
        figures = f"{figure_text(winner.row, column)}, best {units.text(best)}"
        yield make_note("quality-lower", f"{column_label(column)} {figures}")


def _row_warnings(candidates: Candidates, rows: Rows, table: ResultsTable) -> Iterator[Note]:
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        yield make_note("emulated-left-out", excluded)
    failed = rows.take(rows.equal("status", "failed"))
    if failed:
        example = f"{failed[0]['variant']} on {failed[0]['device']}"
        reason = failed[0]["reason"] or "no reason"
        yield make_note("failed-rows", f"{len(failed)} of {len(rows)} trials; {example}: {reason}")
    for device in table.unavailable:
        yield make_note("device-unavailable", f"{device.device}: {device.reason}")
    for quantity, count in candidates.unknown():
        evidence = f"{count} of {len(candidates)} rows without {quantity.label}"
        yield make_note("limit-on-unknown", evidence)
    measured = measured_rows(real_rows(rows))
    if without := len(measured) - len(measured_rows(candidates.rows)):
        yield make_note("objective-on-unknown", f"{without} of {len(measured)} rows")
    shapes = len(np.unique(measured.group_codes(("shape", "data_shape"))))
    if shapes > 1:
        yield make_note("several-shapes", f"{shapes} shapes")
    environments = len(measured.unique("environment"))
    if environments > 1:
        yield make_note("several-environments", f"{environments} environments")


def _estimate_warnings(candidates: Candidates, rows: Rows, spec: ChoiceSpec) -> Iterator[Note]:
    estimates = estimated_rows(rows)
    if estimates and not spec.allow_estimates:
        yield make_note("estimates-left-out", row_count_text(estimates))
    without = len(estimates) - len(estimated_rows(candidates.rows))
    if spec.allow_estimates and without:
        yield make_note("estimates-without-figure", f"{without} rows")
