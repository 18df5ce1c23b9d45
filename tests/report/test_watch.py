"""When a watched report is made again, by a scripted journal and without waiting."""

import contextlib
import itertools

import pytest

from ovtool.core.errors import InputError
from ovtool.report.watch import PATIENCE, POLL_S, changes, state
from tests.helpers import sweeps


class EndedError(Exception):
    pass


def made_at(states):
    """After how many looks the report was made."""
    looks, waits = iter(states), []
    seen = 0

    def look():
        nonlocal seen
        seen += 1
        try:
            return next(looks)
        except StopIteration:
            raise EndedError from None

    found = []
    with contextlib.suppress(EndedError):
        found.extend(seen for _ in changes(look, waits.append))
    assert set(waits) <= {POLL_S}
    return found


def test_it_is_made_at_once_and_not_again_while_nothing_changes():
    assert made_at("aaaaaa") == [1]


def test_a_change_counts_once_it_rests():
    assert made_at("aabb") == [1, 4]
    assert made_at("abcdd") == [1, 5]
    assert made_at("abbcc") == [1, 3, 5]


def test_what_goes_back_to_what_was_shown_is_no_change():
    assert made_at("abaa") == [1]


def test_a_journal_that_never_rests_is_read_all_the_same():
    states = [str(n) for n in range(2 * PATIENCE + 2)]
    assert made_at(states) == [1, 1 + PATIENCE, 1 + 2 * PATIENCE]


def test_every_finished_trial_changes_the_state(tmp_path):
    trials = sweeps.trials(batches=(1,))
    folder = sweeps.make(tmp_path / "s", [], planned=trials)
    seen = {state([folder])}
    for trial in trials[:2]:
        sweeps.SweepFolder(folder).append([sweeps.measure(trial)])
        seen.add(state([folder]))
    assert len(seen) == 3
    assert state([folder]) == state([folder])
    assert len(state([folder, tmp_path / "not there"])) == 6


@pytest.mark.slow
def test_watching_ends_with_a_page_that_does_not_reload(tmp_path, monkeypatch, capsys):
    from ovtool.cli.commands import report as verb

    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    rounds = itertools.count()

    def look(_sweeps):
        yield None
        assert 'http-equiv="refresh" content="5"' in (folder / "index.html").read_text()[:2000]
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr("ovtool.api.changes", look)
    monkeypatch.setattr(verb.signal, "signal", lambda *_: next(rounds))
    verb.command([str(folder)], watch=True)
    assert 'http-equiv="refresh"' not in (folder / "index.html").read_text()[:2000]
    told = capsys.readouterr()
    assert "index.html" in told.out
    assert told.err.splitlines()[-1] == "no longer watching: the report is as of now"


def test_watching_has_no_json(tmp_path):
    from ovtool.cli.commands import report as verb

    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    with pytest.raises(InputError, match="no end"):
        verb.command([str(folder)], watch=True, json=True)
