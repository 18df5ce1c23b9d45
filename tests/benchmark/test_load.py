import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.benchmark.load import (
    TOLERANCE,
    Bracket,
    Limit,
    Probe,
    highest_rate,
    probe_s,
    remeasured,
)
from ovtool.core.statistics import Interval

CAPACITY = 200.0


def exact(value):
    return Interval(value, value, value)


def queue(service_ms=5.0):
    """Mean latency of an M/D/1 queue, as its percentile: rises without bound at the capacity."""

    def probe(rate):
        use = rate * service_ms / 1000
        if use >= 1:
            return Probe(exact(math.inf), 1 / use)
        return Probe(exact(service_ms * (1 + use / (2 * (1 - use)))), 1.0)

    return probe


@given(st.floats(5.1, 100))
def test_the_bracket_holds_the_rate_at_which_the_limit_is_reached(limit_ms):
    found = highest_rate(queue(), Limit(limit_ms, 99), CAPACITY)
    excess = limit_ms / 5 - 1
    true = CAPACITY * 2 * excess / (1 + 2 * excess)
    if isinstance(found, Bracket):
        assert found.kept <= true <= found.missed or math.isclose(true, found.missed)
        assert found.missed - found.kept <= TOLERANCE * CAPACITY
    else:
        assert true < CAPACITY / 2**5


def test_a_limit_that_idle_requests_miss_has_no_rate():
    found = highest_rate(queue(), Limit(4.0, 99), CAPACITY)
    assert isinstance(found, Interval)
    assert found.value == pytest.approx(5.0, rel=0.02)


def test_a_growing_queue_misses_any_limit():
    assert not Probe(exact(1.0), served_share=0.8).keeps(Limit(100.0, 99))
    assert Probe(exact(1.0), served_share=0.99).keeps(Limit(100.0, 99))


def test_a_loose_limit_ends_near_the_capacity():
    found = highest_rate(queue(), Limit(1e6, 99), CAPACITY)
    assert found.kept > 0.95 * CAPACITY


@given(st.floats(0.1, 1e5), st.sampled_from([50, 90, 99]))
def test_a_rate_is_measured_for_a_bounded_time(rate, percentile):
    assert 1.0 <= probe_s(rate, percentile) <= 6.0


def test_high_percentiles_are_measured_longer():
    assert probe_s(200, 99) > probe_s(200, 50)


def test_a_limit_that_is_missed_when_measured_at_length_is_said_with_how_surely():
    limit = Limit(10.0, 99)
    assert remeasured(limit, {"latency_p99_ms": 9.9}) == []
    assert remeasured(limit, {}) == []
    (near,) = remeasured(limit, {"latency_p99_ms": 10.4, "latency_p99_ms_ci_low": 9.5})
    assert near.evidence == f"limit {limit}, measured 10.4 ms"
    (far,) = remeasured(limit, {"latency_p99_ms": 12.0, "latency_p99_ms_ci_low": 11.0})
    assert far.evidence.endswith("12.0 ms, beyond the interval")
