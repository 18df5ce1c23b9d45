import math
from dataclasses import replace

import psutil
import pytest

from ovtool.benchmark import engine
from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.notes import Note
from ovtool.core.sweep_spec import MeasurementSettings
from tests.benchmark.scripted import Watched, even, fails, jobs

CONVERGING = MeasurementSettings(rounds=8)


def measured(folder, runner, *names, settings=CONVERGING, **options):
    return measure_group(jobs(folder, *names), runner, settings, "env", **options)


def test_rounds_alternate_in_random_order(tmp_path):
    runner = Watched()
    rows = measured(tmp_path, runner, "a", "b", "c")
    order = runner.order()
    assert sorted(order) == list(range(8))
    assert all(sorted(names) == ["a", "b", "c"] for names in order.values())
    assert len({tuple(names) for names in order.values()}) > 1
    measured_names = [names for event, names in runner.events if isinstance(event, int)]
    assert measured_names == [name for index in range(8) for name in order[index]], (
        "round after round"
    )
    assert [row.trial.variant_name for row in rows] == ["a", "b", "c"]
    assert len({row.group_id for row in rows}) == 1
    assert rows[0].group_id
    assert [r.index for r in rows[0].rounds] == list(range(8))


@pytest.mark.slow
def test_order_depends_on_the_seed(tmp_path):
    def order(seed):
        runner = Watched()
        measured(tmp_path, runner, "a", "b", "c", settings=MeasurementSettings(seed=seed))
        return runner.order()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_measurement_has_the_figures_of_the_session(tmp_path):
    (row,) = measured(tmp_path, Watched(), "a")
    assert (row.status, row.verdict, row.environment) == ("ok", "stable", "env")
    assert row.executed_precision == "bf16"
    assert row.properties == {"A": "B"}
    assert row.figures["throughput_fps"] == pytest.approx(2 / 0.005, rel=0.02)
    assert row.figures["compile_cold_ms"] == 100
    assert row.figures["compile_cached_ms"] == 10
    assert row.figures["first_inference_ms"] == row.figures["first_inference_cached_ms"] == 5
    assert row.figures["blob_mib"] == 1
    assert row.finished.endswith("+00:00")


@pytest.mark.parametrize("at", [-1, 0, 3, 7])
def test_failed_trial_is_a_row_and_the_rest_goes_on(tmp_path, at):
    runner = Watched(fails("b", at))
    a, b, c = measured(tmp_path, runner, "a", "b", "c")
    assert (a.status, b.status, c.status) == ("ok", "failed", "ok")
    assert b.reason == "it died"
    assert (b.verdict, b.figures, b.rounds) == (None, {}, ())
    assert len(a.rounds) == len(c.rounds) == 8
    assert sorted(runner.of("close")) == sorted(runner.of("open"))
    assert runner.of("open").count("b") == (at >= 0)


def test_all_trials_fail(tmp_path):
    def script(trial, index):
        raise TrialFailedError(f"no {trial.variant_name}")

    rows = measured(tmp_path, Watched(script), "a", "b")
    assert [row.reason for row in rows] == ["no a", "no b"]


def test_measuring_stops_after_convergence(tmp_path):
    steady = MeasurementSettings(rounds=3, target_pct=2.0)
    (row,) = measured(tmp_path, Watched(noise_pct=0.1), "a", settings=steady)
    assert len(row.rounds) == 3


def test_single_narrow_interval_is_not_convergence(tmp_path):
    """The interval is narrow after two equal rounds, and wide again after the third."""

    def script(trial, index):
        return 5.0 if index != 2 else 6.0

    settings = MeasurementSettings(rounds=3, target_pct=2.0)
    (row,) = measured(tmp_path, Watched(script, noise_pct=0.1), "a", settings=settings)
    assert len(row.rounds) > 3


def drifting(trial, index):
    return 5.0 + (index % 4)


@pytest.mark.slow
def test_measuring_continues_until_convergence(tmp_path):
    unsure = MeasurementSettings(rounds=3, target_pct=4.0)
    (row,) = measured(tmp_path, Watched(drifting), "a", settings=unsure)
    assert len(row.rounds) > 20
    width = row.figures["throughput_fps_ci_high"] - row.figures["throughput_fps_ci_low"]
    assert 50 * width / row.figures["throughput_fps"] <= 4.0


@pytest.mark.slow
def test_converged_trial_leaves_the_rounds(tmp_path):
    def script(trial, index):
        return drifting(trial, index) if trial.variant_name == "b" else 5.0

    a, b = measured(
        tmp_path, Watched(script), "a", "b", settings=MeasurementSettings(target_pct=4.0)
    )
    assert len(a.rounds) == 8
    assert len(b.rounds) > 8


def clock(monkeypatch, seconds_a_round):
    """Give each round a length."""
    now = iter(range(10_000))
    monkeypatch.setattr(engine.time, "monotonic", lambda: next(now) * seconds_a_round)


@pytest.mark.parametrize(("max_s", "min_rounds", "rounds"), [(10, 2, 10), (1, 8, 3), (1, 2, 2)])
def test_measuring_stops_after_its_time(tmp_path, monkeypatch, max_s, min_rounds, rounds):
    """At least three rounds, where requested: ratios by round need them."""
    clock(monkeypatch, 1.0)
    values = {"max_seconds": max_s, "rounds": min_rounds, "target_pct": 0.01}
    settings = MeasurementSettings().model_copy(update=values)
    (row,) = measured(tmp_path, Watched(drifting), "a", settings=settings)
    assert len(row.rounds) == rounds
    assert row.verdict == "unsteady"


class Slow(Watched):
    """Each round is one inference, in one window; the first inference takes as long."""

    def open(self, job, cache=None, *, warm_up=True):
        session = super().open(job, cache, warm_up=warm_up)
        session.info = replace(session.info, first_inference_ms=4000.0)
        measure = session.measure

        def measure_once(*arguments):
            raw = measure(*arguments)
            window = replace(raw.windows[0], inferences=1, seconds=4.0)
            return replace(raw, windows=(window,), latencies_ms=((4000.0,),))

        session.measure = measure_once
        return session


@pytest.mark.parametrize(("max_s", "rounds"), [(3.0, 1), (4.0, 1), (7.0, 2), (10.0, 3)])
def test_inferences_longer_than_a_round_end_with_the_time(tmp_path, monkeypatch, max_s, rounds):
    """No round begins after the time, even if fewer than three are done."""
    clock(monkeypatch, 4.0)
    settings = MeasurementSettings(max_seconds=max_s)
    steps = []
    (row,) = measured(tmp_path, Slow(), "a", settings=settings, on_progress=steps.append)
    assert len(row.rounds) == rounds
    assert row.figures["latency_p50_ms"] == 4000
    assert row.figures["inferences"] == rounds
    assert (row.verdict == "unsteady") == (rounds == 1), "one round has no interval"
    ids = {note.id for note in row.notes}
    assert "slow-inference" in ids
    assert "few-inferences" not in ids
    (step,) = [step for step in steps if step.inference_s is not None]
    assert (step.inference_s, step.inferences) == (4.0, rounds + 1), "one from the cache"


def test_short_inferences_are_not_announced(tmp_path):
    steps = []
    (row,) = measured(tmp_path, Watched(), "a", on_progress=steps.append)
    assert all(step.inference_s is None for step in steps)
    assert "slow-inference" not in {note.id for note in row.notes}


@pytest.mark.parametrize("where", ["open", "measure", "evaluate", "progress"])
def test_every_session_is_closed_after_an_interrupt(tmp_path, where):
    def script(trial, index):
        if trial.variant_name == "b" and index == {"open": -1, "measure": 2}.get(where):
            raise KeyboardInterrupt
        return 5.0

    def evaluate(trial, session):
        if where == "evaluate":
            raise KeyboardInterrupt
        return {}, []

    def on_progress(step):
        if where == "progress" and step.stage == "round 1":
            raise KeyboardInterrupt

    runner = Watched(script)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, runner, "a", "b", evaluate=evaluate, on_progress=on_progress)
    assert runner.of("open")
    assert sorted(runner.of("close")) == sorted(runner.of("open"))


def test_quality_is_evaluated_after_the_rounds_in_the_same_session(tmp_path):
    runner = Watched()

    def evaluate(trial, session):
        runner.events.append(("evaluate", trial.variant_name))
        assert not session.closed
        return {"accuracy_top1": 0.75}, [Note("n", "of quality")]

    rows = measured(tmp_path, runner, "a", "b", evaluate=evaluate)
    kinds = [event for event, _ in runner.events]
    assert kinds.index("evaluate") > max(i for i, kind in enumerate(kinds) if kind == 7)
    assert kinds.index("close") > kinds.index("evaluate")
    assert all(row.figures["accuracy_top1"] == 0.75 for row in rows)
    assert all("n" in {note.id for note in row.notes} for row in rows)


def test_failed_evaluation_leaves_the_speed(tmp_path):
    def evaluate(trial, session):
        if trial.variant_name == "a":
            raise TrialFailedError("it died")
        return {}, []

    a, b = measured(tmp_path, Watched(), "a", "b", evaluate=evaluate)
    assert (a.status, b.status) == ("ok", "ok")
    assert a.figures["throughput_fps"] > 0
    assert [n.evidence for n in a.notes if n.id == "evaluation-failed"] == ["it died"]
    assert "evaluation-failed" not in {n.id for n in b.notes}


def test_with_little_memory_each_is_opened_from_its_cache_for_every_round(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 2**20}))
    runner = Watched()
    rows = measured(
        tmp_path, runner, "a", "b", settings=MeasurementSettings(rounds=9, starts=False)
    )
    assert [row.status for row in rows] == ["ok", "ok"]
    assert rows[0].group_id == rows[1].group_id
    assert [r.index for r in rows[0].rounds] == [r.index for r in rows[1].rounds] == [0, 1, 2]
    ready = 0
    for event, _ in runner.events:
        ready += (event in ("open", "reopen")) - (event == "close")
        assert ready <= 1, "one session at a time"
    assert sorted(runner.of("open")) == ["a", "b"]
    assert len(runner.of("reopen")) >= 3
    assert runner.events[-1][0] == "closed"
    seconds = [sum(w.seconds for w in r.windows) for r in rows[0].rounds]
    assert min(seconds) > 2 * MeasurementSettings().round_s, "fewer and longer rounds"


def test_session_that_cannot_be_reopened_is_a_failed_row(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 2**20}))
    opened = []

    def script(trial, index):
        if index == -1 and trial.variant_name == "a":
            opened.append(index)
            if len(opened) == 2:
                raise TrialFailedError("no memory")
        return 5.0

    a, b = measured(tmp_path, Watched(script), "a", "b", settings=MeasurementSettings(starts=False))
    assert (a.status, a.reason, b.status) == ("failed", "no memory", "ok")


def test_cached_starts_are_measured_after_the_rounds(tmp_path):
    runner = Watched()
    measured(tmp_path, runner, "a", "b")
    kinds = [event for event, _ in runner.events]
    assert runner.of("start") == ["a", "b"]
    assert kinds.index("start") > max(i for i, kind in enumerate(kinds) if kind == "close")
    assert runner.of("prepare") == [2, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loaded_from_cache": False}, "from its cache"),
        (None, "it died"),
    ],
)
def test_missing_cached_start_has_a_reason(tmp_path, change, reason):
    class Odd(Watched):
        def open(self, job, cache=None, *, warm_up=True):
            if change is None and not warm_up:
                raise TrialFailedError("it died")
            session = super().open(job, cache, warm_up=warm_up)
            if change and not warm_up:
                session.info = replace(session.info, **change)
            return session

    (row,) = measured(tmp_path, Odd(), "a")
    assert row.status == "ok"
    assert "compile_cached_ms" not in row.figures
    assert reason in {n.id: n.evidence for n in row.notes}["no-cached-start"]


def test_open_loop_is_measured_at_its_rate(tmp_path):
    """One server with 5 ms per request is half idle at 100 requests per second."""
    (row,) = measure_group(
        jobs(tmp_path, "a", rate=100.0), FakeRunner(even), MeasurementSettings(rounds=3), "env"
    )
    assert row.figures["rate_rps"] == 100
    assert row.figures["throughput_fps"] == pytest.approx(200, rel=0.2)
    assert row.figures["latency_p50_ms"] >= 5
    assert row.figures["latency_p99_ms"] > 10, "some have to queue"
    assert not {"throughput_uncontended_fps", "drift_pct"} & row.figures.keys()


@pytest.mark.slow
def test_highest_rate_under_a_limit(tmp_path):
    """An M/D/1 queue of 5 ms: the percentile meets the limit at the highest rate."""
    group = jobs(tmp_path, "a", max_latency_ms=20.0, percentile=90)
    steps = []
    (row,) = measure_group(
        group,
        FakeRunner(even),
        MeasurementSettings(max_seconds=60),
        "env",
        on_progress=steps.append,
    )
    assert row.status == "ok"
    low, high = row.figures["rate_rps_ci_low"], row.figures["rate_rps_ci_high"]
    assert row.figures["rate_rps"] == low
    assert 120 < low < high < 200
    assert row.figures["latency_p90_ms"] < 28
    assert [step for step in steps if step.stage.startswith("trying")]


@pytest.mark.parametrize(
    ("limit_ms", "percentile", "seconds_a_call", "status"),
    [(20.0, 90, 4.0, "ok"), (5.2, 99, 20.0, "failed")],
)
def test_the_search_of_a_rate_ends_with_its_time(
    tmp_path, monkeypatch, limit_ms, percentile, seconds_a_call, status
):
    clock(monkeypatch, seconds_a_call)
    group = jobs(tmp_path, "a", max_latency_ms=limit_ms, percentile=percentile)
    steps = []
    settings = MeasurementSettings(max_seconds=1.5, rounds=3)
    (row,) = measure_group(group, FakeRunner(even), settings, "env", on_progress=steps.append)
    assert row.status == status
    tried = [step for step in steps if step.stage.startswith("trying")]
    assert len(tried) == math.ceil(6 * 1.5 / seconds_a_call)
    if status == "ok":
        assert "rate-search-stopped" in {note.id for note in row.notes}
        assert row.figures["rate_rps_ci_high"] > 1.05 * row.figures["rate_rps_ci_low"]
    else:
        assert "--max-seconds" in row.reason


def test_limit_that_no_rate_meets_is_a_failed_row(tmp_path):
    group = jobs(tmp_path, "a", max_latency_ms=4.0, percentile=99)
    (row,) = measure_group(group, FakeRunner(even), CONVERGING, "env")
    assert row.status == "failed"
    assert "p99 <= 4 ms" in row.reason


def test_progress_is_reported_between_the_rounds(tmp_path):
    steps = []
    measured(tmp_path, Watched(), "a", on_progress=steps.append)
    rounds = [f"round {n}" for n in range(1, 9)]
    assert [step.stage for step in steps] == ["compiling", *rounds, "starting from the cache"]
    steps = steps[:-1]
    assert steps[0].throughput_fps is None
    assert steps[-1].half_width_pct < 2
    assert steps[-1].throughput_fps == pytest.approx(400, rel=0.02)


def test_empty_group(tmp_path):
    assert measured(tmp_path, Watched()) == []
