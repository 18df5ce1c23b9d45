"""Figures of a trial in both sweeps: which are compared, and when they are unknown."""

import math
from dataclasses import replace

import pytest

from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.figures import COPY, FROM_CPU_TIME, NO_INTERVAL
from ovtool.core.measurement import Window
from ovtool.results.sweep_data import read_sweep
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import TRIALS, at_speed


def test_latency_is_compared_for_latency_loads_only(base):
    comparison = compare_sweeps(base, base)
    for change in comparison.changes:
        assert change.column == "throughput_fps" or " latency" in change.label
    assert {c.column for c in comparison.changes} == {
        "throughput_fps",
        "latency_p50_ms",
        "latency_p99_ms",
    }


def test_copy_is_the_same_with_a_remark(base):
    comparison = compare_sweeps(base, base)
    assert {c.ratio.value for c in comparison.changes} == {1.0}
    assert {c.p for c in comparison.changes} == {1.0}
    assert comparison.changes[0].remarks == (COPY,)


def test_open_loop_compares_latency_and_rate_search_compares_rate(tmp_path):
    trials = [replace(TRIALS[0], rate=50.0), replace(TRIALS[0], max_latency_ms=20.0, percentile=99)]
    made = [sweeps.measure(t) for t in trials]
    rate = {"rate_rps": 90.0, "rate_rps_ci_low": 89.0, "rate_rps_ci_high": 91.0}
    made[1] = replace(made[1], figures={**made[1].figures, **rate})
    a = read_sweep(sweeps.make(tmp_path / "a", made))
    by_label = {}
    for one in compare_sweeps(a, a).changes:
        by_label.setdefault(one.label, []).append(one.column)
    assert sorted(by_label.values()) == [["latency_p50_ms", "latency_p99_ms"], ["rate_rps"]]


def disturbed(sweep, factor=1.0, verdict="contended", threads=2.0):
    """The sweep beside others: observed speeds by a factor, the CPU time of a sample doubled."""

    def of(m):
        slower = at_speed(m, factor, verdict=verdict)
        rounds = tuple(
            replace(r, windows=tuple(replace(w, cpu_s=2 * w.seconds) for w in r.windows))
            for r in slower.rounds
        )
        return replace(slower, rounds=rounds, figures=slower.figures | {"threads": threads})

    return replace(sweep, measurements=tuple(map(of, sweep.measurements)))


@pytest.mark.parametrize("verdict", ["contended", "throttled"])
@pytest.mark.parametrize("threads", [2.0, 1.0])
def test_a_disturbed_loss_is_unknown_with_its_estimate(base, verdict, threads):
    """An estimate from CPU time never decides, even where the number of threads differs."""
    a = replace(
        base,
        measurements=tuple(
            replace(m, figures={**m.figures, "threads": 2.0}) for m in base.measurements
        ),
    )
    comparison = compare_sweeps(a, disturbed(a, 0.5, verdict, threads))
    assert {c.outcome for c in comparison.changes} == {"unknown"}
    assert all(math.isnan(c.p) and not c.ratio.known for c in comparison.changes)
    assert all(c.remarks[0].startswith(f"{verdict} in B") for c in comparison.changes)
    rates = [c for c in comparison.changes if c.column == "throughput_uncontended_fps"]
    assert len(rates) == len(TRIALS)
    assert all(FROM_CPU_TIME in c.remarks for c in rates)
    assert ("threads 2 in A, 1 in B" in rates[0].remarks) is (threads == 1)
    assert not comparison.regressions(0)
    assert len(comparison.undecided()) == len(comparison.changes)


def test_a_disturbance_cannot_hide_the_other_side(base):
    """Others never make a trial faster: a quiet B below a disturbed A has lost at least that."""
    worse = compare_sweeps(disturbed(base), at_speed_of(base, 0.6))
    assert {c.outcome for c in worse.changes if c.column != "latency_p99_ms"} == {"worse"}
    better = compare_sweeps(base, disturbed(base, 1.6))
    assert {c.outcome for c in better.changes if c.column != "latency_p99_ms"} == {"better"}
    both = compare_sweeps(disturbed(base), disturbed(base, 0.6))
    assert {c.outcome for c in both.changes} == {"unknown"}
    sides = {c.remarks[0].partition(":")[0] for c in both.changes}
    assert sides == {"contended in A and B"}


def test_a_disturbed_figure_is_never_the_same(base):
    comparison = compare_sweeps(disturbed(base), at_speed_of(base, 0.999), within_pct=50)
    assert {c.outcome for c in comparison.changes} == {"unknown"}


def test_disturbed_reruns_of_a_are_left_out(base):
    rerun = disturbed(base, 0.4)
    comparison = compare_sweeps(base, at_speed_of(base, 0.6), reruns=[rerun])
    rates = [c for c in comparison.changes if c.column == "throughput_fps"]
    assert {c.outcome for c in rates} == {"worse"}
    assert rates[0].ratio.value == pytest.approx(0.6)
    assert not comparison.noise.measured


def at_speed_of(sweep, factor):
    return replace(sweep, measurements=tuple(at_speed(m, factor) for m in sweep.measurements))


def test_contended_row_without_cpu_time_is_unknown(base):
    def blind(m):
        rounds = tuple(
            replace(r, windows=tuple(replace(w, cpu_s=None) for w in r.windows)) for r in m.rounds
        )
        return replace(m, rounds=rounds, verdict="contended")

    comparison = compare_sweeps(
        base, replace(base, measurements=tuple(map(blind, base.measurements)))
    )
    assert {c.outcome for c in comparison.changes} == {"unknown"}


def test_drift_widens_the_interval(base):
    def moving(m):
        return at_speed(m, 0.8, verdict="unsteady") if m.status == "ok" else m

    def drifting(m):
        return replace(moving(m), figures={**moving(m).figures, "drift_pct": -20.0})

    steady = compare_sweeps(base, replace(base, measurements=tuple(map(moving, base.measurements))))
    assert steady.regressions(5)
    comparison = compare_sweeps(
        base, replace(base, measurements=tuple(map(drifting, base.measurements)))
    )
    assert not comparison.regressions(5)


def test_figure_without_an_interval_is_unknown(base):
    bare = [
        replace(m, figures={k: v for k, v in m.figures.items() if "_ci_" not in k})
        for m in base.measurements
    ]
    comparison = compare_sweeps(base, replace(base, measurements=tuple(bare)))
    assert {c.outcome for c in comparison.changes} == {"unknown"}
    assert math.isnan(comparison.detectable_pct)
    assert comparison.changes[0].remarks[0] == NO_INTERVAL


def test_windows_without_cpu_time_are_unknown(base):
    """A disturbed row whose windows tell no CPU time at all is unknown, not an error."""
    empty = Window(0.1, 0, 0.0, 0.0, 0.0)
    rounds = tuple(replace(r, windows=(empty,)) for r in base.measurements[0].rounds)
    broken = replace(base.measurements[0], rounds=rounds, verdict="contended")
    comparison = compare_sweeps(base, replace(base, measurements=(broken, *base.measurements[1:])))
    mine = [c for c in comparison.changes if c.label == broken.label]
    assert {c.outcome for c in mine} == {"unknown"}
