"""Speed-ups: the throughput of a row over the throughput of its baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.core.statistics import Interval, ratio_by_round, ratio_unpaired, with_systematic_error
from ovtool.results.rows import Row, Rows, get_figure, get_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ovtool.core.measurement import Measurement

SPEEDUPS = {"f32": "speedup_f32_x", "default": "speedup_default_x"}
"""Columns of speed-ups by the precision of the baseline."""
MIN_ROUNDS = 3
CPU_TIME_DOUBT = 0.03
"""Error of a ratio by CPU time that its rounds do not show, as a share of the ratio.

Threads that wait for one another and caches that neighbors share change the CPU time of two
networks by different shares.  ``tests/benchmarks/test_repeatability.py`` measures this: over 8
sweeps next to neighbors on every core, the mean ratio was off by 0.1 to 3.3% in five cases.
"""
Method = Literal["rounds", "cpu_time", "unpaired"]
"""How a speed-up was computed.

``rounds``: round by round from wall time.  ``cpu_time``: round by round from CPU time, because
other processes took the CPU.  ``unpaired``: from two figures that were measured at different times.
"""


@dataclass(frozen=True, slots=True)
class Speedup:
    """A ratio of throughputs and the method that computed the ratio."""

    ratio: Interval
    method: Method


def compute_speedup(row: Measurement, baseline: Measurement) -> Speedup:
    """Return the throughput of a measurement over the throughput of its baseline.

    Rounds are paired only where the rounds of both alternated; otherwise the same index is another
    moment.  Disturbed windows are left out where enough windows were quiet.  On a contended or
    throttled CPU the rates come from CPU time, which neighbors and quotas disturb least.
    """
    if row.trial == baseline.trial or _same_configuration(row, baseline):
        return Speedup(Interval(1.0, math.nan, math.nan), "rounds")
    if row.group_id and row.group_id == baseline.group_id:
        disturbed = {row.verdict, baseline.verdict} & {"contended", "throttled"}
        if disturbed and row.on_cpu and baseline.on_cpu:
            ratio = _paired_ratio(row, baseline, by_cpu_time=True)
            if ratio is not None:
                return Speedup(with_systematic_error(ratio, CPU_TIME_DOUBT), "cpu_time")
        ratio = _paired_ratio(row, baseline, by_cpu_time=False)
        if ratio is not None:
            return Speedup(ratio, "rounds")
    return Speedup(ratio_unpaired(_throughput(row), _throughput(baseline)), "unpaired")


def _same_configuration(row: Measurement, baseline: Measurement) -> bool:
    """Whether a row is the baseline itself, measured with another request for its precision."""
    alike = (row.trial.variant, row.trial.group) == (baseline.trial.variant, baseline.trial.group)
    precisions = row.executed_precision, baseline.executed_precision
    return alike and None not in precisions and precisions[0] == precisions[1]


def find_speedups(row: Row) -> dict[str, Interval]:
    """Return the speed-ups of a row over the uncompressed model, by the model's precision.

    Both are one if the default precision is f32.  A baseline is not compared with itself.
    """
    names = {"speedup_f32_x": "f32", "speedup_default_x": "default precision"}
    ratios = {name: get_figure(row, column) for column, name in names.items()
              if row[column] is not None}  # fmt: skip
    if len(ratios) == 2 and len(set(ratios.values())) == 1:
        ratios = {"f32, its default precision": ratios["f32"]}
    return {name: ratio for name, ratio in ratios.items() if ratio.known or ratio.value != 1}


def add_speedups(frame: pd.DataFrame, measurements: Sequence[Measurement] | None = None) -> None:
    """Fill the speed-ups that are unknown and for which the frame holds the baseline.

    The frame has a unique index and the columns ``_group``, ``_baseline``, ``_open_loop`` and
    ``_method_PRECISION``.  Without measurements of its rows, speed-ups come from the figures alone.
    """
    import numpy as np

    for precision, name in SPEEDUPS.items():
        rows, baselines = _match_baselines(frame, precision)
        if measurements is None:
            figures = get_figures(Rows.from_frame(frame), "throughput_fps")
            ratios = figures.take(rows).over(figures.take(baselines))
            values = np.column_stack([ratios.value, ratios.low, ratios.high])
            methods = np.full(len(rows), "unpaired", dtype=object)
        else:
            speedups = [
                compute_speedup(measurements[row], measurements[baseline])
                for row, baseline in zip(rows, baselines, strict=True)
            ]
            intervals = [(s.ratio.value, s.ratio.low, s.ratio.high) for s in speedups]
            values = np.array(intervals, dtype=float).reshape(-1, 3)
            methods = np.array([s.method for s in speedups], dtype=object)
        values = np.where(np.isfinite(values), values, np.nan)
        known = ~np.isnan(values[:, 0])
        index = frame.index[rows[known]]
        frame.loc[index, [name, f"{name}_ci_low", f"{name}_ci_high"]] = values[known]
        frame.loc[index, f"_method_{precision}"] = methods[known]


def _match_baselines(
    frame: pd.DataFrame, precision: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of rows without a speed-up, and the positions of their baselines.

    Where the default precision of a device is f32, the row in default precision is the baseline in
    f32 too, unless f32 was measured on its own.
    Rows of a virtual device match only where both ran on the same device.  The throughput of open
    loops is the rate of arrivals, so open loops have no speed-up.
    """
    import numpy as np
    import pandas as pd

    key = ["environment", "_group", "_baseline"]
    columns = frame[[*key, "ran_on"]].assign(_position=np.arange(len(frame)))
    measured = frame["status"] == "ok"
    unknown = frame[SPEEDUPS[precision]].isna() & ~frame["_open_loop"]
    rows = columns[measured & unknown & frame["_baseline"].notna()]
    baselines = columns.assign(_baseline=frame["variant_id"])
    requested = baselines[measured & (frame["precision"] == precision)]
    by_default = (frame["precision"] == "default") & (frame["executed_precision"] == precision)
    baselines = pd.concat([requested, baselines[measured & by_default]])
    baselines = baselines.drop_duplicates([*key, "ran_on"], keep="first")
    pairs = rows.merge(baselines, on=key, suffixes=("", "_of_baseline"))
    ran_on, baseline_ran_on = pairs["ran_on"], pairs["ran_on_of_baseline"]
    pairs = pairs[ran_on.isna() | baseline_ran_on.isna() | (ran_on == baseline_ran_on)]
    return pairs["_position"].to_numpy(), pairs["_position_of_baseline"].to_numpy()


def _paired_ratio(row: Measurement, baseline: Measurement, *, by_cpu_time: bool) -> Interval | None:
    """Return the ratio over the common rounds; None where there are fewer than MIN_ROUNDS."""
    rates, baseline_rates = _rates(row, by_cpu_time), _rates(baseline, by_cpu_time)
    common = sorted(rates.keys() & baseline_rates.keys())
    if len(common) < MIN_ROUNDS:
        return None
    return ratio_by_round([rates[i] for i in common], [baseline_rates[i] for i in common])


def _rates(measurement: Measurement, by_cpu_time: bool) -> dict[int, float]:
    """Return samples per second by index of the round, of rounds that completed any.

    Rates by CPU time require the CPU time of every window.  Rates by wall time use the quiet
    windows of a round, unless too few windows of the trial were quiet.
    """
    if by_cpu_time and any(w.cpu_s is None for r in measurement.rounds for w in r.windows):
        return {}
    all_windows = by_cpu_time or measurement.verdict in {"contended", "throttled"}
    rates = {}
    for round_ in measurement.rounds:
        windows = round_.windows
        if round_.quiet is not None and not all_windows:
            windows = tuple(windows[i] for i in round_.quiet)
        seconds = sum((w.cpu_s or 0.0) if by_cpu_time else w.seconds for w in windows)
        inferences = sum(w.inferences for w in windows)
        rate = inferences * measurement.trial.batch / seconds if seconds > 0 else math.nan
        if math.isfinite(rate) and rate > 0:
            rates[round_.index] = rate
    return rates


def _throughput(measurement: Measurement) -> Interval:
    ends = ("throughput_fps", "throughput_fps_ci_low", "throughput_fps_ci_high")
    return Interval(*(float(measurement.figures.get(name, math.nan)) for name in ends))
