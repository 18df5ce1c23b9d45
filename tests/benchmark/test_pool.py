"""Sessions that are parked where memory cannot hold all."""

import pytest

from ovtool.benchmark import pool as pools
from ovtool.benchmark.pool import Pool
from ovtool.benchmark.session import TrialFailedError
from tests.benchmark.scripted import Watched, fails, jobs


@pytest.fixture
def runner():
    return Watched()


def fill(runner, folder, monkeypatch, *names, most):
    """A pool with memory for so many open sessions."""
    pool = Pool(runner, folder)

    def has_memory(_):
        return sum(slot.session is not None for slot in pool.slots) < most

    monkeypatch.setattr(pools, "_has_memory_for", has_memory)
    return pool, [pool.add(job) for job in jobs(folder, *names)]


def test_every_session_stays_open_where_memory_suffices(runner, tmp_path, monkeypatch):
    pool, slots = fill(runner, tmp_path, monkeypatch, "a", "b", "c", most=3)
    for slot in slots:
        pool.session(slot)
    assert runner.of("open") == ["a", "b", "c"]
    assert runner.of("reopen") == runner.of("close") == []
    assert not pool.parked
    assert all(slot.cache is None for slot in slots)


def test_least_recently_used_session_is_parked_and_reopens_from_its_cache(
    runner, tmp_path, monkeypatch
):
    pool, (a, b, c) = fill(runner, tmp_path, monkeypatch, "a", "b", "c", most=2)
    assert pool.parked
    assert runner.of("close") == ["a"]
    assert a.session is None
    assert (a.cache.is_dir(), a.blob_mib) == (True, 1.0)
    pool.session(b)
    pool.session(a)
    assert runner.of("close") == ["a", "c"], "b was used after c"
    assert c.session is None
    assert runner.of("reopen") == ["a"]
    assert a.info.loaded_from_cache is False, "the first compilation is the one that counts"


def test_session_that_cannot_write_its_cache_compiles_again(runner, tmp_path, monkeypatch):
    pool, (a,) = fill(runner, tmp_path, monkeypatch, "a", most=1)

    def dead(_):
        raise TrialFailedError("it died")

    a.session.save_cache = dead
    (other,) = jobs(tmp_path, "b")
    pool.add(other)
    assert (a.session, a.cache) == (None, None)
    pool.session(a)
    assert runner.of("open") == ["a", "b", "a"]


def test_close_ends_every_session_and_the_runner(runner, tmp_path, monkeypatch):
    pool, slots = fill(runner, tmp_path, monkeypatch, "a", "b", most=2)
    pool.park(slots[0])
    pool.close()
    assert runner.of("close") == ["a", "b"]
    assert runner.events[-1] == ("closed", "")


def test_model_that_does_not_compile_has_no_slot(tmp_path, monkeypatch):
    with pytest.raises(TrialFailedError):
        fill(Watched(fails("b", -1)), tmp_path, monkeypatch, "a", "b", most=1)


def test_memory_is_compared_with_the_weights(tmp_path, monkeypatch):
    (job,) = jobs(tmp_path, "a")
    need = 6 * job.xml.with_suffix(".bin").stat().st_size + pools.SPARE_MIB * 2**20
    for available, expected in ((need, False), (need + 1, True)):
        monkeypatch.setattr(
            pools.psutil, "virtual_memory", lambda a=available: type("M", (), {"available": a})
        )
        assert pools._has_memory_for(job) is expected
