"""The knee of a batch curve: the batch beyond which latency costs more than throughput gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ovtool.core.statistics import Interval, ratio_unpaired
from ovtool.results.rows import CONFIG, Config, Row, Rows, get_figure, measured_rows, real_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENCY = "latency_p50_ms"
_CURVE = (*CONFIG, "load")
"""Columns in which the rows of a batch curve are the same."""


@dataclass(frozen=True, slots=True)
class Knee:
    """The knee of the rows that differ in nothing but the batch.

    Args:
        label: Variant, device and load of the curve.
        row: The row of the knee.
        next_row: That of the next larger batch; None where there is none: the curve may bend
            beyond what was measured.
        gain: Throughput at that batch / at the knee.
        cost: p50 latency of a request at that batch / at the knee.
        batches: All that were measured, the smallest first.
    """

    label: str
    row: Row
    next_row: Row | None
    gain: Interval | None
    cost: Interval | None
    batches: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
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


def knee(throughputs: Sequence[float], latencies: Sequence[float]) -> int:
    """Return the index of the knee: the point of the most power, throughput / latency.

    Up to it every share of throughput that is gained costs a smaller share of latency, beyond it a
    larger one (Giessler et al. 1978; Kleinrock 1979, "Power and deterministic rules of thumb for
    probabilistic problems in computer communications").  Neither units nor how far beyond the knee
    was measured move it, as they move the chord that Kneedle (Satopaa et al. 2011) compares with.
    Of equal ones the first is taken.

    Args:
        throughputs: Above 0, in the order of the batches.
        latencies: Above 0, of the same batches.

    Raises:
        ValueError: The two differ in length, are empty, or hold a figure that is not above 0.
    """
    if len(throughputs) != len(latencies) or not throughputs:
        raise ValueError(f"{len(throughputs)} throughputs against {len(latencies)} latencies")
    if any(not v > 0 for v in (*throughputs, *latencies)):
        raise ValueError("a knee needs figures above 0")
    powers = [t / latency for t, latency in zip(throughputs, latencies, strict=True)]
    return powers.index(max(powers))


class Knees(Sequence[Knee]):
    """The knee of every batch curve of at least two batches, in the order of the table.

    Rows whose requests arrived on their own are left out: their throughput is that of arrivals.
    A knee is looked for when it is asked for: there may be tens of thousands of curves.

    Args:
        rows: Of a table.
        labels: Names of their configurations.
    """

    def __init__(self, rows: Rows, labels: Mapping[Config, str]) -> None:
        self._labels = labels
        fine = measured_rows(real_rows(rows))
        positive = [fine.numbers(name) > 0 for name in ("throughput_fps", LATENCY)]
        fine = fine.take(positive[0] & positive[1] & ~fine.known("rate_rps"))
        self._rows = fine
        kinds, batches = fine.group_codes(_CURVE), fine.numbers("batch")
        order = np.lexsort((batches, kinds))  # stable: of rows of the same batch the last counts
        kinds, batches = kinds[order], batches[order]
        last = np.append((np.diff(kinds) != 0) | (np.diff(batches) != 0), True)[: order.size]
        order, kinds = order[last], kinds[last]
        starts = np.flatnonzero(np.diff(kinds, prepend=-1))
        sizes = np.diff(starts, append=order.size)
        first = np.minimum.reduceat(order, starts) if order.size else starts
        curves = [n for n in np.argsort(first).tolist() if sizes[n] > 1]
        self._curves = [order[starts[n] : starts[n] + sizes[n]] for n in curves]
        self._number = {int(kinds[starts[n]]): place for place, n in enumerate(curves)}

    def __len__(self) -> int:
        """Return how many curves there are."""
        return len(self._curves)

    @overload
    def __getitem__(self, index: int) -> Knee: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Knee]: ...
    def __getitem__(self, index: int | slice) -> Knee | Sequence[Knee]:
        """Return the knee of one curve, or of some."""
        if isinstance(index, slice):
            return [self._knee(self._rows.take(curve)) for curve in self._curves[index]]
        return self._knee(self._rows.take(self._curves[index]))

    def of(self, row: Row) -> Knee | None:
        """Return the knee of the curve that a row is on; None where it is on none."""
        number = self._number.get(int(Rows.from_row(row).group_codes(_CURVE)[0]))
        return None if number is None else self[number]

    def _knee(self, rows: Rows) -> Knee:
        place = knee(rows.numbers("throughput_fps").tolist(), rows.numbers(LATENCY).tolist())
        row, beyond = rows[place], rows[place + 1] if place + 1 < len(rows) else None
        gain, cost = (None, None) if beyond is None else against(beyond, row)
        label = f"{self._labels[Config.from_row(row)]}, {row['load']}"
        return Knee(label, row, beyond, gain, cost, tuple(r["batch"] for r in rows))


def against(row: Row, other: Row) -> tuple[Interval, Interval]:
    """Return throughput and p50 latency of a row over those of another."""
    gain, cost = (
        ratio_unpaired(get_figure(row, name), get_figure(other, name))
        for name in ("throughput_fps", LATENCY)
    )
    return gain, cost
