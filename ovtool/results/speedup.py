"""Speed-ups: one row's throughput over another's, as the two were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.core.statistics import Interval, ratio_by_round, ratio_unpaired, with_systematic_error

if TYPE_CHECKING:
    from ovtool.core.measurement import Measurement

MIN_ROUNDS = 3
CPU_TIME_DOUBT = 0.03
"""How far a ratio by CPU time may lie from that of a quiet machine whatever its rounds say.

Threads that wait for one another, and caches that neighbours share, move the CPU time of two
networks by unlike shares.  ``tests/benchmarks/test_repeatability.py`` shows it: over 8 sweeps
beside neighbours on every core the mean of the ratio was off by 0.1 to 3.3 % in five cases.
"""
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
    moment.  Windows that were disturbed are left out where enough were quiet; where they were not
    on a contended or throttled CPU, the rates are samples by CPU time, which neighbours and quotas
    disturb least.
    """
    if row.trial == baseline.trial:
        return Speedup(Interval(1.0, math.nan, math.nan), "rounds")
    if row.taken_with and row.taken_with == baseline.taken_with:
        disturbed = {row.verdict, baseline.verdict} & {"contended", "throttled"}
        if disturbed and row.on_cpu and baseline.on_cpu:
            ratio = _paired(row, baseline, by_cpu_time=True)
            if ratio is not None:
                return Speedup(with_systematic_error(ratio, CPU_TIME_DOUBT), "cpu_time")
        ratio = _paired(row, baseline, by_cpu_time=False)
        if ratio is not None:
            return Speedup(ratio, "rounds")
    return Speedup(ratio_unpaired(_throughput(row), _throughput(baseline)), "unpaired")


def _paired(row: Measurement, baseline: Measurement, by_cpu_time: bool) -> Interval | None:
    mine, theirs = _rates(row, by_cpu_time), _rates(baseline, by_cpu_time)
    common = sorted(mine.keys() & theirs.keys())
    if len(common) < MIN_ROUNDS:
        return None
    return ratio_by_round([mine[i] for i in common], [theirs[i] for i in common])


def _rates(of: Measurement, by_cpu_time: bool) -> dict[int, float]:
    """Return samples a second by index of the round, of rounds that completed any.

    By CPU time there are none at all unless every window tells it; by wall time a round counts
    with its quiet windows, unless too few of all were quiet to stand for the trial.
    """
    if by_cpu_time and any(w.cpu_s is None for r in of.rounds for w in r.windows):
        return {}
    all_windows = by_cpu_time or of.verdict in {"contended", "throttled"}
    rates = {}
    for one in of.rounds:
        windows = one.windows
        if one.quiet is not None and not all_windows:
            windows = tuple(one.windows[i] for i in one.quiet)
        seconds = sum((w.cpu_s or 0.0) if by_cpu_time else w.seconds for w in windows)
        inferences = sum(w.inferences for w in windows)
        rate = inferences * of.trial.batch / seconds if seconds > 0 else math.nan
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
