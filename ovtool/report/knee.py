"""The knee of a batch curve: the batch beyond which latency costs more than throughput gains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.report.rows import Config, Row, figure, measured, real
from ovtool.statistics import Interval, ratio_unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCY = "latency_p50_ms"


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


def knees(rows: Sequence[Row], labels: dict[Config, str]) -> tuple[Knee, ...]:
    """Return the knee of every batch curve of at least two batches, in the order of the table.

    Rows whose requests arrived on their own are left out: their throughput is that of arrivals.
    """
    curves: dict[tuple[Config, str], dict[int, Row]] = {}
    for row in measured(real(rows)):
        fine = all((row[name] or 0) > 0 for name in ("throughput_fps", LATENCY))
        if fine and row["rate_rps"] is None:
            curves.setdefault((Config.of(row), row["load"]), {})[row["batch"]] = row
    return tuple(
        _knee(f"{labels[config]}, {load}", [same[batch] for batch in sorted(same)])
        for (config, load), same in curves.items()
        if len(same) > 1
    )


def _knee(label: str, rows: list[Row]) -> Knee:
    place = knee([row["throughput_fps"] for row in rows], [row[LATENCY] for row in rows])
    row, beyond = rows[place], rows[place + 1] if place + 1 < len(rows) else None
    gain, cost = (None, None) if beyond is None else against(beyond, row)
    return Knee(label, row, beyond, gain, cost, tuple(r["batch"] for r in rows))


def against(row: Row, other: Row) -> tuple[Interval, Interval]:
    """Return throughput and p50 latency of a row over those of another."""
    gain, cost = (
        ratio_unpaired(figure(row, name), figure(other, name))
        for name in ("throughput_fps", LATENCY)
    )
    return gain, cost
