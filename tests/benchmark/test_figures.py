import math

import pytest

from ovtool.benchmark import figures
from ovtool.benchmark.session import CompiledInfo, EnergyUse, RawRound, Stretch
from ovtool.benchmark.windows import HostLoad
from ovtool.core.columns import FIGURES
from ovtool.core.measurement import Window
from ovtool.core.trial import Trial

TRIAL = Trial("v", "v", "CPU", 4)
OPENED = CompiledInfo({"threads": 2.0}, "bf16", {}, compile_ms=50.0, first_inference_ms=9.0)
HOST = HostLoad(cpus=4, usable=4, uses_cpu=True)
OTHERS = {"cpu_s": 0.1, "busy_s": 0.4, "delay_s": 0.1}
"""Counters of a window that other processes disturbed."""
QUIET = {"cpu_s": 0.2, "busy_s": 0.2, "delay_s": 0.0}


def window(ms=10.0, inferences=10, **counters):
    return Window(inferences * ms / 1000, inferences, ms, ms, **counters)


def raw(*windows, **fields):
    latencies = tuple((w.latency_mean_ms,) * w.inferences for w in windows)
    return RawRound(windows, latencies, **fields)


def summary(*rounds, trial=TRIAL, opened=OPENED, host=HOST, target_pct=2.0, rate=None):
    indexed = list(enumerate(rounds))
    return figures.summarize(trial, opened, indexed, host, target_pct, rate)


def figures_of(*rounds, **options):
    return summary(*rounds, **options).figures


def notes_of(*rounds, **options):
    return {note.id: note for note in summary(*rounds, **options).notes}


def rounds_of(count, *windows):
    return [raw(*windows) for _ in range(count)]


def test_throughput_is_samples_per_wall_time_and_latency_per_request():
    result = figures_of(raw(window(9), window(10)), raw(window(11), window(10)))
    assert result["throughput_fps"] == pytest.approx(4 * 40 / 0.4)
    assert result["throughput_fps_ci_low"] < 400 < result["throughput_fps_ci_high"]
    assert result["latency_p50_ms"] == 10
    assert result["latency_mean_ms"] == pytest.approx(10)
    assert (result["latency_min_ms"], result["latency_max_ms"]) == (9, 11)
    assert result["latency_p90_ms"] == 11
    assert result["inferences"] == 40
    assert result["measured_s"] == pytest.approx(0.4)
    assert (result["compile_cold_ms"], result["first_inference_ms"]) == (50, 9)
    assert set(result) <= FIGURES


def test_throughput_is_not_derived_from_latency():
    result = figures_of(raw(Window(0.1, 40, 10.0, 10.0)))
    assert result["throughput_fps"] == pytest.approx(4 * 400)
    assert result["latency_mean_ms"] == 10


def test_single_round_has_no_interval():
    """Windows of one round are correlated: they do not predict the next round."""
    result = summary(raw(window(), window(11)))
    assert not [name for name in result.figures if "_ci_" in name]
    assert result.verdict == "unsteady"


def test_an_interval_beyond_every_window_is_noted():
    """Three rounds of which one was slow: Student's t of two degrees reaches far."""
    rounds = [raw(window(ms, **OTHERS | {"cpu_s": ms / 60})) for ms in (6.0, 6.5, 14.0)]
    result = summary(*rounds)
    low, high = (result.figures[f"latency_p50_ms_ci_{end}"] for end in ("low", "high"))
    assert 0 < low < 6
    assert high > 14
    evidence = {n.id: n.evidence for n in result.notes}["interval-beyond-windows"]
    assert all(
        f"{name} " in evidence
        for name in (
            "throughput_fps",
            "latency_p50_ms",
            "latency_p99_ms",
            "throughput_uncontended_fps",
        )
    )
    assert "windows 6.00 to 14.0" in evidence


def test_an_interval_within_the_windows_is_not_noted():
    rounds = [raw(window(10 + (i % 3), **QUIET), window(11, **QUIET)) for i in range(9)]
    assert "interval-beyond-windows" not in notes_of(*rounds)
    assert "interval-beyond-windows" not in notes_of(raw(window(), window(11)))


@pytest.mark.parametrize(("spread", "expected"), [(0.02, "stable"), (0.2, "unsteady")])
def test_narrow_interval_is_stable(spread, expected):
    rounds = [raw(window(10 * (1 + spread * (-1) ** i), **QUIET)) for i in range(12)]
    assert summary(*rounds).verdict == expected


def test_drift_is_unsteady_even_with_a_narrow_interval():
    rounds = [raw(window(10 * (1 + 0.01 * i), **QUIET)) for i in range(12)]
    result = summary(*rounds, target_pct=4.0)
    assert result.figures["drift_pct"] < -8
    assert result.verdict == "unsteady"
    note = {n.id: n for n in result.notes}["throughput-not-stable"]
    assert note.evidence.startswith("-1")


def test_disturbed_windows_are_excluded_where_enough_are_quiet():
    disturbed = window(30.0, **OTHERS)
    rounds = rounds_of(6, window(10, **QUIET), window(10, **QUIET), disturbed)
    result = summary(*rounds)
    assert result.verdict == "stable"
    assert result.figures["throughput_fps"] == pytest.approx(400)
    assert result.figures["latency_max_ms"] == 10
    assert (result.figures["windows"], result.figures["quiet_windows"]) == (18, 12)
    assert result.rounds[0].quiet == (0, 1)
    assert len(result.rounds[0].windows) == 3, "the raw windows are kept"
    note = {n.id: n for n in result.notes}["disturbed-others"]
    assert note.evidence.startswith("6 of 18")
    assert "excluded" in note.evidence


@pytest.mark.parametrize(
    ("windows", "count"),
    [([(10, QUIET), (30, OTHERS)], 4), ([(30, OTHERS)], 12)],
    ids=["0.4 s of quiet", "none"],
)
def test_all_windows_are_included_where_too_few_are_quiet(windows, count):
    result = summary(*rounds_of(count, *(window(ms, **counters) for ms, counters in windows)))
    assert result.verdict == "contended"
    assert result.figures["latency_max_ms"] == 30
    note = {n.id: n for n in result.notes}["disturbed-others"]
    assert "included" in note.evidence


def test_quiet_windows_of_one_round_do_not_represent_a_trial():
    busy = rounds_of(6, *[window(30, **OTHERS)] * 2)
    assert summary(raw(*[window(10, **QUIET)] * 12), *busy).verdict == "contended"


@pytest.mark.parametrize(
    ("disturbed", "expected", "note_id"),
    [
        (OTHERS, "contended", "disturbed-others"),
        ({"steal_s": 0.2, "cpu_s": 0.05, "busy_s": 0.05}, "contended", "disturbed-hypervisor"),
        ({"quota_wait_s": 0.05, "cpu_s": 0.05, "busy_s": 0.05}, "throttled", "disturbed-quota"),
        ({"throttles": 2.0, **QUIET}, "throttled", "disturbed-clock"),
    ],
)
def test_verdict_follows_the_disturbance(disturbed, expected, note_id):
    result = summary(*rounds_of(8, window(10, **disturbed)))
    assert result.verdict == expected
    assert note_id in {note.id for note in result.notes}


def test_pause_is_unsteady_and_its_window_is_excluded():
    paused = Window(1.1, 10, 110.0, 1010.0, **QUIET)
    rounds = rounds_of(12, window(10, **QUIET))
    result = summary(*rounds, raw(window(10, **QUIET), paused))
    assert result.verdict == "unsteady"
    assert result.figures["latency_max_ms"] == 10
    assert {n.id: n for n in result.notes}["disturbed-paused"].evidence.startswith("1 of 14")


def test_small_contention_shows_in_the_sum_of_windows():
    """7% of the machine is below the resolution of one window, and above the limit."""
    some = {"cpu_s": 0.2, "busy_s": 0.228, "delay_s": 0.02}
    result = summary(*rounds_of(12, window(10, **some)))
    assert result.figures["quiet_windows"] == 12
    assert result.figures["others_cpu_pct"] == pytest.approx(7)
    assert result.verdict == "contended"


def test_counter_figures_are_shares():
    counters = {"cpu_s": 0.15, "busy_s": 0.16, "steal_s": 0.001, "delay_s": 0.05, "stalled_s": 0.02}
    counters |= {"switches": 3.0, "quota_wait_s": 0.0005, "clock_mhz": 3000.0}
    result = figures_of(*rounds_of(3, window(10, **counters)))
    assert result["others_cpu_pct"] == pytest.approx(100 * 0.011 / 0.4)
    assert result["steal_pct"] == pytest.approx(100 * 0.001 / 0.4)
    assert result["cpu_wait_pct"] == pytest.approx(25)
    assert result["cpu_pressure_pct"] == pytest.approx(20)
    assert result["quota_wait_pct"] == pytest.approx(100 * 0.0005 / 0.4)
    assert result["switches_hz"] == pytest.approx(30)
    assert result["clock_mhz"] == 3000


def test_coarse_clocks_give_no_negative_share():
    result = figures_of(raw(window(cpu_s=0.15, busy_s=0.14, steal_s=0.0)))
    assert result["others_cpu_pct"] == 0


@pytest.mark.parametrize("counters", [{}, {"cpu_s": 0.1}, {"busy_s": 0.1}])
def test_share_is_unknown_where_a_window_lacks_counters(counters):
    result = figures_of(raw(window(cpu_s=0.1, busy_s=0.1)), raw(window(**counters)))
    assert "others_cpu_pct" not in result


def test_uncontended_estimate_of_a_quiet_machine_is_the_throughput():
    """Two threads with a load of 90% would have the same load without other processes."""
    rounds = [raw(window(ms, cpu_s=ms / 1000 * 18, busy_s=ms / 1000 * 18)) for ms in (10, 11, 10)]
    result = figures_of(*rounds)
    assert result["throughput_uncontended_fps"] == pytest.approx(result["throughput_fps"])


def test_uncontended_estimate_of_a_busy_machine_is_by_cpu_time():
    """Two threads and 2.5 ms of CPU time per sample: 800 samples/s, independent of wall time."""
    rounds = [raw(window(ms, **OTHERS)) for ms in (10, 30, 20, 30)]
    result, notes = figures_of(*rounds), notes_of(*rounds)
    assert result["cpu_s_per_sample"] == pytest.approx(0.0025)
    assert result["throughput_uncontended_fps"] == pytest.approx(800)
    assert result["throughput_fps"] < 400
    assert "2 threads" in notes["uncontended-cpu-time"].evidence


def test_uncontended_estimate_prefers_undisturbed_stretches():
    """Threads that wait for one another spin, so CPU time is biased."""
    undisturbed = [Stretch(0.005, 1, 0.01, 0.0)] * 10
    rounds = [
        RawRound((w := window(20, **OTHERS),), ((20.0,) * w.inferences,), tuple(undisturbed))
        for _ in range(8)
    ]
    result, notes = figures_of(*rounds), notes_of(*rounds)
    assert result["throughput_uncontended_fps"] == pytest.approx(4 / 0.005)
    assert notes["uncontended-stretches"].evidence == "0.40 s undisturbed"
    assert summary(*rounds).rounds[0].undisturbed_inferences == 10


@pytest.mark.parametrize("device", ["GPU.0", "NPU", "AUTO"])
def test_other_devices_have_no_cpu_figures(device):
    trial = Trial("v", "v", device, 4)
    result = figures_of(raw(window(cpu_s=0.2)), trial=trial, host=HostLoad(4, 4, False))
    assert not {"cpu_s_per_sample", "throughput_uncontended_fps"} & set(result)


def test_unknown_threads_leave_out_the_estimate_with_a_note():
    unknown = CompiledInfo({}, None, {})
    result = figures_of(raw(window(cpu_s=0.2)), opened=unknown)
    assert "cpu_s_per_sample" in result
    assert "throughput_uncontended_fps" not in result
    assert "no-threads" in notes_of(raw(window(cpu_s=0.2)), opened=unknown)


def test_energy_is_per_sample_and_needs_every_round():
    read = raw(window(), energy=EnergyUse(2.0, 0.5, 12, "RAPL package-0"))
    result = figures_of(read, read)
    assert result["energy_mj_per_sample"] == pytest.approx(1000 * 4 / (24 * 4))
    assert result["power_w"] == pytest.approx(4)
    assert notes_of(read)["energy-source"].evidence == "RAPL package-0"
    unread = raw(window(), energy_unknown="not permitted")
    assert not {"energy_mj_per_sample", "power_w"} & figures_of(read, unread).keys()
    assert notes_of(read, unread)["no-energy"].evidence == "not permitted"


def test_peak_memory_is_the_maximum_of_the_rounds():
    rounds = [
        raw(window(), peak_rss_mib=peak, rss_growth_mib=peak - 40) for peak in (90.0, 120.0, 110.0)
    ]
    result = figures_of(*rounds)
    assert (result["peak_rss_mib"], result["rss_growth_mib"]) == (120, 80)
    assert not {"peak_rss_mib", "rss_growth_mib"} & figures_of(raw(window())).keys()


@pytest.mark.parametrize(("inferences", "few"), [(99, True), (100, False)])
def test_few_inferences_have_a_note(inferences, few):
    assert ("few-inferences" in notes_of(raw(window(1.0, inferences)))) is few


def test_rate_that_is_not_kept_has_a_note():
    arriving = Trial("v", "v", "CPU", 4, rate=200.0)
    rounds = rounds_of(4, window(10, 100))
    assert figures_of(*rounds, trial=arriving, rate=200.0)["rate_rps"] == 200
    note = notes_of(*rounds, trial=arriving, rate=200.0)["rate-not-kept"]
    assert "800" in note.evidence
    assert "400" in note.evidence
    assert "rate-not-kept" not in notes_of(*rounds, trial=arriving, rate=101.0)


def test_no_figure_is_nan():
    assert all(math.isfinite(value) for value in figures_of(raw(window())).values())
