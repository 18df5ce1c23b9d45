"""Windows, their causes of disturbance, and undisturbed stretches."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.benchmark.session import Stretch
from ovtool.benchmark.windows import (
    Cause,
    HostLoad,
    classify_windows,
    compute_wait_share,
    select_undisturbed,
)
from ovtool.core.measurement import Window

TWO = HostLoad(cpus=2, usable=2, uses_cpu=True)
QUIET = Window(
    seconds=0.1,
    inferences=10,
    latency_mean_ms=10.0,
    latency_max_ms=11.0,
    cpu_s=0.2,
    busy_s=0.2,
    steal_s=0.0,
    delay_s=0.0005,
    stalled_s=0.0,
    switches=1.0,
    quota_wait_s=0.0,
    throttles=0.0,
    clock_mhz=3000.0,
)
DISTURBED = {
    "others": {"cpu_s": 0.1, "busy_s": 0.2, "delay_s": 0.09},
    "hypervisor": {"cpu_s": 0.1, "busy_s": 0.1, "steal_s": 0.1},
    "quota": {"cpu_s": 0.05, "busy_s": 0.05, "quota_wait_s": 0.07},
    "clock": {"clock_mhz": 1500.0},
    "paused": {"seconds": 1.1, "latency_max_ms": 1010.0},
}


def causes_of(*changes, host=TWO):
    windows = [QUIET] * 8 + [replace(QUIET, **c) for c in changes]
    return classify_windows(windows, host)[8:]


def test_undisturbed_windows_are_quiet():
    assert classify_windows([QUIET] * 5, TWO) == [None] * 5
    assert classify_windows([], TWO) == []


@pytest.mark.parametrize("cause", get_args(Cause))
def test_each_cause_is_recognized(cause):
    assert causes_of(DISTURBED[cause]) == [cause]


def test_thermal_throttling_is_a_clock_disturbance():
    assert causes_of({"throttles": 1.0}) == ["clock"]


def test_all_windows_can_be_disturbed():
    windows = [replace(QUIET, **DISTURBED["others"])] * 20
    assert classify_windows(windows, TWO) == ["others"] * 20


def test_pause_is_distinguished_from_a_slow_inference():
    """A slow inference keeps the processors busy, or waits for them."""
    slow = {"seconds": 1.1, "latency_max_ms": 1010.0}
    assert causes_of(slow | {"cpu_s": 2.1, "busy_s": 2.1}) == [None]
    waited = slow | {"cpu_s": 0.3, "busy_s": 2.2, "delay_s": 1.9}
    assert causes_of(waited) == ["others"]


def test_other_processes_on_idle_processors_do_not_disturb():
    large = HostLoad(cpus=64, usable=64, uses_cpu=True)
    assert causes_of({"busy_s": 1.2}, host=large) == [None]


def test_own_threads_that_wait_are_not_other_processes():
    assert causes_of({"delay_s": 0.02}) == [None]


def test_one_tick_of_the_clock_does_not_disturb():
    assert causes_of({"busy_s": 0.22, "delay_s": 0.02}) == [None]


@pytest.mark.parametrize("cause", ["others", "hypervisor"])
def test_other_processes_are_recognized_without_linux_counters(cause):
    bare = dict.fromkeys(("delay_s", "quota_wait_s", "throttles", "clock_mhz", "stalled_s"))
    counters = bare | {"cpu_s": 0.05, "busy_s": 0.2}
    assert causes_of(DISTURBED["hypervisor"] | bare if cause == "hypervisor" else counters) == [
        cause
    ]


def test_windows_without_counters_are_quiet():
    assert classify_windows([Window(0.1, 10, 10.0, 11.0)] * 3, TWO) == [None] * 3


def test_pause_needs_cpu_time_of_the_device():
    gpu = HostLoad(cpus=2, usable=2, uses_cpu=False)
    assert causes_of(DISTURBED["paused"], host=gpu) == [None]


times = st.floats(0, 10, allow_subnormal=False)


@given(times, times)
def test_wait_share_is_a_share(cpu_s, delay_s):
    share = compute_wait_share(replace(QUIET, cpu_s=cpu_s, delay_s=delay_s))
    assert 0 <= share <= 1


def stretch(cpu_s=0.01, delay_s=0.0):
    return Stretch(0.005, 2, cpu_s, delay_s)


def test_undisturbed_stretches_have_all_processors():
    calm, waited, alone = stretch(), stretch(0.005, 0.004), stretch(0.005)
    kept = select_undisturbed([[calm] * 4, [calm, waited, calm, calm, alone, calm]])
    assert kept[0] == [calm] * 4
    assert kept[1] == [calm, calm], (
        "without stretches that waited or had one processor, and their successors"
    )


def test_no_stretch_is_undisturbed_where_all_waited():
    assert select_undisturbed([[stretch(0.005, 0.004)] * 3, []]) == [[], []]


@given(
    st.lists(
        st.lists(st.builds(stretch, st.floats(0, 0.02), st.floats(0, 0.01)), max_size=8), max_size=4
    )
)
def test_undisturbed_stretches_are_a_subset(rounds):
    kept = select_undisturbed(rounds)
    assert len(kept) == len(rounds)
    for some, measured in zip(kept, rounds, strict=True):
        assert all(s in measured and s.delay_s <= 0.00005 for s in some)
