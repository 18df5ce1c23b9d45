import math

import pytest

from ovtool.benchmark import figures
from ovtool.benchmark.session import Opened, RawRound, Spent
from ovtool.benchmark.windows import HostLoad, Stretch
from ovtool.core.columns import FIGURES
from ovtool.core.measurement import Window
from ovtool.core.trial import Trial

TRIAL = Trial("v", "v", "CPU", 4)
OPENED = Opened({"threads": 2.0}, "bf16", {}, compile_ms=50.0, first_inference_ms=9.0)
MACHINE = HostLoad(cpus=4, usable=4, uses_cpu=True)
OTHERS = {"cpu_s": 0.1, "busy_s": 0.4, "delay_s": 0.1}
"""Counters of a window that others disturbed; those of a quiet one are 0.2 s of its own."""
QUIET = {"cpu_s": 0.2, "busy_s": 0.2, "delay_s": 0.0}


def window(ms=10.0, inferences=10, **counters):
    return Window(inferences * ms / 1000, inferences, ms, ms, **counters)


def raw(*windows, **told):
    latencies = tuple((w.latency_mean_ms,) * w.inferences for w in windows)
    return RawRound(windows, latencies, **told)


def summary(*rounds, trial=TRIAL, opened=OPENED, machine=MACHINE, target_pct=2.0, rate=None):
    indexed = list(enumerate(rounds))
    return figures.summarize(trial, opened, indexed, machine, target_pct, rate)


def figures_of(*rounds, **options):
    return summary(*rounds, **options).figures


def notes_of(*rounds, **options):
    return {note.id: note for note in summary(*rounds, **options).notes}


def rounds_of(count, *windows):
    return [raw(*windows) for _ in range(count)]


def test_throughput_is_samples_by_wall_time_and_latency_is_of_a_request():
    found = figures_of(raw(window(9), window(10)), raw(window(11), window(10)))
    assert found["throughput_fps"] == pytest.approx(4 * 40 / 0.4)
    assert found["throughput_fps_ci_low"] < 400 < found["throughput_fps_ci_high"]
    assert found["latency_p50_ms"] == 10
    assert found["latency_mean_ms"] == pytest.approx(10)
    assert (found["latency_min_ms"], found["latency_max_ms"]) == (9, 11)
    assert found["latency_p90_ms"] == 11
    assert found["inferences"] == 40
    assert found["measured_s"] == pytest.approx(0.4)
    assert (found["compile_cold_ms"], found["first_inference_ms"]) == (50, 9)
    assert set(found) <= FIGURES


def test_requests_side_by_side_are_not_derived_from_latency():
    found = figures_of(raw(Window(0.1, 40, 10.0, 10.0)))
    assert found["throughput_fps"] == pytest.approx(4 * 400)
    assert found["latency_mean_ms"] == 10


def test_one_round_has_no_interval():
    """Its windows are neighbours: they do not tell how the next round comes out."""
    found = summary(raw(window(), window(11)))
    assert not [name for name in found.figures if "_ci_" in name]
    assert found.verdict == "unsteady"


@pytest.mark.parametrize(("spread", "expected"), [(0.02, "stable"), (0.2, "unsteady")])
def test_it_is_stable_once_the_interval_is_narrow(spread, expected):
    rounds = [raw(window(10 * (1 + spread * (-1) ** i), **QUIET)) for i in range(12)]
    assert summary(*rounds).verdict == expected


def test_a_speed_that_keeps_falling_is_unsteady_however_narrow_the_interval():
    rounds = [raw(window(10 * (1 + 0.01 * i), **QUIET)) for i in range(12)]
    found = summary(*rounds, target_pct=4.0)
    assert found.figures["drift_pct"] < -8
    assert found.verdict == "unsteady"
    note = {n.id: n for n in found.notes}["throughput-not-stable"]
    assert note.evidence.startswith("-1")


def test_disturbed_windows_are_left_out_where_enough_are_quiet():
    disturbed = window(30.0, **OTHERS)
    rounds = rounds_of(6, window(10, **QUIET), window(10, **QUIET), disturbed)
    found = summary(*rounds)
    assert found.verdict == "stable"
    assert found.figures["throughput_fps"] == pytest.approx(400)
    assert found.figures["latency_max_ms"] == 10
    assert (found.figures["windows"], found.figures["quiet_windows"]) == (18, 12)
    assert found.rounds[0].quiet == (0, 1)
    assert len(found.rounds[0].windows) == 3, "the raw windows are kept"
    note = {n.id: n for n in found.notes}["disturbed-others"]
    assert note.evidence == "6 of 18 windows, excluded"


@pytest.mark.parametrize(
    ("windows", "count"),
    [([(10, QUIET), (30, OTHERS)], 4), ([(30, OTHERS)], 12)],
    ids=["0.4 s of quiet", "none"],
)
def test_all_windows_stand_where_too_few_are_quiet(windows, count):
    found = summary(*rounds_of(count, *(window(ms, **told) for ms, told in windows)))
    assert found.verdict == "contended"
    assert found.figures["latency_max_ms"] == 30
    note = {n.id: n for n in found.notes}["disturbed-others"]
    assert "windows, included; others' CPU" in note.evidence


def test_quiet_windows_of_one_round_do_not_stand_for_the_others():
    busy = rounds_of(6, *[window(30, **OTHERS)] * 2)
    assert summary(raw(*[window(10, **QUIET)] * 12), *busy).verdict == "contended"


@pytest.mark.parametrize(
    ("disturbed", "expected", "said"),
    [
        (OTHERS, "contended", "disturbed-others"),
        ({"steal_s": 0.2, "cpu_s": 0.05, "busy_s": 0.05}, "contended", "disturbed-hypervisor"),
        ({"quota_wait_s": 0.05, "cpu_s": 0.05, "busy_s": 0.05}, "throttled", "disturbed-quota"),
        ({"throttles": 2.0, **QUIET}, "throttled", "disturbed-clock"),
    ],
)
def test_the_verdict_names_what_disturbed(disturbed, expected, said):
    found = summary(*rounds_of(8, window(10, **disturbed)))
    assert found.verdict == expected
    assert said in {note.id for note in found.notes}


def test_a_pause_is_unsteady_and_its_window_is_left_out():
    paused = Window(1.1, 10, 110.0, 1010.0, **QUIET)
    rounds = rounds_of(12, window(10, **QUIET))
    found = summary(*rounds, raw(window(10, **QUIET), paused))
    assert found.verdict == "unsteady"
    assert found.figures["latency_max_ms"] == 10
    assert {n.id: n for n in found.notes}["disturbed-paused"].evidence.startswith("1 of 14")


def test_neighbours_too_small_for_a_window_show_over_all_of_them():
    """7 % of the machine: less than the ticks of one window tell, and more than nothing."""
    some = {"cpu_s": 0.2, "busy_s": 0.228, "delay_s": 0.02}
    found = summary(*rounds_of(12, window(10, **some)))
    assert found.figures["quiet_windows"] == 12
    assert found.figures["others_cpu_pct"] == pytest.approx(7)
    assert found.verdict == "contended"


def test_the_counters_are_shares_of_what_they_are_named_for():
    told = {"cpu_s": 0.15, "busy_s": 0.16, "steal_s": 0.001, "delay_s": 0.05, "stalled_s": 0.02}
    told |= {"switches": 3.0, "quota_wait_s": 0.0005, "clock_mhz": 3000.0}
    found = figures_of(*rounds_of(3, window(10, **told)))
    assert found["others_cpu_pct"] == pytest.approx(100 * 0.011 / 0.4)
    assert found["steal_pct"] == pytest.approx(100 * 0.001 / 0.4)
    assert found["cpu_wait_pct"] == pytest.approx(25)
    assert found["cpu_pressure_pct"] == pytest.approx(20)
    assert found["quota_wait_pct"] == pytest.approx(100 * 0.0005 / 0.4)
    assert found["switches_hz"] == pytest.approx(30)
    assert found["clock_mhz"] == 3000


def test_clocks_that_tick_coarsely_make_no_negative_share():
    found = figures_of(raw(window(cpu_s=0.15, busy_s=0.14, steal_s=0.0)))
    assert found["others_cpu_pct"] == 0


@pytest.mark.parametrize("counters", [{}, {"cpu_s": 0.1}, {"busy_s": 0.1}])
def test_a_share_is_unknown_where_a_window_does_not_tell(counters):
    found = figures_of(raw(window(cpu_s=0.1, busy_s=0.1)), raw(window(**counters)))
    assert "others_cpu_pct" not in found


def test_on_a_quiet_machine_the_uncontended_estimate_is_what_was_observed():
    """Two threads that are busy for 90 % of the time would not be busier without neighbours."""
    rounds = [raw(window(ms, cpu_s=ms / 1000 * 18, busy_s=ms / 1000 * 18)) for ms in (10, 11, 10)]
    found = figures_of(*rounds)
    assert found["throughput_uncontended_fps"] == pytest.approx(found["throughput_fps"])


def test_the_uncontended_estimate_of_a_busy_machine_comes_from_cpu_time():
    """Two threads, 2.5 ms of CPU time a sample: 800 samples a second, whatever the clock says."""
    rounds = [raw(window(ms, **OTHERS)) for ms in (10, 30, 20, 30)]
    found, notes = figures_of(*rounds), notes_of(*rounds)
    assert found["cpu_s_per_sample"] == pytest.approx(0.0025)
    assert found["throughput_uncontended_fps"] == pytest.approx(800)
    assert found["throughput_fps"] < 400
    assert "2 threads" in notes["uncontended-cpu-time"].evidence


def test_moments_without_neighbours_are_the_better_estimate():
    """Threads that wait for one another spin, so CPU time says too much or too little."""
    calm = [Stretch(0.005, 1, 0.01, 0.0)] * 10
    rounds = [
        RawRound((w := window(20, **OTHERS),), ((20.0,) * w.inferences,), tuple(calm))
        for _ in range(8)
    ]
    found, notes = figures_of(*rounds), notes_of(*rounds)
    assert found["throughput_uncontended_fps"] == pytest.approx(4 / 0.005)
    assert notes["uncontended-stretches"].evidence == "0.40 s undisturbed"
    assert summary(*rounds).rounds[0].undisturbed_inferences == 10


@pytest.mark.parametrize("device", ["GPU.0", "NPU", "AUTO"])
def test_cpu_time_says_nothing_of_another_device(device):
    trial = Trial("v", "v", device, 4)
    found = figures_of(raw(window(cpu_s=0.2)), trial=trial, machine=HostLoad(4, 4, False))
    assert not {"cpu_s_per_sample", "throughput_uncontended_fps"} & set(found)


def test_without_threads_there_is_no_estimate_and_a_note_says_so():
    untold = Opened({}, None, {})
    found = figures_of(raw(window(cpu_s=0.2)), opened=untold)
    assert "cpu_s_per_sample" in found
    assert "throughput_uncontended_fps" not in found
    assert "no-threads" in notes_of(raw(window(cpu_s=0.2)), opened=untold)


def test_energy_is_of_a_sample_and_needs_every_round():
    read = raw(window(), energy=Spent(2.0, 0.5, 12, "RAPL package-0"))
    found = figures_of(read, read)
    assert found["energy_mj_per_sample"] == pytest.approx(1000 * 4 / (24 * 4))
    assert found["power_w"] == pytest.approx(4)
    assert notes_of(read)["energy-source"].evidence == "RAPL package-0"
    unread = raw(window(), energy_unknown="not permitted")
    assert not {"energy_mj_per_sample", "power_w"} & figures_of(read, unread).keys()
    assert notes_of(read, unread)["no-energy"].evidence == "not permitted"


def test_the_peak_is_the_greatest_of_the_rounds():
    rounds = [
        raw(window(), peak_rss_mib=peak, rss_growth_mib=peak - 40) for peak in (90.0, 120.0, 110.0)
    ]
    found = figures_of(*rounds)
    assert (found["peak_rss_mib"], found["rss_growth_mib"]) == (120, 80)
    assert not {"peak_rss_mib", "rss_growth_mib"} & figures_of(raw(window())).keys()


@pytest.mark.parametrize(("inferences", "few"), [(99, True), (100, False)])
def test_few_inferences_are_noted(inferences, few):
    assert ("few-inferences" in notes_of(raw(window(1.0, inferences)))) is few


def test_a_rate_that_is_not_kept_is_noted():
    arriving = Trial("v", "v", "CPU", 4, rate=200.0)
    rounds = rounds_of(4, window(10, 100))
    assert figures_of(*rounds, trial=arriving, rate=200.0)["rate_rps"] == 200
    note = notes_of(*rounds, trial=arriving, rate=200.0)["rate-not-kept"]
    assert note.evidence == "800 samples/s requested, 400 served"
    assert "rate-not-kept" not in notes_of(*rounds, trial=arriving, rate=101.0)


def test_no_figure_is_nan():
    assert all(math.isfinite(value) for value in figures_of(raw(window())).values())
