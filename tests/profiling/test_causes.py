import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.profiling.causes import CAUSES, NEUTRAL, UNEXPLAINED, make_cause, rank

TIMES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=6)


def test_what_is_at_stake_follows_the_expected_speedup():
    cause = make_cause("float-island", "", [4.0, 4.0, 4.0], [5.0, 5.0, 5.0], speedup=2.0)
    assert (cause.added_ms.value, cause.stake_ms) == (1.0, 3.0)
    assert cause.significant


def test_a_conversion_costs_what_it_adds():
    cause = make_cause("conversions", "", [1.0, 1.0, 1.0], [3.0, 4.0, 5.0], speedup=4.0)
    assert cause.stake_ms == pytest.approx(3.0)


def test_a_difference_within_the_noise_is_not_significant():
    cause = make_cause("float-island", "", [1.0, 2.0, 1.5], [2.0, 1.0, 1.6], speedup=2.0)
    assert not cause.significant


@pytest.mark.parametrize(("b_ms", "stake"), [([0.0, 0.0, 1.0], 0.0), ([1.0, 1.1, 0.9], 1.0)])
def test_unexplained_time_is_at_stake_only_beyond_the_noise(b_ms, stake):
    cause = make_cause(UNEXPLAINED, "", [0.0] * 3, b_ms, speedup=2.0)
    assert cause.stake_ms == pytest.approx(stake)


@given(TIMES, st.sampled_from(sorted(CAUSES)))
def test_the_difference_is_that_of_the_times(times, cause_id):
    a, b = zip(*times, strict=True)
    cause = make_cause(cause_id, "", a, b, speedup=2.0, precision="bf16")
    assert cause.added_ms.value == pytest.approx(cause.b_ms.value - cause.a_ms.value, abs=1e-9)
    assert cause.stake_ms >= 0
    assert "{" not in cause.sentence
    if cause_id not in NEUTRAL:
        assert cause.remedy
        if cause_id == UNEXPLAINED and not cause.significant:
            assert cause.stake_ms == 0
        else:
            assert cause.stake_ms >= cause.added_ms.value - 1e-9


def test_a_slow_model_is_ranked_by_what_is_added_and_another_by_what_is_at_stake():
    island = make_cause("float-island", "", [8.0] * 3, [8.0] * 3, speedup=2.0)
    added = make_cause("conversions", "", [0.0] * 3, [2.0] * 3, speedup=2.0)
    gain = make_cause("in-int8", "", [9.0] * 3, [1.0] * 3, speedup=2.0)
    causes = (gain, island, added)
    assert [c.id for c in rank(causes, slower=True)] == ["conversions", "float-island", "in-int8"]
    noisy = make_cause("fusion-lost", "", [0.0, 9.0, 0.0], [0.0, 30.0, 0.0], speedup=2.0)
    assert not noisy.significant
    assert rank((*causes, noisy), slower=True)[0].id == "fusion-lost"  # more than 2 ms
    assert [c.id for c in rank(causes, slower=False)] == ["float-island", "conversions", "in-int8"]
