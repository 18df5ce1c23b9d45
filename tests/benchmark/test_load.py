import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.benchmark.load import (
    MAX_CONCURRENCY,
    TOLERANCE,
    Bracket,
    Limit,
    Probe,
    TextLimit,
    TextMiss,
    check_limit,
    check_search,
    compute_probe_s,
    note_concurrency,
    search_highest_concurrency,
    search_highest_rate,
)
from ovtool.core.statistics import Interval

CAPACITY = 200.0


def exact(value):
    return Interval(value, value, value)


def queue(service_ms=5.0):
    """Mean latency of an M/D/1 queue, in place of its percentile: unbounded at the capacity."""

    def probe(rate):
        use = rate * service_ms / 1000
        if use >= 1:
            return Probe(exact(math.inf), 1 / use)
        return Probe(exact(service_ms * (1 + use / (2 * (1 - use)))), 1.0)

    return probe


@given(st.floats(5.1, 100))
def test_bracket_contains_the_highest_rate(limit_ms):
    result = search_highest_rate(queue(), Limit(limit_ms, 99), CAPACITY)
    excess = limit_ms / 5 - 1
    true = CAPACITY * 2 * excess / (1 + 2 * excess)
    if isinstance(result, Bracket):
        assert result.kept <= true <= result.missed or math.isclose(true, result.missed)
        assert result.missed - result.kept <= TOLERANCE * CAPACITY
    else:
        assert true < CAPACITY / 2**5


def test_limit_below_the_idle_latency_has_no_rate():
    result = search_highest_rate(queue(), Limit(4.0, 99), CAPACITY)
    assert isinstance(result, Interval)
    assert result.value == pytest.approx(5.0, rel=0.02)


def test_growing_queue_misses_any_limit():
    assert not Probe(exact(1.0), served_share=0.8).meets(Limit(100.0, 99))
    assert Probe(exact(1.0), served_share=0.99).meets(Limit(100.0, 99))


def test_loose_limit_ends_near_the_capacity():
    result = search_highest_rate(queue(), Limit(1e6, 99), CAPACITY)
    assert result.kept > 0.95 * CAPACITY


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_search_out_of_time_keeps_its_bracket(steps):
    """After each rate the highest rate under the limit still is in the bracket."""
    tried = []

    def probe(rate):
        tried.append(rate)
        return queue()(rate)

    limit = Limit(7.0, 99)
    true = CAPACITY * 2 * 0.4 / (1 + 2 * 0.4)
    bracket = search_highest_rate(probe, limit, CAPACITY, lambda: len(tried) < steps)
    assert len(tried) == steps
    assert bracket.kept <= true <= bracket.missed
    assert bracket.missed - bracket.kept == CAPACITY / 2**steps
    assert [note.id for note in check_search(bracket)] == ["rate-search-stopped"]


def test_a_search_out_of_time_has_no_rate_that_was_not_tried():
    bracket = search_highest_rate(queue(), Limit(5.01, 99), CAPACITY, lambda: False)
    assert bracket == Bracket(0.0, CAPACITY / 2)


def test_a_narrow_bracket_is_no_note():
    assert check_search(Bracket(0.99 * CAPACITY, CAPACITY)) == []


@given(st.floats(0.1, 1e5), st.sampled_from([50, 90, 99]))
def test_probe_time_is_bounded(rate, percentile):
    assert 1.0 <= compute_probe_s(rate, percentile) <= 6.0


def test_high_percentiles_are_measured_longer():
    assert compute_probe_s(200, 99) > compute_probe_s(200, 50)


def test_missed_limit_has_a_note_with_its_certainty():
    limit = Limit(10.0, 99)
    assert check_limit(limit, {"latency_p99_ms": 9.9}) == []
    assert check_limit(limit, {}) == []
    (near,) = check_limit(limit, {"latency_p99_ms": 10.4, "latency_p99_ms_ci_low": 9.5})
    assert str(limit) in near.evidence
    assert near.evidence.endswith("10.4 ms")
    (far,) = check_limit(limit, {"latency_p99_ms": 12.0, "latency_p99_ms_ci_low": 11.0})
    assert "12.0 ms, " in far.evidence


def missed_above(highest):
    """A probe of a service that keeps its limit up to a concurrency, and what was tried."""
    tried = []

    def probe(concurrency):
        tried.append(concurrency)
        kept = concurrency <= highest
        return None if kept else TextMiss(TextLimit("ttft_ms", 10.0), exact(10.5))

    return probe, tried


@given(st.integers(1, MAX_CONCURRENCY - 1))
def test_the_search_ends_between_two_concurrencies(highest):
    probe, tried = missed_above(highest)
    assert search_highest_concurrency(probe) == Bracket(highest, highest + 1)
    assert len(tried) == len(set(tried)) <= 16


def test_a_service_without_a_limit_and_one_without_a_concurrency():
    assert search_highest_concurrency(missed_above(1000)[0]) == Bracket(MAX_CONCURRENCY, math.inf)
    miss = search_highest_concurrency(missed_above(0)[0])
    assert (miss.limit.column, miss.figure.value) == ("ttft_ms", 10.5)


def test_a_search_without_time_keeps_what_it_knows():
    times = iter([True, True, False])
    result = search_highest_concurrency(missed_above(3)[0], lambda: next(times))
    assert result == Bracket(2, 4)
    assert "2 keeps" in note_concurrency(result).evidence
    assert note_concurrency(Bracket(8, math.inf)).id == "concurrency-unlimited"
