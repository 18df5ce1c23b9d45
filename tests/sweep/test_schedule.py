"""Plans that run with scripted latencies."""

import multiprocessing
import re
import shutil
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from filelock import FileLock

from ovtool.benchmark import engine
from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import JOURNAL, Environment, SweepFolder, SweepPlan
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.core.trial import Trial
from ovtool.results.sweep_data import read_sweep
from ovtool.sweep.schedule import TrialCounts, falls_short, run_plan
from ovtool.system import environment
from tests.benchmark.scripted import fails

pytestmark = pytest.mark.usefixtures("local_workers")

HERE = Environment(id="here", machine="m", facts={"cpu": "a", "kernel": "6.1", "memory_gib": 8})


class Sweep:
    """A sweep folder whose plans run with scripted latencies."""

    def __init__(self, folder):
        self.folder, self.script = folder / "sweep", lambda *_: 5.0
        self.groups, self.events = [], []
        self.settings = MeasurementSettings(rounds=3, target_pct=50)
        (folder / "model.bin").write_bytes(b"weights")
        self._xml = folder / "model.xml"

    def run(self, trials, environment=HERE, **options):
        self.groups, self.events = [], []
        return run_plan(
            self.folder,
            SweepPlan(
                name="sweep",
                variants={},
                trials=tuple(trials),
                settings=self.settings.measurement_settings(),
            ),
            environment,
            self._measure,
            on_start=lambda resumption: self.events.append(len(resumption.reused)),
            on_finished=self._finished,
            **options,
        )

    def _measure(self, trials):
        self.groups.append([t.label for t in trials])
        shapes = [((t.batch, 3),) for t in trials]
        jobs = [Job(t, self._xml, ("x",), s, s, (0,)) for t, s in zip(trials, shapes, strict=True)]
        return measure_group(jobs, FakeRunner(self.script), self.settings, HERE.id)

    def _finished(self, measurement):
        assert measurement in list(SweepFolder(self.folder).measurements()), "on the disk first"
        self.events.append((measurement.trial.label, measurement.status))

    def rows(self):
        return list(SweepFolder(self.folder).measurements())


def trials(*batches, variants=("a", "b")):
    return [Trial(v * 12, v, "CPU", batch) for batch in batches for v in variants]


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


def test_a_plan_is_measured_group_by_group(sweep):
    plan = trials(1, 2)
    assert sweep.run(plan) == TrialCounts(measured=4, failed=0, reused=0)
    assert [len(group) for group in sweep.groups] == [2, 2]
    assert sweep.events[0] == 0
    assert sweep.events[1:] == [(t.label, "ok") for t in plan]
    assert [m.trial for m in sweep.rows()] == plan
    assert SweepFolder.open(sweep.folder).plan.trials == tuple(plan)
    assert SweepFolder.open(sweep.folder).environment == HERE


def test_a_finished_plan_measures_nothing(sweep):
    sweep.run(trials(1, 2))
    before = (sweep.folder / JOURNAL).read_bytes()
    assert sweep.run(trials(1, 2)) == TrialCounts(measured=0, failed=0, reused=4)
    assert sweep.groups == []
    assert sweep.events == [4]
    assert (sweep.folder / JOURNAL).read_bytes() == before


def test_a_stopped_plan_resumes_without_repeats(sweep):
    def stop_at_2(trial, index):
        if trial.batch == 2 and index == 1:
            raise KeyboardInterrupt
        return 5.0

    sweep.script = stop_at_2
    with pytest.raises(KeyboardInterrupt):
        sweep.run(trials(1, 2, 4))
    assert [m.trial.batch for m in sweep.rows()] == [1, 1], "a group is written in one piece"
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1, 2, 4)) == TrialCounts(measured=4, failed=0, reused=2)
    assert [m.trial for m in sweep.rows()] == trials(1, 2, 4)


def test_finished_trials_are_kept_for_a_stopped_command(sweep, monkeypatch):
    monkeypatch.setattr(files, "_kept", {})

    def stop_at_2(trial, index):
        if trial.batch == 2:
            raise KeyboardInterrupt
        return 5.0

    for plan, kept in ((trials(2), []), (trials(1, 2), ["2 of 4"]), (trials(1, 2), ["2 of 4"])):
        files._kept.clear()
        sweep.script = stop_at_2
        with pytest.raises(KeyboardInterrupt):
            sweep.run(plan)
        assert [text.partition(" trials")[0] for text in files.kept_results()] == kept


def test_a_torn_journal_is_repaired(sweep):
    sweep.run(trials(1, 2))
    journal = sweep.folder / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    assert sweep.run(trials(1, 2)) == TrialCounts(measured=1, failed=0, reused=3)
    assert [m.trial for m in sweep.rows()] == trials(1, 2)


def test_failed_trials_are_repeated_only_on_request(sweep):
    def fails(trial, index):
        if trial.variant_name == "b":
            raise TrialFailedError("no memory")
        return 5.0

    sweep.script = fails
    assert sweep.run(trials(1)) == TrialCounts(measured=1, failed=1, reused=0)
    assert sweep.run(trials(1)) == TrialCounts(measured=0, failed=0, reused=2)
    assert sweep.groups == []
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1), retry_failed=True) == TrialCounts(measured=1, failed=0, reused=1)
    assert [len(group) for group in sweep.groups] == [1]
    assert [(m.trial.variant_name, m.status) for m in sweep.rows()] == [
        ("a", "ok"),
        ("b", "failed"),
        ("b", "ok"),
    ]
    assert sweep.run(trials(1), retry_failed=True) == TrialCounts(measured=0, failed=0, reused=2)


def test_a_further_batch_is_added_to_the_journal(sweep):
    sweep.run(trials(1))
    assert sweep.run(trials(1, 8)) == TrialCounts(measured=2, failed=0, reused=2)
    assert [m.trial.batch for m in sweep.rows()] == [1, 1, 8, 8]
    assert SweepFolder.open(sweep.folder).plan.trials == tuple(trials(1, 8))


@pytest.mark.slow
def test_a_group_with_too_few_rounds_is_measured_again(sweep):
    sweep.run(trials(1, 2))
    sweep.settings = MeasurementSettings(rounds=8, target_pct=50)
    expected = TrialCounts(measured=6, failed=0, reused=0, repeated=4)
    assert sweep.run(trials(1, 2, 4)) == expected
    assert sweep.events[0] == 0
    latest = {m.trial: m for m in sweep.rows()}
    assert all(len(latest[t].rounds) >= 8 for t in trials(1, 2, 4))
    sweep.settings = MeasurementSettings(rounds=5, target_pct=50)
    assert sweep.run(trials(1, 2, 4)) == TrialCounts(measured=0, failed=0, reused=6)


@pytest.mark.slow
def test_a_clock_that_is_set_back_loses_and_reorders_nothing(sweep, monkeypatch):
    """Each time of day is a day before the one that was read before it."""
    now = [datetime(2026, 5, 1, tzinfo=UTC)]

    def earlier(*_):
        now[0] -= timedelta(days=1)
        return now[0]

    for module in (engine, environment):
        monkeypatch.setattr(module, "datetime", SimpleNamespace(now=earlier))
    monkeypatch.setattr(time, "time", lambda: earlier().timestamp())
    monkeypatch.setattr(time, "time_ns", lambda: int(earlier().timestamp() * 1e9))

    def stop_at_2(trial, _):
        if trial.batch == 2:
            raise KeyboardInterrupt
        return 5.0

    sweep.script = stop_at_2
    with pytest.raises(KeyboardInterrupt):
        sweep.run(trials(1, 2))
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1, 2)) == TrialCounts(measured=2, failed=0, reused=2)
    sweep.script, sweep.settings = lambda *_: 4.0, MeasurementSettings(rounds=8, target_pct=50)
    assert sweep.run(trials(1, 2)) == TrialCounts(measured=4, failed=0, reused=0, repeated=4)
    times = [m.finished for m in sweep.rows()]
    assert times == sorted(times, reverse=True)
    rows = read_sweep(sweep.folder).measurements
    assert [m.trial for m in rows] == trials(1, 2)
    # The last ones of the journal, not those with the latest time.
    assert [m.figures["latency_p50_ms"] for m in rows] == pytest.approx([4.0] * 4, rel=0.01)
    assert all(r.seconds > 0 for m in rows for r in m.rounds)


@pytest.mark.slow
def test_only_the_groups_that_fall_short_are_measured_again(sweep):
    """Batch 2 drifts, so its interval misses the smaller target; batch 1 is within it."""
    sweep.script = lambda trial, index: 5.0 + trial.batch // 2 * (index % 3)
    sweep.run(trials(1, 2))
    sweep.settings = MeasurementSettings(rounds=3, target_pct=5)
    assert sweep.run(trials(1, 2)) == TrialCounts(measured=2, failed=0, reused=2, repeated=2)
    assert {m.trial.batch for m in sweep.rows()[4:]} == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "short"),
    [
        ({}, False),
        ({"rounds": 4}, True),
        ({"round_s": 0.6}, True),
        ({"round_s": 0.1}, False),
        ({"target_pct": 1e-6}, True),
        ({"target_pct": 20.0}, False),
        ({"max_seconds": 60.0}, False),
        ({"starts": False}, False),
        ({"seed": 5, "timeout_s": 1.0}, False),
    ],
)
def test_a_row_is_reused_if_it_satisfies_the_settings(sweep, change, short):
    """More time alone changes nothing: the rows have their rounds and are within the target."""
    sweep.run(trials(1))
    settings = sweep.settings.model_copy(update=change).measurement_settings()
    assert [falls_short(m, settings) for m in sweep.rows()] == [short, short]


def test_a_row_without_a_start_falls_short_of_one_with_it(sweep):
    settings = sweep.settings.measurement_settings()
    sweep.settings = sweep.settings.model_copy(update={"starts": False})
    sweep.run(trials(1))
    assert all(falls_short(m, settings) for m in sweep.rows())


def test_a_row_that_took_its_whole_time_is_reused_until_it_gets_more(sweep):
    """A single round has no interval."""
    sweep.run(trials(1))
    row = next(iter(sweep.rows()))
    known = {n: v for n, v in row.figures.items() if not n.startswith("throughput_fps_ci")}
    row = replace(row, rounds=row.rounds[:1], figures=known)
    settings = sweep.settings.measurement_settings()
    assert not falls_short(row, settings)
    assert falls_short(row, settings | {"max_seconds": 60.0})
    assert falls_short(row, settings | {"max_seconds": 60.0, "rounds": 1})


def test_failures_do_not_depend_on_the_settings(sweep):
    sweep.script = fails("b", 0)
    sweep.run(trials(1))
    sweep.settings = MeasurementSettings(rounds=8, target_pct=50)
    assert sweep.run(trials(1)) == TrialCounts(measured=1, failed=0, reused=1, repeated=1)


def test_trials_of_an_earlier_plan_are_not_counted(sweep):
    sweep.run(trials(1))
    assert sweep.run(trials(8)) == TrialCounts(measured=2, failed=0, reused=0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses the removal")
@pytest.mark.parametrize("emptied", [True, False])
def test_a_folder_that_is_removed_gets_no_rest_of_a_journal(sweep, emptied):
    def remove_at_2(trial, index):
        if trial.batch == 2 and index == 1 and trial.variant_name == "a":
            shutil.rmtree(sweep.folder)
            if emptied:
                sweep.folder.mkdir()
        return 5.0

    sweep.script = remove_at_2
    with pytest.raises(InputError, match=str(sweep.folder)):
        sweep.run(trials(1, 2, 4))
    assert not (sweep.folder / JOURNAL).exists()
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1, 2)).measured == 4


def test_another_environment_is_refused_with_the_changed_facts(sweep):
    sweep.run(trials(1))
    before = {p.name: p.read_bytes() for p in sweep.folder.iterdir()}
    changed = {"cpu": "a", "kernel": "6.2", "driver": "1"}
    other = Environment(id="other", machine="m", facts=changed)
    with pytest.raises(InputError, match="driver, kernel, memory_gib") as caught:
        sweep.run(trials(1, 2), other)
    assert "--out" in caught.value.hint
    assert sweep.groups == []
    assert {p.name: p.read_bytes() for p in sweep.folder.iterdir()} == before


def test_another_environment_replaces_one_without_results(sweep):
    sweep.run([])
    other = Environment(id="other", machine="m", facts={})
    assert sweep.run(trials(1), other).measured == 2
    assert SweepFolder.open(sweep.folder).environment == other


def test_a_damaged_journal_is_refused_and_kept(sweep):
    sweep.run(trials(1))
    journal = sweep.folder / JOURNAL
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    before = journal.read_bytes()
    with pytest.raises(InputError, match=r"journal\.jsonl, line 1"):
        sweep.run(trials(1, 2))
    assert journal.read_bytes() == before


def hold(folder, ready, release):
    with FileLock(folder / ".lock"):
        ready.set()
        release.wait(60)


@pytest.mark.slow
def test_a_folder_in_use_by_another_process_is_refused(sweep):
    sweep.run(trials(1))
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(sweep.folder, ready, release))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match=re.escape(str(sweep.folder))):
            sweep.run(trials(1, 2))
        assert sweep.groups == []
    finally:
        release.set()
        holder.join()
    assert sweep.run(trials(1, 2)).measured == 2


def test_the_lock_is_released_after_an_error(sweep):
    def wrong(*_):
        raise ZeroDivisionError

    sweep.script = wrong
    with pytest.raises(ZeroDivisionError):
        sweep.run(trials(1))
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1)).measured == 2


def test_a_file_in_place_of_the_folder_is_named(sweep):
    sweep.folder.write_text("x")
    with pytest.raises(InputError, match=re.escape(str(sweep.folder))):
        sweep.run(trials(1))
