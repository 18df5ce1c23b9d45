"""Why the winner won, and why rows are as fast, slow or uncertain as they are.

A rule compares a row with the rows measured with it, and yields a note only if the figures
show it.  Equal notes of several rows are merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.columns import BY_NAME
from ovtool.core.device_names import find_idle_members, is_virtual
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import ratio_unpaired, samples_for_half_width, samples_to_distinguish
from ovtool.results.labels import (
    column_label,
    figure_text,
    quality_size_text,
    ratio_text,
    row_label,
)
from ovtool.results.rows import (
    CONFIG,
    Config,
    Row,
    Rows,
    find_highest_throughput,
    get_figure,
    measured_rows,
    real_rows,
)
from ovtool.results.speedup import find_speedups
from ovtool.selection.knee import Knees, throughput_and_latency

if TYPE_CHECKING:
    from ovtool.core.columns import QualityMetric
    from ovtool.core.statistics import Interval
    from ovtool.results.table import ResultsTable
    from ovtool.selection.candidates import Candidate
    from ovtool.selection.quantities import Quantity

_SAME_RATE = 0.01
WIDE_QUALITY = 0.02
"""Half-width of a quality interval that hides a relevant loss."""
_PROPORTIONS = ("accuracy_top1", "accuracy_top5", "agreement_top1")
"""Columns that count samples and have Wilson's interval."""
_EXECUTED = ("flops_i8_pct", "flops_bf16_pct", "flops_f16_pct", "flops_f32_pct")
_SOME_PCT, _MOST_PCT = 5.0, 50.0
_SPARSE_PCT = 70.0
_BATCH = (*CONFIG, "batch")
_GROUP = ("environment", "device", "ran_on", "batch", "shape", "data_shape", "load")
"""Columns that are equal in comparable rows."""
_SHOWN = 3
_VERDICTS = {"contended": "others_cpu_pct", "throttled": "quota_wait_pct", "unsteady": "drift_pct"}
"""The column that shows why a measurement is not stable."""


def explain_tie(winner: Candidate, best: Candidate, goal: Quantity, settled_by: str) -> str:
    """Return how a tie between the winner and the row with the best value was settled."""
    extreme = "lowest" if goal.lower else "highest"
    figures = (figure_text(row, settled_by) for row in (winner.row, best.row))
    return (
        f"No significant difference to the {extreme} {goal.label}, {goal.text(best.row)} of"
        f" {best.label}; {column_label(settled_by)} settles the tie: {', not '.join(figures)}."
    )


def explain_winner(
    winner: Candidate,
    rival: Candidate | None,
    goal: Quantity,
    quality: QualityMetric | None,
    *,
    why: str = "",
    best: bool = True,
) -> tuple[str, ...]:
    """Return why the winner won, in sentences with figures and intervals.

    ``rival`` is the best row of another configuration that fits; ``quality`` is the column of the
    quality, None if it was not evaluated; ``why`` is the reason for this metric; ``best`` is
    whether no row that fits has a better value.
    """
    reasons = [_explain_goal(winner, rival, goal, best=best)]
    wanted = (check for check in winner.checks if not check.limit.default)
    reasons += [f"Meets {check.limit.text}: {check.text}." for check in wanted]
    reasons += [
        f"Speed-up over the uncompressed model in {name} at this load: {ratio_text(ratio)}."
        for name, ratio in find_speedups(winner.row).items()
    ]
    if quality is not None and winner.row[quality] is not None:
        reason = f" ({why})" if why else ""
        reasons.append(f"Quality: {quality_text(winner.row, quality)}{reason}.")
    return tuple(reasons)


def _explain_goal(winner: Candidate, rival: Candidate | None, goal: Quantity, *, best: bool) -> str:
    extreme = "Lowest" if goal.lower else "Highest"
    name = f"{extreme} {goal.label}" if best else f"{goal.label[:1].upper()}{goal.label[1:]}"
    reason = f"{name}: {goal.text(winner.row)}"
    if rival is None:
        return f"{reason}; no other configuration fits."
    next_best = f"next is {rival.label} with {goal.text(rival.row)}"
    if winner.figure.value == rival.figure.value:
        return f"{reason}; {next_best}, the same."
    if winner.figure.exact and rival.figure.exact:
        return f"{reason}; {next_best}."
    ratio = ratio_unpaired(winner.figure, rival.figure)
    if not ratio.known:
        return f"{reason}; {next_best} (no confidence interval)."
    significance = "significant" if ratio.excludes(1.0) else "no significant difference"
    interval = units.interval_text(ratio.value, ratio.low, ratio.high)
    return f"{reason}; {next_best}: ratio {interval}, {significance}."


class Context:
    """The rows and batch curves that the rules compare a row with."""

    def __init__(
        self,
        rows: Rows,
        labels: Mapping[Config, str],
        table: ResultsTable,
        min_quality: float | None = None,
    ) -> None:
        self.labels, self.table, self.min_quality = labels, table, min_quality
        self._measured = measured_rows(real_rows(rows))
        self.knees = Knees(self._measured, labels)
        self._comparable: dict[int, Rows] = {}

    def comparable(self, row: Row) -> Rows:
        """Return the rows with the same device, shapes, batch and load, including the row."""
        code = int(Rows.from_row(row).group_codes(_GROUP)[0])
        if code not in self._comparable:
            same = self._measured.group_codes(_GROUP) == code
            self._comparable[code] = self._measured.take(same)
        return self._comparable[code]

    def with_roofline(self, row: Row) -> Row | None:
        """Return the row of the same configuration and batch that has a roofline.

        A roofline is calculated for one request at a time; None if there is no such row.
        """
        same = self._measured.group_codes(_BATCH) == int(Rows.from_row(row).group_codes(_BATCH)[0])
        mask = same & self._measured.known("memory_bound_pct")
        return self._measured[int(mask.argmax())] if mask.any() else None

    def baseline(self, row: Row) -> Row | None:
        """Return the comparable row of the uncompressed variant in default precision."""
        rows, variant = self.comparable(row), self.table.details_of(row).baseline
        same = rows.equal("variant_id", variant) & rows.equal("precision", "default")
        return rows[int(same.argmax())] if variant is not None and same.any() else None

    def label(self, row: Row) -> str:
        """Return the name of a row."""
        return row_label(row, self.labels)


def explain(rows: Sequence[Row], context: Context) -> tuple[Note, ...]:
    """Return the notes of all rules on some rows; equal notes are merged."""
    merged: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for rule in RULES:
            for note in rule(row, context):
                evidence = merged.setdefault((note.id, note.message, note.remedy), [])
                if note.evidence not in evidence:
                    evidence.append(note.evidence)
    return tuple(
        Note(note_id, message, units.listing(evidence, _SHOWN, "; "), remedy)
        for (note_id, message, remedy), evidence in merged.items()
    )


def fastest_rows(rows: Rows) -> list[Row]:
    """Return the row with the highest throughput of each configuration."""
    fastest = map(find_highest_throughput, measured_rows(real_rows(rows)).groups())
    return [row for row in fastest if row is not None]


def _int8_gain(row: Row, context: Context) -> Iterator[Note]:
    """INT8 gains little because its baseline already runs in bf16 or f16.

    Little: less than half of the speed-up over f32, on a logarithmic scale.
    """
    base = context.baseline(row)
    over_f32, over_default = get_figure(row, "speedup_f32_x"), get_figure(row, "speedup_default_x")
    if base is None or base == row or (row["flops_i8_pct"] or 0.0) < _MOST_PCT:
        return
    precision = base["executed_precision"]
    gains = _faster(over_f32)
    if precision in ("bf16", "f16") and gains and over_default.value < math.sqrt(over_f32.value):
        yield make_note(
            "int8-baseline-reduced",
            f"{context.label(row)}: {ratio_text(over_f32)} against f32,"
            f" {ratio_text(over_default)} against the default ({precision})",
        )


def _precision_fallback(row: Row, context: Context) -> Iterator[Note]:
    """Some layers run in a wider precision than the rest of the model."""
    notes = context.table.details_of(row).notes
    layers = [note.evidence for note in notes if note.id == "int8-fallback"]
    if (row["flops_i8_pct"] or 0.0) > 100 - _SOME_PCT:
        layers = []  # too few FLOPs to matter
    f32 = row["flops_f32_pct"] or 0.0
    narrow = sum(row[name] or 0.0 for name in _EXECUTED[:-1])
    in_f32 = row["precision"] != "f32" and f32 >= _SOME_PCT and narrow >= _SOME_PCT
    if not (in_f32 or layers):
        return
    shares = {name.split("_")[1]: row[name] / 100 for name in _EXECUTED if row[name]}
    flops = [f"FLOPs in {units.percentages(shares)}"] if shares else []
    yield make_note(
        f"fallback-{'f32' if in_f32 else 'float'}",
        f"{context.label(row)}: {'; '.join([*flops, *layers])}",
    )


def _memory_bound(row: Row, context: Context) -> Iterator[Note]:
    """Memory limits the speed: fewer bytes are faster, or a roofline shows it."""
    for evidence in _fewer_bytes_faster(row, context):
        yield make_note("memory-bound", evidence)
    roofline = context.with_roofline(row)
    if roofline is not None and roofline["memory_bound_pct"] > _MOST_PCT:
        yield make_note(
            "memory-bound-roofline",
            f"{context.label(roofline)}: {figure_text(roofline, 'memory_bound_pct')} of the"
            f" expected time in memory-bound layers; limit {figure_text(roofline, 'limit_ms')}"
            f" (calculated), p50 {figure_text(roofline, 'latency_p50_ms')} (measured)",
        )


def _fewer_bytes_faster(row: Row, context: Context) -> Iterator[str]:
    """Yield variants that are smaller and faster than the baseline, with the same arithmetic."""
    base = context.baseline(row)
    if base is None:
        return
    for other in context.comparable(row) if base == row else [row]:
        if other == base or context.baseline(other) != base or other["precision"] != "default":
            continue
        size, base_size = other["model_mib"], base["model_mib"]
        ratio = get_figure(other, "speedup_default_x")
        smaller = None not in (size, base_size) and size < base_size
        if smaller and _same_arithmetic(other, base) and _faster(ratio):
            yield (
                f"{context.label(other)}: {ratio_text(ratio)} than {base['variant']},"
                f" {units.text(size)} against {units.text(base_size)} MiB, both in"
                f" {base['executed_precision']}"
            )


def _same_arithmetic(row: Row, base: Row) -> bool:
    """Whether two rows have the same FLOPs in the same precisions, within 1%."""
    pairs = [(row[name], base[name]) for name in ("gflops", *_EXECUTED)]
    if any(None in pair for pair in pairs):
        return False
    (gflops, base_gflops), *shares = pairs
    same_flops = abs(gflops - base_gflops) <= 0.01 * base_gflops
    return bool(same_flops and all(abs(a - b) < 1.0 for a, b in shares))


def _faster(ratio: Interval) -> bool:
    return ratio.value > 1 and ratio.excludes(1.0)


def _beyond_knee(row: Row, context: Context) -> Iterator[Note]:
    """The batch is the knee or beyond it: the cost of the next batch."""
    curve = context.knees.of(row)
    if curve is None or row["rate_rps"] is not None or row["batch"] < curve.row["batch"]:
        return
    larger = row if row["batch"] > curve.row["batch"] else curve.next_row
    if larger is None:
        return
    gain, cost = throughput_and_latency(larger, curve.row)
    if not _faster(ratio_unpaired(cost, gain)):
        return  # no significant difference between gain and cost
    significance = "" if gain.excludes(1.0) else " (no significant difference)"
    yield make_note(
        "knee",
        f"{curve.label}: batch {larger['batch']} has {_change(gain.value)} throughput{significance}"
        f" and {_change(cost.value)} p50 latency than batch {curve.row['batch']}",
    )


def _change(ratio: float) -> str:
    return f"{units.text(100 * abs(ratio - 1), 2)}% {'more' if ratio >= 1 else 'less'}"


def _not_stable(row: Row, context: Context) -> Iterator[Note]:
    """The measurement was disturbed or did not stabilize."""
    verdict = row["verdict"]
    if verdict not in _VERDICTS:
        return
    column = _VERDICTS[verdict]
    evidence = f"{context.label(row)}: {figure_text(row, 'throughput_fps')}"
    if row[column] is not None:
        evidence += f", {column_label(column)} {figure_text(row, column)}"
    if verdict == "contended" and _differs_on_idle_cores(row):
        estimate = units.text(row["throughput_uncontended_fps"])
        evidence += f"; ESTIMATE on idle cores {estimate} samples/s"
    yield make_note(f"measured-{verdict}", evidence)


def _differs_on_idle_cores(row: Row) -> bool:
    """Whether the estimate on idle cores differs significantly; without intervals, by 1%."""
    if row["throughput_uncontended_fps"] is None or row["throughput_fps"] is None:
        return False
    names = ("throughput_uncontended_fps", "throughput_fps")
    ratio = ratio_unpaired(*(get_figure(row, name) for name in names))
    return ratio.excludes(1.0) if ratio.known else abs(ratio.value - 1) >= _SAME_RATE


def _sparse_not_faster(row: Row, context: Context) -> Iterator[Note]:
    """Many weights are zero, without a speed-up."""
    base = context.baseline(row)
    ratio, nonzero_pct = get_figure(row, "speedup_default_x"), row["nonzero_pct"]
    if base is None or base == row or nonzero_pct is None or nonzero_pct > _SPARSE_PCT:
        return
    dense_pct = base["nonzero_pct"]
    if dense_pct is None or nonzero_pct >= dense_pct or not ratio.known or _faster(ratio):
        return
    yield make_note(
        "sparse-not-faster",
        f"{context.label(row)}: {units.text(nonzero_pct)}% of the weights are not zero,"
        f" {ratio_text(ratio)} against the uncompressed model",
    )


def _device_fallback(row: Row, context: Context) -> Iterator[Note]:
    """A virtual device ran on other devices than its name suggests."""
    device, ran_on = row["device"], row["ran_on"]
    absent = find_idle_members(device, ran_on.split(", ")) if ran_on and is_virtual(device) else []
    if absent:
        evidence = f"{device} ran on {ran_on}, not on {' or '.join(absent)}"
        yield make_note("device-fallback", f"{context.label(row)}: {evidence}")


def _wide_quality(row: Row, context: Context) -> Iterator[Note]:
    """The interval of the quality is wide: how many samples are enough."""
    column = context.table.quality_metric
    if column is None or row[column] is None:
        return
    if BY_NAME[column].better == "lower" or column == "custom_metric":
        return  # no share: its unit is the user's
    quality, samples, limit = get_figure(row, column), row["quality_samples"], context.min_quality
    wide = (quality.high - quality.low) / 2 > WIDE_QUALITY
    needed = []
    if limit is not None and quality.known and quality.low < limit < quality.high:
        needed.append(_enough_samples(column, quality, samples, limit))
    if wide:
        needed.append(_enough_samples(column, quality, samples, None))
    if not needed:
        return
    figure = quality_text(row, column)
    evidence = ", ".join(filter(None, needed))
    yield make_note(
        "quality-interval-wide", f"{row['variant']}: {'; '.join(filter(None, [figure, evidence]))}"
    )


def quality_text(row: Row, metric: str) -> str:
    """Return the quality of a row with its interval and number of samples."""
    return f"{column_label(metric)} {figure_text(row, metric)}{quality_size_text(row)}"


def _enough_samples(
    column: str, quality: Interval, samples: float | None, limit: float | None
) -> str:
    """Return the number of samples that separates a quality from a limit, or narrows its interval.

    By Wilson's interval for proportions, else by the width of the interval itself.
    """
    purpose = f"for the limit {limit:g}" if limit is not None else f"for ±{WIDE_QUALITY:g}"
    if column in _PROPORTIONS:
        if limit is None:
            needed: int | None = samples_for_half_width(quality.value, WIDE_QUALITY)
        else:
            needed = samples_to_distinguish(quality.value, limit)
    else:
        low_side = limit is not None and limit <= quality.value
        half = quality.value - quality.low if low_side else quality.high - quality.value
        target = WIDE_QUALITY if limit is None else abs(limit - quality.value)
        needed = math.ceil(samples * (half / target) ** 2) if samples and target else None
    return f"about {needed} samples {purpose}" if needed else ""


Rule = Callable[[Row, Context], Iterator[Note]]
RULES: tuple[Rule, ...] = (
    _int8_gain,
    _precision_fallback,
    _memory_bound,
    _beyond_knee,
    _not_stable,
    _sparse_not_faster,
    _device_fallback,
    _wide_quality,
)
