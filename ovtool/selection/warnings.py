"""Warnings about a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.errors import LimitNotMetError
from ovtool.core.notes import VARIANT_NOTES, Note, make_note
from ovtool.results.environments import compare_facts
from ovtool.results.labels import (
    column_label,
    figure_text,
    quality_size_text,
    row_count_text,
)
from ovtool.results.rows import estimated_rows, excluded_rows, get_figure, measured_rows, real_rows
from ovtool.selection.explanations import WIDE_QUALITY
from ovtool.selection.quantities import COMPARED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ovtool.results.rows import Row, Rows
    from ovtool.results.table import ResultsTable
    from ovtool.selection.candidates import Candidate, Candidates
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.selection.limits import Check
    from ovtool.selection.quantities import Quantity


def find_warnings(
    winner: Candidate, candidates: Candidates, rows: Rows, spec: ChoiceSpec, table: ResultsTable
) -> tuple[Note, ...]:
    """Return the warnings about a choice; ``rows`` are all rows of the table."""
    return (
        *_winner_warnings(winner),
        *(n for n in table.details_of(winner.row).notes if n.id in VARIANT_NOTES),
        *_few_samples(winner, candidates, table),
        *_quality_warnings(winner, candidates, table),
        *_row_warnings(candidates, rows, table),
        *_estimate_warnings(candidates, rows, spec),
    )


def split_repeatable(rows: Rows, table: ResultsTable) -> tuple[Rows, tuple[Note, ...]]:
    """Return the rows of models with repeatable outputs, and a warning about the others.

    A note on one row counts for all rows of its variant on its device; if only rows with several
    streams have it, then only for these: a plugin may decompress weights once for each stream. A
    graph with random operations may be chosen.

    Raises:
        LimitNotMetError: No model has repeatable outputs.
    """
    unsteady = table.noted(rows, "outputs-not-repeatable")
    noted = rows.take(unsteady & ~table.noted(rows, "outputs-random"))
    if not noted:
        return rows, ()
    models = dict.fromkeys((row["variant_id"], row["device"]) for row in noted)
    left_out = np.zeros(len(rows), bool)
    single = rows.equal("streams", 1)
    for variant, device in models:
        of_model = rows.equal("variant_id", variant) & rows.equal("device", device)
        left_out |= of_model if (of_model & single & unsteady).any() else of_model & ~single
    names = list(dict.fromkeys(f"{row['variant']} on {row['device']}" for row in noted))
    evidence = f"{units.count_text(int(left_out.sum()), 'row')}: {units.listing(names, 3)}"
    if left_out.all():
        raise LimitNotMetError(
            f"no row has repeatable outputs: {evidence}",
            "evaluate the variants with --precision exact, or sweep other variants",
        )
    return rows.take(~left_out), (make_note("unrepeatable-left-out", evidence),)


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
    winner: Candidate, candidates: Candidates, table: ResultsTable
) -> Iterator[Note]:
    column = table.quality_metric
    if column is None or winner.row[column] is None:
        yield make_note("quality-unknown")
        return
    compressed = winner.row["variant_id"] != table.details_of(winner.row).baseline
    if compressed and column in COMPARED and winner.row["accuracy_top1"] is None:
        yield make_note("quality-without-labels")
    quality = get_figure(winner.row, column)
    known, lower_is_better = candidates.rows.numbers(column), BY_NAME[column].better == "lower"
    best = float(np.nanmin(known) if lower_is_better else np.nanmax(known))
    worse = quality.excludes(best) or (not quality.known and quality.value != best)
    limited = _quality_check(winner) is not None
    if worse and not limited:
        figures = f"{figure_text(winner.row, column)}, best {units.text(best)}"
        yield make_note("quality-lower", f"{column_label(column)} {figures}")


def _few_samples(winner: Candidate, candidates: Candidates, table: ResultsTable) -> Iterator[Note]:
    """Warn if the samples decide neither for nor against a loss of quality that matters.

    The first of the winner and the other compressed variants that fit is named.
    """
    ids = [winner.row["variant_id"], *candidates.rows.unique("variant_id")]
    for variant in dict.fromkeys(ids):
        rows = candidates.fits & candidates.rows.equal("variant_id", variant)
        if not rows.any():
            continue
        candidate = winner if variant == ids[0] else candidates[int(rows.argmax())]
        if evidence := undecided_quality(candidate, table):
            yield make_note("quality-too-few", evidence)
            return


def undecided_quality(candidate: Candidate, table: ResultsTable) -> str:
    """Return the quality that does not decide whether it is lost; empty if it decides."""
    check = _quality_check(candidate)
    if check is None or not _is_undecided(candidate, table):
        return ""
    return quality_on_samples(candidate.row, check.limit.quantity)


def quality_on_samples(row: Row, quantity: Quantity) -> str:
    """Return the variant of a row, its quality, and the number of samples that it is from."""
    return f"{row['variant']}: {quantity.label} {quantity.text(row)}{quality_size_text(row)}"


def _quality_check(candidate: Candidate) -> Check | None:
    limits = ("min_quality", "max_drop", "max_perplexity")
    checks = (check for check in candidate.checks if check.limit.option in limits)
    return next(checks, None)


def _is_undecided(candidate: Candidate, table: ResultsTable) -> bool:
    """Whether the interval of a quality includes the limit of quality.

    The user's limit, or one that exceeds the default limit by :data:`.WIDE_QUALITY`.  The
    uncompressed model loses nothing.
    """
    row, metric, check = candidate.row, table.quality_metric, _quality_check(candidate)
    if check is None or metric is None or row["variant_id"] == table.details_of(row).baseline:
        return False
    if not check.limit.default:
        return check.outcome == "uncertain"
    if metric == "mean_absolute_error":
        return False  # its unit is the user's
    figure, limit, lower = check.figure, check.limit.value, check.limit.quantity.lower
    if not figure.known:  # the metric has no figure for each sample
        figure = get_figure(row, metric)
        limit, lower = figure.value, BY_NAME[metric].better == "lower"
    return bool((figure.high - limit if lower else limit - figure.low) > WIDE_QUALITY)


def _row_warnings(candidates: Candidates, rows: Rows, table: ResultsTable) -> Iterator[Note]:
    if excluded := row_count_text(excluded_rows(measured_rows(rows))):
        yield make_note("emulated-left-out", excluded)
    failed = rows.take(rows.equal("status", "failed"))
    if failed:
        example = f"{failed[0]['variant']} on {failed[0]['device']}"
        reason = failed[0]["reason"] or "no reason"
        yield make_note("failed-rows", f"{len(failed)} of {len(rows)} trials; {example}: {reason}")
    sweeps: dict[str, list[str]] = {}
    for device in table.unavailable:
        sweeps.setdefault(f"{device.device}: {device.reason}", []).append(device.sweep)
    for text, names in sweeps.items():
        where = f" ({units.listing(names, 4)})" if len(rows.unique("sweep")) > 1 else ""
        yield make_note("device-unavailable", f"{text}{where}")
    for quantity, count in candidates.unknown():
        evidence = f"{count} of {len(candidates)} rows without {quantity.label}"
        yield make_note("limit-on-unknown", evidence)
    measured = measured_rows(real_rows(rows))
    figures = candidates.goal.of(measured)
    if without := int(np.isnan(figures.value).sum()):
        yield make_note("objective-on-unknown", f"{without} of {len(measured)} rows")
    shapes = len(np.unique(measured.group_codes(("shape", "data_shape"))))
    if shapes > 1:
        yield make_note("several-shapes", f"{shapes} shapes")
    compared = set(measured.unique("environment"))
    if len(compared) > 1:
        yield make_note("several-environments", _differences(compared, table))


def _differences(compared: Collection[str], table: ResultsTable) -> str:
    """Return the number of environments, and the facts in which they differ."""
    facts = [e.facts for e in table.environments if e.id in compared]
    names = {d.name.partition(".")[0] for f in facts[1:] for d in compare_facts(facts[0], f)}
    names.discard("host")
    differ = f"different {units.listing(sorted(names), 4)}" if names else "of equal description"
    return f"{len(compared)} environments, {differ}"


def _estimate_warnings(candidates: Candidates, rows: Rows, spec: ChoiceSpec) -> Iterator[Note]:
    estimates = estimated_rows(rows)
    if estimates and not spec.allow_estimates:
        yield make_note("estimates-left-out", row_count_text(estimates))
    without = len(estimates) - len(estimated_rows(candidates.rows))
    if spec.allow_estimates and without:
        yield make_note("estimates-without-figure", f"{without} rows")
