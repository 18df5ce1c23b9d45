"""Why rows are as fast, slow or uncertain as they are, as data: each with its evidence.

A rule looks at one row and what was measured beside it, and says nothing where the figures do not
show it.  Rows for which one rule says the same are put together in one note.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.device_names import is_virtual, not_behind
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import ratio_unpaired, samples_for_half_width, samples_to_distinguish
from ovtool.results.labels import column_label, figure_text, ratio_text, row_label
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
from ovtool.selection.knee import Knees, against

if TYPE_CHECKING:
    from ovtool.core.statistics import Interval
    from ovtool.results.table import ResultsTable

WIDE_QUALITY = 0.02
"""Half-width of a quality interval beyond which a loss that matters would go unseen."""
_SHARES = ("accuracy_top1", "accuracy_top5", "agreement_top1")
"""Columns that count samples, so that their intervals are Wilson's."""
_EXECUTED = ("flops_i8_pct", "flops_bf16_pct", "flops_f16_pct", "flops_f32_pct")
_SOME_PCT, _MOST_PCT = 5.0, 50.0
_SPARSE_PCT = 70.0
_BATCH = (*CONFIG, "batch")
_GROUP = ("environment", "device", "ran_on", "batch", "shape", "data_shape", "load")
"""Columns in which rows are the same that can be compared."""
_SHOWN = 3


@dataclass(frozen=True)
class Context:
    """What the rules know beside the row that they look at.

    Args:
        rows: All rows of the table.
        labels: Names of their configurations.
        table: Table of the rows.
        min_quality: The limit of quality, if one was set.
    """

    rows: Rows
    labels: Mapping[Config, str]
    table: ResultsTable
    min_quality: float | None = None
    knees: Knees = field(init=False)
    _fine: Rows = field(init=False)
    _beside: dict[int, Rows] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Find the batch curves."""
        fine = measured_rows(real_rows(self.rows))
        object.__setattr__(self, "_fine", fine)
        object.__setattr__(self, "knees", Knees(fine, self.labels))

    def beside(self, row: Row) -> Rows:
        """Return the rows of the same device, shapes, batch and load, its own too."""
        kind = int(Rows.from_row(row).group_codes(_GROUP)[0])
        if kind not in self._beside:
            self._beside[kind] = self._fine.take(self._fine.group_codes(_GROUP) == kind)
        return self._beside[kind]

    def alone(self, row: Row) -> Row | None:
        """Return the row of one request at a time of the same configuration and batch.

        That is what a roofline is calculated of; None where there is none.
        """
        same = self._fine.group_codes(_BATCH) == int(Rows.from_row(row).group_codes(_BATCH)[0])
        found = same & self._fine.known("memory_bound_pct")
        return self._fine[int(found.argmax())] if found.any() else None

    def baseline(self, row: Row) -> Row | None:
        """Return its uncompressed variant in the device's default precision, measured beside."""
        beside, wanted = self.beside(row), self.table.details_of(row).baseline
        same = beside.equal("variant_id", wanted) & beside.equal("precision", "default")
        return beside[int(same.argmax())] if wanted is not None and same.any() else None

    def label(self, row: Row) -> str:
        """Return the name of a row."""
        return row_label(row, self.labels)


def explain(rows: Sequence[Row], context: Context) -> tuple[Note, ...]:
    """Return what can be said of some rows, each thing once with the rows that it is about."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for rule in RULES:
            for note in rule(row, context):
                evidence = found.setdefault((note.id, note.message, note.remedy), [])
                if note.evidence not in evidence:
                    evidence.append(note.evidence)
    notes = []
    for (identifier, message, remedy), evidence in found.items():
        more = len(evidence) - _SHOWN
        told = "; ".join(evidence[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        notes.append(Note(identifier, message, told, remedy))
    return tuple(notes)


def fastest(rows: Rows) -> list[Row]:
    """Return the row of the most throughput of each configuration: what a report explains."""
    found = (find_highest_throughput(same) for same in measured_rows(real_rows(rows)).groups())
    return [row for row in found if row is not None]


def reduced_baseline(row: Row, context: Context) -> Iterator[Note]:
    """INT8 gained little since what it is compared with runs in bf16 or f16 already.

    Little: less than half of its gain over f32, on a logarithmic scale.
    """
    base = context.baseline(row)
    over_f32, over_default = get_figure(row, "speedup_f32_x"), get_figure(row, "speedup_default_x")
    if base is None or base == row or (row["flops_i8_pct"] or 0.0) < _MOST_PCT:
        return
    ran_in = base["executed_precision"]
    gained = over_f32.value > 1 and over_f32.excludes(1.0)
    if ran_in in ("bf16", "f16") and gained and over_default.value < math.sqrt(over_f32.value):
        yield make_note(
            "int8-baseline-reduced",
            f"{context.label(row)}: {ratio_text(over_f32)} against f32,"
            f" {ratio_text(over_default)} against the default ({ran_in})",
        )


def fell_back(row: Row, context: Context) -> Iterator[Note]:
    """Layers run in a wider precision than the rest of the model."""
    told = [n.evidence for n in context.table.details_of(row).notes if n.id == "int8-fallback"]
    if (row["flops_i8_pct"] or 0.0) > 100 - _SOME_PCT:
        told = []  # too little arithmetic to explain anything
    f32 = row["flops_f32_pct"] or 0.0
    narrow = sum(row[name] or 0.0 for name in _EXECUTED[:-1])
    wide = row["precision"] != "f32" and f32 >= _SOME_PCT and narrow >= _SOME_PCT
    if not (wide or told):
        return
    shares = {n.split("_")[1]: row[n] / 100 for n in _EXECUTED if row[n]}
    by_share = f"FLOPs in {units.percentages(shares)}" if shares else ""
    yield make_note(
        f"fallback-{'f32' if wide else 'float'}",
        f"{context.label(row)}: {'; '.join(part for part in (by_share, *told) if part)}",
    )


def memory_bound(row: Row, context: Context) -> Iterator[Note]:
    """Memory, not arithmetic, is the limit: shown by fewer bytes, or calculated by a roofline."""
    for evidence in _fewer_bytes_faster(row, context):
        yield make_note("memory-bound", evidence)
    alone = context.alone(row)
    if alone is not None and alone["memory_bound_pct"] > _MOST_PCT:
        yield make_note(
            "memory-bound-roofline",
            f"{context.label(alone)}: {figure_text(alone, 'memory_bound_pct')} of the expected time"
            f" in memory-bound layers; limit {figure_text(alone, 'limit_ms')} (calculated),"
            f" p50 {figure_text(alone, 'latency_p50_ms')} (measured)",
        )


def _fewer_bytes_faster(row: Row, context: Context) -> Iterator[str]:
    """Yield pairs of variants of the same arithmetic and precisions, the smaller one faster."""
    base = context.baseline(row)
    if base is None:
        return
    for other in context.beside(row) if base == row else [row]:
        if other == base or context.baseline(other) != base or other["precision"] != "default":
            continue
        alike = _same_arithmetic(other, base)
        sizes = [one["model_mib"] for one in (other, base)]
        ratio = get_figure(other, "speedup_default_x")
        if alike and None not in sizes and sizes[0] < sizes[1] and _faster(ratio):
            yield (
                f"{context.label(other)}: {ratio_text(ratio)} than {base['variant']},"
                f" {units.text(sizes[0])} against {units.text(sizes[1])} MiB, both in"
                f" {base['executed_precision']}"
            )


def _same_arithmetic(one: Row, other: Row) -> bool:
    """Whether two variants do as many FLOPs, and in the same precisions, to a per cent."""
    pairs = [(one[name], other[name]) for name in ("gflops", *_EXECUTED)]
    if any(None in pair for pair in pairs):
        return False
    (mine, theirs), *shares = pairs
    return abs(mine - theirs) <= 0.01 * theirs and all(abs(a - b) < 1.0 for a, b in shares)


def _faster(ratio: Interval) -> bool:
    return ratio.value > 1 and ratio.excludes(1.0)


def past_the_knee(row: Row, context: Context) -> Iterator[Note]:
    """A batch beyond the knee, or the knee itself and what the next batch would give."""
    curve = context.knees.of(row)
    if curve is None or row["rate_rps"] is not None or row["batch"] < curve.row["batch"]:
        return
    larger = row if row["batch"] > curve.row["batch"] else curve.next_row
    if larger is None:
        return
    gain, cost = against(larger, curve.row)
    dearer = ratio_unpaired(cost, gain)
    if not (dearer.value > 1 and dearer.excludes(1.0)):
        return  # which of the two is the larger share is within the noise
    sure = "" if gain.excludes(1.0) else " (no significant difference)"
    yield make_note(
        "knee",
        f"{curve.label}: batch {larger['batch']} has {_change(gain.value)} throughput{sure} and"
        f" {_change(cost.value)} p50 latency than batch {curve.row['batch']}",
    )


def _change(ratio: float) -> str:
    return f"{units.text(100 * abs(ratio - 1), 2)} % {'more' if ratio >= 1 else 'less'}"


def machine(row: Row, context: Context) -> Iterator[Note]:
    """The machine was not the model's alone, or did not run steadily."""
    verdict = row["verdict"]
    if verdict not in _VERDICTS:
        return
    column = _VERDICTS[verdict]
    taken = row[column]
    told = "" if taken is None else f", {column_label(column)} {figure_text(row, column)}"
    guess = row["throughput_uncontended_fps"] if verdict == "contended" else None
    alone = "" if guess is None else f"; ESTIMATE on idle cores {units.text(guess)} samples/s"
    yield make_note(
        f"measured-{verdict}",
        f"{context.label(row)}: {figure_text(row, 'throughput_fps')}{told}{alone}",
    )


_VERDICTS = {
    "contended": "others_cpu_pct",
    "throttled": "quota_wait_pct",
    "unsteady": "drift_pct",
}
"""Column that shows why a measurement is not stable."""


def sparse(row: Row, context: Context) -> Iterator[Note]:
    """Many zeros, and no speed from them."""
    base = context.baseline(row)
    ratio, share = get_figure(row, "speedup_default_x"), row["nonzero_pct"]
    if base is None or base == row or share is None or share > _SPARSE_PCT:
        return
    dense = base["nonzero_pct"]
    if dense is None or share >= dense or not ratio.known or _faster(ratio):
        return
    yield make_note(
        "sparse-not-faster",
        f"{context.label(row)}: {units.text(share)} % of the weights are not zero,"
        f" {ratio_text(ratio)} against the uncompressed model",
    )


def ran_elsewhere(row: Row, context: Context) -> Iterator[Note]:
    """A virtual device handed the work to another device than its name suggests."""
    device, ran_on = row["device"], row["ran_on"]
    absent = not_behind(device, ran_on.split(", ")) if ran_on and is_virtual(device) else []
    if absent:
        yield make_note(
            "device-fallback",
            f"{context.label(row)}: {device} ran on {ran_on}, not on {' or '.join(absent)}",
        )


def quality_open(row: Row, context: Context) -> Iterator[Note]:
    """The interval of the quality is too wide to tell, and how many samples would settle it."""
    column = context.table.quality_metric
    if column is None or row[column] is None:
        return
    mine, samples, limit = get_figure(row, column), row["quality_samples"], context.min_quality
    half = (mine.high - mine.low) / 2
    open_limit = limit is not None and mine.known and mine.low < limit < mine.high
    if not open_limit and not half > WIDE_QUALITY:
        return
    told = []
    if open_limit and limit is not None:
        told.append(_enough(column, mine, samples, limit, f"to tell it from the limit {limit:g}"))
    if half > WIDE_QUALITY:
        told.append(_enough(column, mine, samples, None, f"for an interval of ±{WIDE_QUALITY:g}"))
    on = f" on {samples:.0f} samples" if samples is not None else ""
    yield make_note(
        "quality-interval-wide",
        f"{row['variant']}: {column_label(column)} {figure_text(row, column)}{on};"
        f" {', '.join(part for part in told if part)}".rstrip("; "),
    )


def _enough(
    column: str, mine: Interval, samples: float | None, limit: float | None, what: str
) -> str:
    """Say how many samples are enough: by Wilson's score, else by the interval's own width."""
    if column in _SHARES:
        if limit is None:
            return f"about {samples_for_half_width(mine.value, WIDE_QUALITY)} samples {what}"
        needed = samples_to_distinguish(mine.value, limit)
        return f"about {needed} samples {what}" if needed else ""
    side = mine.high if limit is None or limit > mine.value else 2 * mine.value - mine.low
    distance = WIDE_QUALITY if limit is None else abs(limit - mine.value)
    if samples is None or not distance:
        return ""
    return f"about {math.ceil(samples * ((side - mine.value) / distance) ** 2)} samples {what}"


Rule = Callable[[Row, Context], Iterator[Note]]
RULES: tuple[Rule, ...] = (
    reduced_baseline,
    fell_back,
    memory_bound,
    past_the_knee,
    machine,
    sparse,
    ran_elsewhere,
    quality_open,
)
