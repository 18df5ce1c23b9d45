"""Plans run with scripted latencies."""

import multiprocessing

import pytest
from filelock import FileLock

from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import JOURNAL, Environment, Plan, SweepFolder
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.core.trial import Trial
from ovtool.sweep.run import Done, run

HERE = Environment(id="here", machine="m", facts={"cpu": "a", "kernel": "6.1", "memory_gib": 8})


class Sweep:
    """A sweep folder, run with scripted latencies as often as a test likes."""

    def __init__(self, folder):
        self.folder, self.script = folder / "sweep", lambda *_: 5.0
        self.groups, self.told = [], []
        (folder / "model.bin").write_bytes(b"weights")
        self._xml = folder / "model.xml"

    def run(self, trials, environment=HERE, **options):
        self.groups, self.told = [], []
        return run(
            self.folder,
            Plan(name="sweep", variants={}, trials=tuple(trials)),
            environment,
            self._measure,
            on_start=self.told.append,
            on_finished=self._finished,
            **options,
        )

    def _measure(self, trials):
        self.groups.append([t.label for t in trials])
        shapes = [((t.batch, 3),) for t in trials]
        jobs = [Job(t, self._xml, ("x",), s, s, (0,)) for t, s in zip(trials, shapes, strict=True)]
        settings = MeasurementSettings(rounds=3, target_pct=50)
        return measure_group(jobs, FakeRunner(self.script), settings, HERE.id)

    def _finished(self, measurement):
        assert measurement in list(SweepFolder(self.folder).measurements()), "on the disk first"
        self.told.append((measurement.trial.label, measurement.status))

    def rows(self):
        return list(SweepFolder(self.folder).measurements())


def trials(*batches, variants=("a", "b")):
    return [Trial(v * 12, v, "CPU", batch) for batch in batches for v in variants]


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


def test_a_plan_is_measured_group_by_group(sweep):
    plan = trials(1, 2)
    assert sweep.run(plan) == Done(measured=4, failed=0, reused=0)
    assert [len(group) for group in sweep.groups] == [2, 2]
    assert sweep.told[0] == 0
    assert sweep.told[1:] == [(t.label, "ok") for t in plan]
    assert [m.trial for m in sweep.rows()] == plan
    assert SweepFolder.open(sweep.folder).plan.trials == tuple(plan)
    assert SweepFolder.open(sweep.folder).environment == HERE


def test_the_same_plan_again_measures_nothing(sweep):
    sweep.run(trials(1, 2))
    before = (sweep.folder / JOURNAL).read_bytes()
    assert sweep.run(trials(1, 2)) == Done(measured=0, failed=0, reused=4)
    assert sweep.groups == []
    assert sweep.told == [4]
    assert (sweep.folder / JOURNAL).read_bytes() == before


def test_one_that_was_stopped_goes_on_and_repeats_nothing(sweep):
    def stop_at_2(trial, index):
        if trial.batch == 2 and index == 1:
            raise KeyboardInterrupt
        return 5.0

    sweep.script = stop_at_2
    with pytest.raises(KeyboardInterrupt):
        sweep.run(trials(1, 2, 4))
    assert [m.trial.batch for m in sweep.rows()] == [1, 1], "a group is written in one piece"
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1, 2, 4)) == Done(measured=4, failed=0, reused=2)
    assert [m.trial for m in sweep.rows()] == trials(1, 2, 4)


def test_a_torn_journal_is_mended(sweep):
    sweep.run(trials(1, 2))
    journal = sweep.folder / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    assert sweep.run(trials(1, 2)) == Done(measured=1, failed=0, reused=3)
    assert [m.trial for m in sweep.rows()] == trials(1, 2)


def test_what_failed_is_tried_again_only_when_asked(sweep):
    def fails(trial, index):
        if trial.variant_name == "b":
            raise TrialFailedError("no memory")
        return 5.0

    sweep.script = fails
    assert sweep.run(trials(1)) == Done(measured=1, failed=1, reused=0)
    assert sweep.run(trials(1)) == Done(measured=0, failed=0, reused=2)
    assert sweep.groups == []
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1), retry_failed=True) == Done(measured=1, failed=0, reused=1)
    assert [len(group) for group in sweep.groups] == [1]
    assert [(m.trial.variant_name, m.status) for m in sweep.rows()] == [
        ("a", "ok"),
        ("b", "failed"),
        ("b", "ok"),
    ]
    assert sweep.run(trials(1), retry_failed=True) == Done(measured=0, failed=0, reused=2)


def test_a_further_batch_is_added_to_what_is_there(sweep):
    sweep.run(trials(1))
    assert sweep.run(trials(1, 8)) == Done(measured=2, failed=0, reused=2)
    assert [m.trial.batch for m in sweep.rows()] == [1, 1, 8, 8]
    assert SweepFolder.open(sweep.folder).plan.trials == tuple(trials(1, 8))


def test_trials_of_an_earlier_plan_are_not_counted(sweep):
    sweep.run(trials(1))
    assert sweep.run(trials(8)) == Done(measured=2, failed=0, reused=0)


def test_another_environment_is_refused_with_what_changed(sweep):
    sweep.run(trials(1))
    before = {p.name: p.read_bytes() for p in sweep.folder.iterdir()}
    changed = {"cpu": "a", "kernel": "6.2", "driver": "1"}
    there = Environment(id="there", machine="m", facts=changed)
    with pytest.raises(InputError, match=r"changed: driver, kernel, memory_gib") as caught:
        sweep.run(trials(1, 2), there)
    assert "--out" in caught.value.hint
    assert sweep.groups == []
    assert {p.name: p.read_bytes() for p in sweep.folder.iterdir()} == before


def test_another_environment_may_take_a_folder_without_results(sweep):
    sweep.run([])
    there = Environment(id="there", machine="m", facts={})
    assert sweep.run(trials(1), there).measured == 2
    assert SweepFolder.open(sweep.folder).environment == there


def test_a_damaged_journal_is_refused_and_kept(sweep):
    sweep.run(trials(1))
    journal = sweep.folder / JOURNAL
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    before = journal.read_bytes()
    with pytest.raises(InputError, match=r"journal\.jsonl, line 1: not a measurement"):
        sweep.run(trials(1, 2))
    assert journal.read_bytes() == before


def hold(folder, ready, enough):
    with FileLock(folder / ".lock"):
        ready.set()
        enough.wait(60)


def test_a_folder_in_use_by_another_process_is_refused(sweep):
    sweep.run(trials(1))
    context = multiprocessing.get_context("spawn")
    ready, enough = context.Event(), context.Event()
    other = context.Process(target=hold, args=(sweep.folder, ready, enough))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match="is in use by another sweep"):
            sweep.run(trials(1, 2))
        assert sweep.groups == []
    finally:
        enough.set()
        other.join()
    assert sweep.run(trials(1, 2)).measured == 2


def test_the_lock_is_given_back_after_an_error(sweep):
    def wrong(*_):
        raise ZeroDivisionError

    sweep.script = wrong
    with pytest.raises(ZeroDivisionError):
        sweep.run(trials(1))
    sweep.script = lambda *_: 5.0
    assert sweep.run(trials(1)).measured == 2


def test_a_file_in_the_way_is_one_clear_line(sweep):
    sweep.folder.write_text("x")
    with pytest.raises(InputError, match=r"cannot write .*sweep: a file is in the way"):
        sweep.run(trials(1))
