"""When a watched report is written again, with scripted states and without waiting."""

import contextlib

import pytest

from ovtool.report import watch
from ovtool.report.watch import MAX_UNSETTLED_POLLS, POLL_S, sweep_state, watch_sweeps
from tests.helpers import sweeps


class EndedError(Exception):
    pass


@pytest.fixture
def polls_with_report(monkeypatch):
    """A function: scripted states -> the number of polls before each report."""

    def run(states):
        script, waits = iter(states), []
        polls = 0

        def poll(_sweeps):
            nonlocal polls
            polls += 1
            try:
                return next(script)
            except StopIteration:
                raise EndedError from None

        monkeypatch.setattr(watch, "sweep_state", poll)
        reports = []
        with contextlib.suppress(EndedError):
            reports.extend(polls for _ in watch_sweeps([], waits.append))
        assert set(waits) <= {POLL_S}
        return reports

    return run


def test_first_report_is_immediate_and_unchanged_states_cause_no_other(polls_with_report):
    assert polls_with_report("aaaaaa") == [1]


def test_change_counts_when_two_polls_agree(polls_with_report):
    assert polls_with_report("aabb") == [1, 4]
    assert polls_with_report("abcdd") == [1, 5]
    assert polls_with_report("abbcc") == [1, 3, 5]


def test_return_to_the_reported_state_is_no_change(polls_with_report):
    assert polls_with_report("abaa") == [1]


def test_state_that_keeps_changing_is_reported_after_some_polls(polls_with_report):
    states = [str(n) for n in range(2 * MAX_UNSETTLED_POLLS + 2)]
    expected = [1, 1 + MAX_UNSETTLED_POLLS, 1 + 2 * MAX_UNSETTLED_POLLS]
    assert polls_with_report(states) == expected


def test_every_finished_trial_changes_the_state(tmp_path):
    trials = sweeps.trials(batches=(1,))
    folder = sweeps.make(tmp_path / "s", [], planned=trials)
    seen = {sweep_state([folder])}
    for trial in trials[:2]:
        sweeps.SweepFolder(folder).append([sweeps.measure(trial)])
        seen.add(sweep_state([folder]))
    assert len(seen) == 3
    assert sweep_state([folder]) == sweep_state([folder])
    assert len(sweep_state([folder, tmp_path / "missing"])) == 6
