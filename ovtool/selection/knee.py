"""The knee of a batch curve: the batch beyond which latency grows faster than throughput."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ovtool.core.statistics import Interval, ratio_unpaired
from ovtool.results.rows import (
    CONFIG,
    Config,
    Row,
    Rows,
    get_figure,
    measured_rows,
    real_rows,
    text_rows,
)
from ovtool.selection.candidates import TIE_PCT

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENCY = "latency_p50_ms"
_CURVE = (*CONFIG, "load")
"""Columns that are equal in all rows of a batch curve."""


@dataclass(frozen=True, slots=True)
class Knee:
    """The knee of the rows that differ only in the batch.

    Args:
        label: Variant, device and load of the curve.
        row: The row of the knee.
        next_row: The row of the next larger batch; None if the knee is the largest batch: the
            curve may bend beyond it.
        gain: Throughput at the next batch / at the knee.
        cost: p50 latency of a request at the next batch / at the knee.
        batches: All measured batches, the smallest first.
    """

    label: str
    row: Row
    next_row: Row | None
    gain: Interval | None
    cost: Interval | None
    batches: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the knee as JSON types."""
        return {
            "label": self.label,
            "batch": self.row["batch"],
            "next_batch": self.next_row["batch"] if self.next_row else None,
            "throughput_ratio": asdict(self.gain) if self.gain else None,
            "latency_ratio": asdict(self.cost) if self.cost else None,
            "batches": list(self.batches),
            "environment": self.row["environment"],
            "trial": self.row["trial"],
        }


def find_knee(throughputs: Sequence[float], latencies: Sequence[float]) -> int:
    """Return the index of the knee: the point of maximum power, throughput / latency.

    Up to the knee, a relative gain of throughput costs a smaller relative gain of latency; beyond
    it, a larger one (Giessler et al. 1978; Kleinrock 1979, "Power and deterministic rules of thumb
    for probabilistic problems in computer communications").  Neither the units nor the range of
    batches moves the knee, unlike the chord of Kneedle (Satopaa et al. 2011).  The first of equal
    points counts.

    Raises:
        ValueError: The lengths differ, there are no values, or a value is not positive.
    """
    if len(throughputs) != len(latencies) or not throughputs:
        raise ValueError(f"{len(throughputs)} throughputs, {len(latencies)} latencies")
    if any(not v > 0 for v in (*throughputs, *latencies)):
        raise ValueError("throughputs and latencies must be positive")
    powers = [t / latency for t, latency in zip(throughputs, latencies, strict=True)]
    return powers.index(max(powers))


class Knees(Sequence[Knee]):
    """The knee of every batch curve with at least two batches, in the order of the table.

    Of batches without a significant difference in power, the smallest is the knee.  Open-loop rows
    are left out: their throughput is the arrival rate.  So are those of text generators, whose
    requests are not batched by the user.  A knee is computed on
    access, since there may be tens of thousands of curves.
    """

    def __init__(self, rows: Rows, labels: Mapping[Config, str]) -> None:
        self._labels = labels
        measured = measured_rows(real_rows(rows))
        positive = [measured.numbers(name) > 0 for name in ("throughput_fps", LATENCY)]
        curved = ~measured.known("rate_rps") & ~text_rows(measured)
        self._rows = measured.take(positive[0] & positive[1] & curved)
        codes, batches = self._rows.group_codes(_CURVE), self._rows.numbers("batch")
        order = np.lexsort((batches, codes))  # stable: the last row of equal batches counts
        codes, batches = codes[order], batches[order]
        last = np.append((np.diff(codes) != 0) | (np.diff(batches) != 0), True)[: order.size]
        order, codes = order[last], codes[last]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        sizes = np.diff(starts, append=order.size)
        first = np.minimum.reduceat(order, starts) if order.size else starts
        curves = [n for n in np.argsort(first).tolist() if sizes[n] > 1]
        self._curves = [order[starts[n] : starts[n] + sizes[n]] for n in curves]
        self._positions = {int(codes[starts[n]]): position for position, n in enumerate(curves)}

    def __len__(self) -> int:
        """Return the number of curves."""
        return len(self._curves)

    @overload
    def __getitem__(self, index: int) -> Knee: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Knee]: ...
    def __getitem__(self, index: int | slice) -> Knee | Sequence[Knee]:
        """Return the knee of one or several curves."""
        if isinstance(index, slice):
            return [self._knee(self._rows.take(curve)) for curve in self._curves[index]]
        return self._knee(self._rows.take(self._curves[index]))

    def of(self, row: Row) -> Knee | None:
        """Return the knee of a row's curve; None if the row is on no curve."""
        position = self._positions.get(int(Rows.from_row(row).group_codes(_CURVE)[0]))
        return None if position is None else self[position]

    def _knee(self, rows: Rows) -> Knee:
        peak = find_knee(rows.numbers("throughput_fps").tolist(), rows.numbers(LATENCY).tolist())
        index = next(i for i in range(peak + 1) if i == peak or _same_power(rows[i], rows[peak]))
        row, next_row = rows[index], rows[index + 1] if index + 1 < len(rows) else None
        gain, cost = (None, None) if next_row is None else throughput_and_latency(next_row, row)
        label = f"{self._labels[Config.from_row(row)]}, {row['load']}"
        return Knee(label, row, next_row, gain, cost, tuple(r["batch"] for r in rows))


def _same_power(row: Row, peak: Row) -> bool:
    """Whether the powers of two rows are close, without a significant difference."""
    power = ratio_unpaired(*throughput_and_latency(row, peak))
    close = abs(math.log(power.value)) <= math.log1p(TIE_PCT / 100)
    return close and power.known and not power.excludes(1.0)


def throughput_and_latency(row: Row, base: Row) -> tuple[Interval, Interval]:
    """Return the ratios of throughput and p50 latency of a row to those of another row."""
    gain, cost = (
        ratio_unpaired(get_figure(row, name), get_figure(base, name))
        for name in ("throughput_fps", LATENCY)
    )
    return gain, cost
