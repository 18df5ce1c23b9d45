"""Speed-ups: one row's throughput over another's, as the two were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.statistics import Interval, ratio_by_round, ratio_unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.results import Measurement, Round

MIN_ROUNDS = 3
Method = Literal["rounds", "cpu_time", "unpaired"]


@dataclass(frozen=True, slots=True)
class Speedup:
    """A ratio of throughputs and how it was taken.

    ``rounds``: round by round from wall time; ``cpu_time``: round by round from CPU time, since
    others took the CPU; ``unpaired``: from two figures measured apart.
    """

    ratio: Interval
    method: Method


def speedup(row: Measurement, baseline: Measurement) -> Speedup:
    """Return the throughput of ``row`` over that of ``baseline``.

    Rounds pair up only where the two were measured in turn: elsewhere the same index is another
    moment.  Where either was measured on a contended CPU the rates are samples by CPU time, which
    neighbours disturb least.
    """
    if row.trial == baseline.trial:
        return Speedup(Interval(1.0, math.nan, math.nan), "rounds")
    if row.taken_with and row.taken_with == baseline.taken_with:
        contended = "contended" in (row.verdict, baseline.verdict)
        if contended and row.trial.device == baseline.trial.device == "CPU":
            ratio = _paired(row, baseline, by_cpu_time=True)
            if ratio is not None:
                return Speedup(ratio, "cpu_time")
        ratio = _paired(row, baseline, by_cpu_time=False)
        if ratio is not None:
            return Speedup(ratio, "rounds")
    return Speedup(ratio_unpaired(_throughput(row), _throughput(baseline)), "unpaired")


def _paired(row: Measurement, baseline: Measurement, by_cpu_time: bool) -> Interval | None:
    mine = _rates(row.rounds, row.trial.batch, by_cpu_time)
    theirs = _rates(baseline.rounds, baseline.trial.batch, by_cpu_time)
    common = sorted(mine.keys() & theirs.keys())
    if len(common) < MIN_ROUNDS:
        return None
    return ratio_by_round([mine[i] for i in common], [theirs[i] for i in common])


def _rates(rounds: Sequence[Round], batch: int, by_cpu_time: bool) -> dict[int, float]:
    """Return samples a second by index of the round, of rounds that completed any.

    By CPU time there are none at all unless every window tells it.
    """
    windows = [w for r in rounds for w in r.windows]
    if by_cpu_time and any(w.cpu_s is None for w in windows):
        return {}
    rates = {}
    for one in rounds:
        seconds = sum(w.cpu_s or 0.0 for w in one.windows) if by_cpu_time else one.seconds
        rate = one.inferences * batch / seconds if seconds > 0 else math.nan
        if math.isfinite(rate) and rate > 0:
            rates[one.index] = rate
    return rates


def _throughput(measurement: Measurement) -> Interval:
    def number(name: str) -> float:
        return float(measurement.figures.get(name, math.nan))

    return Interval(
        number("throughput_fps"),
        number("throughput_fps_ci_low"),
        number("throughput_fps_ci_high"),
    )
