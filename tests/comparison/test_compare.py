"""Two sweeps side by side: matching, outcomes, and how often they are wrong."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.comparison.compare import compare, compare_sweeps
from ovtool.comparison.figures import COPY, FROM_CPU_TIME, NO_INTERVAL
from ovtool.comparison.markdown import to_markdown
from ovtool.comparison.noise import Noise, RepeatedFigure, measure_noise
from ovtool.comparison.quality import DIFFERENT_SAMPLES
from ovtool.comparison.text import headline
from ovtool.core import units
from ovtool.core.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.core.measurement import Window
from ovtool.results.sweep_data import read_sweep
from tests.helpers import sweeps

TRIALS = sweeps.trials(batches=(1, 4))
FLIPPED = {"better": "worse", "worse": "better"}


def at_speed(measurement, factor, **changes):
    """The same trial, faster by a factor."""
    figures = {
        name: value * factor
        if name.startswith("throughput")
        else value / factor
        if name.startswith("latency")
        else value
        for name, value in measurement.figures.items()
    }
    rounds = tuple(
        replace(
            one,
            windows=tuple(
                replace(w, seconds=w.seconds / factor, cpu_s=w.cpu_s / factor) for w in one.windows
            ),
        )
        for one in measurement.rounds
    )
    return replace(measurement, figures=figures, rounds=rounds, **changes)


def run(path, speed=lambda _: 1.0, trials=TRIALS, env="a", **changes):
    """A sweep of scripted speeds, read back."""
    made = [at_speed(sweeps.measure(t, env=env), speed(t), **changes) for t in trials]
    return read_sweep(sweeps.make(path, made, env=env))


def noisy(sweep, rng, sd, factor=1.0):
    """The same sweep at another time: each group of trials drifts, and each trial moves."""
    groups = {m.trial.group: rng.gauss(0, sd * 0.7) for m in sweep.measurements}
    return replace(
        sweep,
        measurements=tuple(
            at_speed(m, factor * math.exp(groups[m.trial.group] + rng.gauss(0, sd * 0.7)))
            for m in sweep.measurements
        ),
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return run(tmp_path_factory.mktemp("compare") / "a")


def outcomes(found):
    return {(c.label, c.column): c.outcome for c in found.changes}


def test_slower_variant_is_worse(tmp_path, base):
    def speed(trial):
        return 0.6 if trial.variant == sweeps.INT8.id else 1.0

    found = compare(base.path, run(tmp_path / "b", speed).path)
    slow = [c for c in found.changes if "int8 " in c.label]
    assert {c.outcome for c in slow} == {"worse"}
    assert {c.outcome for c in found.changes if c not in slow} <= {"same", "unknown"}
    assert found.changes[: len(slow)] == tuple(slow), "the worst comes first"
    throughput = next(c for c in slow if c.column == "throughput_fps")
    assert throughput.ratio.value == pytest.approx(0.6)
    assert throughput.ratio.low < 0.6 < throughput.ratio.high < 1
    assert throughput.loss_pct == pytest.approx(40)
    p50 = next(c for c in slow if c.column == "latency_p50_ms")
    assert p50.ratio.value == pytest.approx(1 / 0.6)
    assert p50.loss_pct == pytest.approx(100 / 0.6 - 100)
    assert len(found.regressions(5)) == len(slow)
    with pytest.raises(LimitNotMetError, match=rf"^{len(slow)} .* 5 %"):
        found.check(5)
    found.check(70)


def test_latency_is_compared_for_latency_loads_only(base):
    found = compare_sweeps(base, base)
    for one in found.changes:
        assert one.column == "throughput_fps" or " latency" in one.label
    assert {c.column for c in found.changes} == {
        "throughput_fps",
        "latency_p50_ms",
        "latency_p99_ms",
    }


def test_copy_is_the_same_with_a_remark(base):
    found = compare_sweeps(base, base)
    assert {c.ratio.value for c in found.changes} == {1.0}
    assert {c.p for c in found.changes} == {1.0}
    assert found.changes[0].remarks == (COPY,)


def test_open_loop_compares_latency_and_rate_search_compares_rate(tmp_path):
    trials = [
        replace(TRIALS[0], rate=50.0),
        replace(TRIALS[0], max_latency_ms=20.0, percentile=99),
    ]
    made = [sweeps.measure(t) for t in trials]
    found_rate = {"rate_rps": 90.0, "rate_rps_ci_low": 89.0, "rate_rps_ci_high": 91.0}
    made[1] = replace(made[1], figures={**made[1].figures, **found_rate})
    a = read_sweep(sweeps.make(tmp_path / "a", made))
    by_label = {}
    for one in compare_sweeps(a, a).changes:
        by_label.setdefault(one.label, []).append(one.column)
    assert sorted(by_label.values()) == [["latency_p50_ms", "latency_p99_ms"], ["rate_rps"]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 2.0), st.floats(0.0, 0.1))
def test_swapped_sweeps_have_opposite_outcomes(base, seed, factor, sd):
    rng = random.Random(seed)
    other = noisy(base, rng, sd, factor)
    there, back = compare_sweeps(base, other), compare_sweeps(other, base)
    assert {k: FLIPPED.get(v, v) for k, v in outcomes(there).items()} == outcomes(back)
    ratios = {(c.label, c.column): c.ratio for c in back.changes}
    for one in there.changes:
        opposite = ratios[one.label, one.column]
        assert one.ratio.value * opposite.value == pytest.approx(1)
        assert one.ratio.low * opposite.high == pytest.approx(1)
    assert there.detectable_pct == pytest.approx(back.detectable_pct)


@pytest.mark.slow
@pytest.mark.parametrize("sd_pct", [1.0, 3.0])
def test_rerun_is_rarely_a_regression(base, sd_pct):
    """Noise as large as allowed for: in 300 comparisons the level allows for 1.5."""
    rng = random.Random(0)
    noise = Noise(3.0)
    wrong = 0
    for _ in range(300):
        found = compare_sweeps(
            noisy(base, rng, sd_pct / 100), noisy(base, rng, sd_pct / 100), noise=noise
        )
        wrong += any(c.outcome == "worse" for c in found.changes)
    assert wrong <= 4


def test_loss_of_a_third_is_always_significant(base):
    rng = random.Random(1)
    for _ in range(100):
        found = compare_sweeps(noisy(base, rng, 0.03), noisy(base, rng, 0.03, 2 / 3))
        rates = [c.outcome for c in found.changes if c.column == "throughput_fps"]
        assert set(rates) == {"worse"}


def test_reruns_measure_the_noise_and_detect_smaller_losses(base):
    rng = random.Random(2)
    again = [noisy(base, rng, 0.004) for _ in range(3)]
    slower = noisy(base, rng, 0.004, 0.95)
    hidden = compare_sweeps(base, slower)
    assert not hidden.regressions(3)
    found = compare_sweeps(base, slower, reruns=again)
    rates = [c for c in found.changes if c.column == "throughput_fps"]
    assert {c.outcome for c in rates} == {"worse"}
    assert found.detectable_pct < hidden.detectable_pct / 2
    assert found.noise.reruns == 3
    assert "3 reruns" in found.noise.text
    wrong = sum(
        any(
            c.outcome == "worse"
            for c in compare_sweeps(base, noisy(base, rng, 0.004), reruns=again).changes
        )
        for _ in range(60)
    )
    assert wrong <= 3


@given(st.floats(0.001, 0.2), st.integers(2, 6), st.integers(0, 1000))
def test_measured_noise_is_the_spread_of_the_runs(sd, runs, seed):
    rng = random.Random(seed)
    repeated = [
        RepeatedFigure(
            "CPU", "throughput_fps", f"moment {i}", tuple(rng.gauss(5, sd) for _ in range(runs))
        )
        for i in range(200)
    ]
    (found,) = measure_noise(repeated).values()
    assert found.degrees == 200 * (runs - 1)
    assert found.sd == pytest.approx(sd, rel=0.3)


def test_trials_of_a_group_are_not_independent():
    logs = (1.0, 1.1)
    together = [RepeatedFigure("CPU", "throughput_fps", "one", logs)] * 10
    (found,) = measure_noise(together).values()
    assert found.degrees == 1


@pytest.mark.parametrize("verdict", ["contended", "throttled"])
def test_contended_throughput_is_compared_by_cpu_time(tmp_path, base, verdict):
    """Half the wall-clock rate for the same CPU time is no regression, half the threads is one."""

    def busy(m, threads=2.0):
        figures = {**m.figures, "throughput_fps": m.figures["throughput_fps"] / 2}
        return replace(m, verdict=verdict, figures=figures | {"threads": threads})

    busy_runs = [replace(m, figures={**m.figures, "threads": 2.0}) for m in base.measurements]
    a = replace(base, measurements=tuple(busy_runs))
    same = compare_sweeps(a, replace(base, measurements=tuple(busy(m) for m in busy_runs)))
    rates = [c for c in same.changes if c.column == "throughput_uncontended_fps"]
    assert len(rates) == len(TRIALS)
    assert not same.regressions(1)
    assert rates[0].remarks[0] == FROM_CPU_TIME
    latencies = [c for c in same.changes if c.column.startswith("latency")]
    assert {c.outcome for c in latencies} == {"unknown"}
    assert latencies[0].remarks[0].startswith(verdict)
    one = compare_sweeps(a, replace(base, measurements=tuple(busy(m, 1.0) for m in busy_runs)))
    rates = [c for c in one.changes if c.column == "throughput_uncontended_fps"]
    assert {c.outcome for c in rates} == {"worse"}
    assert "threads 2 in A, 1 in B" in rates[0].remarks


def test_contended_row_without_cpu_time_is_unknown(base):
    def blind(m):
        rounds = tuple(
            replace(r, windows=tuple(replace(w, cpu_s=None) for w in r.windows)) for r in m.rounds
        )
        return replace(m, rounds=rounds, verdict="contended")

    found = compare_sweeps(base, replace(base, measurements=tuple(map(blind, base.measurements))))
    assert {c.outcome for c in found.changes} == {"unknown"}


def test_drift_widens_the_interval(base):
    def moving(m):
        return at_speed(m, 0.8, verdict="unsteady") if m.status == "ok" else m

    def drifting(m):
        return replace(moving(m), figures={**moving(m).figures, "drift_pct": -20.0})

    steady = compare_sweeps(base, replace(base, measurements=tuple(map(moving, base.measurements))))
    assert steady.regressions(5)
    found = compare_sweeps(
        base, replace(base, measurements=tuple(map(drifting, base.measurements)))
    )
    assert not found.regressions(5)


def test_rebuilt_variant_is_matched_by_name(tmp_path, base):
    anew = replace(sweeps.INT8, mib=9.66)
    trials = [replace(t, variant="f00d") if t.variant == sweeps.INT8.id else t for t in TRIALS]
    made = [
        replace(sweeps.measure(old), trial=new) for old, new in zip(TRIALS, trials, strict=True)
    ]
    path = sweeps.make(tmp_path / "b", made)
    sweep = read_sweep(path)
    variants = dict(sweep.plan.variants)
    planned = variants.pop(sweeps.INT8.id)
    variants["f00d"] = planned.model_copy(update={"model_mib": anew.mib})
    sweep = replace(sweep, plan=sweep.plan.model_copy(update={"variants": variants}))
    found = compare_sweeps(base, sweep)
    assert not found.only_a
    assert not found.only_b
    (note,) = found.notes
    assert note.id == "matched-by-name"
    assert note.evidence == f"int8: {sweeps.INT8.id}, f00d"
    size = next(one for one in found.sizes if one.variant == "int8")
    assert size.change_pct == pytest.approx(100)


def test_renamed_variant_is_matched_by_files(base):
    renamed = [
        replace(m, trial=replace(m.trial, variant_name="small"))
        if m.trial.variant == sweeps.INT8.id
        else m
        for m in base.measurements
    ]
    found = compare_sweeps(base, replace(base, measurements=tuple(renamed)))
    assert not found.only_a
    assert any("(small in B)" in c.label for c in found.changes)


def test_unmatched_trials_and_failures_are_listed(tmp_path, base):
    first, second, third, *rest = TRIALS
    extra = replace(first, batch=64)
    made = [sweeps.failed(first, "out of memory"), sweeps.measure(second), sweeps.measure(third)]
    b = read_sweep(sweeps.make(tmp_path / "b", [*made, sweeps.measure(extra)]))
    found = compare_sweeps(base, b)
    assert [f.label for f in found.failures if f.new] == [first.label]
    assert set(found.only_a) == {t.label for t in rest}
    assert found.only_b == (extra.label,)
    with pytest.raises(LimitNotMetError, match=r"^1 .*out of memory"):
        found.check(5)
    fixed = compare_sweeps(b, base)
    assert fixed.failures[0].reason_a == "out of memory"
    fixed.check(5)


def test_emulated_rows_are_left_out_with_a_note(base):
    gpu = [
        replace(m, trial=replace(m.trial, device="GPU"), emulated=True) for m in base.measurements
    ]
    with_gpu = replace(base, measurements=(*base.measurements, *gpu))
    found = compare_sweeps(with_gpu, with_gpu)
    assert len({c.label for c in found.changes}) == len(TRIALS)
    assert [n.id for n in found.notes] == ["emulated-left-out"] * 2
    with pytest.raises(InputError, match=str(base.path)):
        compare_sweeps(replace(base, measurements=tuple(gpu)), with_gpu)


def test_other_machine_is_not_the_same_machine(tmp_path, base):
    b = run(tmp_path / "b", env="b")
    assert not compare_sweeps(base, b).same_machine


def with_quality(sweep, model, right, of=1000):
    done = sweeps.with_quality(sweep.measurements[0], replace(model, agreement=(right, of)))
    return replace(
        sweep,
        measurements=(done, *sweep.measurements[1:]),
        plan=sweep.plan.model_copy(
            update={"quality_metric": "agreement_top1", "evaluated_on": "photographs"}
        ),
    )


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [(990, 900, "worse"), (900, 990, "better"), (990, 985, "unknown"), (990, 990, "same")],
)
def test_quality_outcome_follows_the_interval(base, before, after, outcome):
    a, b = with_quality(base, sweeps.FP32, before), with_quality(base, sweeps.FP32, after)
    found = compare_sweeps(a, b)
    (one,) = found.quality
    assert one.outcome == outcome
    assert one.difference.value == pytest.approx((after - before) / 1000)
    assert bool(found.regressions(5)) == (outcome == "worse")
    (back,) = compare_sweeps(b, a).quality
    assert back.outcome == FLIPPED.get(outcome, outcome)


def test_quality_on_different_samples_is_unknown(base):
    a, b = with_quality(base, sweeps.FP32, 990), with_quality(base, sweeps.FP32, 500)
    b = replace(b, plan=b.plan.model_copy(update={"evaluated_on": "drawings"}))
    (one,) = compare_sweeps(a, b).quality
    assert (one.outcome, one.remark) == ("unknown", DIFFERENT_SAMPLES)


def test_no_trial_measured_in_both_is_an_error(tmp_path, base):
    b = read_sweep(sweeps.make(tmp_path / "b", [sweeps.failed(t, "boom") for t in TRIALS]))
    with pytest.raises(NothingMeasuredError, match=str(len(TRIALS))) as caught:
        compare_sweeps(base, b)
    assert "boom" in caught.value.hint


def test_same_folder_twice_is_an_error(base):
    with pytest.raises(InputError, match=str(base.path)):
        compare(base.path, base.path)
    with pytest.raises(InputError, match=str(base.path)):
        compare(base.path, base.path.parent / "." / base.path.name)


def test_figure_without_an_interval_is_unknown(base):
    bare = [
        replace(m, figures={k: v for k, v in m.figures.items() if "_ci_" not in k})
        for m in base.measurements
    ]
    found = compare_sweeps(base, replace(base, measurements=tuple(bare)))
    assert {c.outcome for c in found.changes} == {"unknown"}
    assert math.isnan(found.detectable_pct)
    assert found.changes[0].remarks[0] == NO_INTERVAL


def test_markdown_and_json_are_complete_and_escaped(tmp_path, base):
    hostile = "<b>|`evil`"

    def speed(trial):
        return 0.5 if trial.batch == 4 else 1.0

    b = run(tmp_path / "b", speed, env="b", finished="2026-02-01T00:00:00Z")
    b = replace(b, plan=b.plan.model_copy(update={"name": hostile}))
    found = compare_sweeps(base, b)
    written = to_markdown(found)
    assert "<b>" not in written
    assert "(cpu" in written.split("### Speed")[0]
    shown, folded = written.split("<details>")
    assert "worse" in shown
    assert "| worse" not in folded.split("</details>")[0]
    document = json.loads(json.dumps(units.finite(found.to_json()), allow_nan=False))
    assert document["same_machine"] is False
    assert {c["outcome"] for c in document["changes"]} == set(outcomes(found).values())
    assert headline(found).startswith("B (<b>")


def test_windows_without_cpu_time_are_unknown(base):
    """A disturbed row whose windows tell no CPU time at all is unknown, not an error."""
    empty = Window(0.1, 0, 0.0, 0.0, 0.0)
    rounds = tuple(replace(r, windows=(empty,)) for r in base.measurements[0].rounds)
    broken = replace(base.measurements[0], rounds=rounds, verdict="contended")
    found = compare_sweeps(base, replace(base, measurements=(broken, *base.measurements[1:])))
    mine = [c for c in found.changes if c.label == broken.label]
    assert {c.outcome for c in mine} == {"unknown"}
