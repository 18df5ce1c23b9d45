import math

import pytest

from ovtool.columns import FIGURES
from ovtool.measure import figures
from ovtool.measure.session import Opened, RawRound
from ovtool.results import Window
from ovtool.trial import Trial

TRIAL = Trial("v", "v", "CPU", 4)
OPENED = Opened({"threads": 2.0, "compile_cold_ms": 50.0}, "bf16", {})


def window(ms=10.0, inferences=10, **counters):
    return Window(inferences * ms / 1000, inferences, ms, ms, **counters)


def raw(*windows, **told):
    latencies = tuple((w.latency_mean_ms,) * w.inferences for w in windows)
    return RawRound(windows, latencies, **told)


def figures_of(*rounds, trial=TRIAL, opened=OPENED, cpus=4):
    return figures.figures(trial, opened, rounds, cpus)


def test_throughput_is_samples_by_wall_time_and_latency_is_of_a_request():
    found, _ = figures_of(raw(window(9), window(10)), raw(window(11), window(10)))
    assert found["throughput_fps"] == pytest.approx(4 * 40 / 0.4)
    assert found["throughput_fps_ci_low"] < 400 < found["throughput_fps_ci_high"]
    assert found["latency_p50_ms"] == 10
    assert found["latency_mean_ms"] == pytest.approx(10)
    assert (found["latency_min_ms"], found["latency_max_ms"]) == (9, 11)
    assert found["latency_p90_ms"] == 11
    assert found["inferences"] == 40
    assert found["measured_s"] == pytest.approx(0.4)
    assert found["compile_cold_ms"] == 50
    assert set(found) <= FIGURES


def test_requests_side_by_side_are_not_derived_from_latency():
    found, _ = figures_of(raw(Window(0.1, 40, 10.0, 10.0)))
    assert found["throughput_fps"] == pytest.approx(4 * 400)
    assert found["latency_mean_ms"] == 10


def test_a_single_window_has_no_interval():
    found, _ = figures_of(raw(window()))
    assert not [name for name in found if "_ci_" in name]
    assert figures.verdict(found, 2.0) == "unsteady"


def test_the_share_of_others_is_busy_and_stolen_time_that_is_not_our_own():
    windows = [window(cpu_s=0.15, busy_s=0.20, steal_s=0.03)] * 3
    assert figures.others_cpu_pct(windows, cpus=4) == pytest.approx(100 * 0.08 / 0.4)
    assert figures.others_cpu_pct(windows, cpus=2) == pytest.approx(100 * 0.08 / 0.2)


def test_clocks_that_tick_coarsely_make_no_negative_share():
    assert figures.others_cpu_pct([window(cpu_s=0.15, busy_s=0.14, steal_s=0.0)], 4) == 0


@pytest.mark.parametrize("counters", [{}, {"cpu_s": 0.1}, {"busy_s": 0.1}])
def test_the_share_of_others_is_unknown_without_counters(counters):
    assert figures.others_cpu_pct([window(cpu_s=0.1, busy_s=0.1), window(**counters)], 4) is None
    found, _ = figures_of(raw(window(**counters)))
    assert "others_cpu_pct" not in found


@pytest.mark.parametrize(
    ("others", "half_width", "expected"),
    [
        (0.0, 1.9, "stable"),
        (4.9, 1.9, "stable"),
        (0.0, 2.1, "unsteady"),
        (5.1, 0.1, "contended"),
        (5.1, 9.0, "contended"),
        (None, 1.0, "stable"),
    ],
)
def test_the_verdict(others, half_width, expected):
    found = {
        "throughput_fps": 100.0,
        "throughput_fps_ci_low": 100.0 - half_width,
        "throughput_fps_ci_high": 100.0 + half_width,
    }
    if others is not None:
        found["others_cpu_pct"] = others
    assert figures.verdict(found, 2.0) == expected


def test_the_uncontended_estimate_comes_from_cpu_time():
    """Two threads, 5 ms of CPU time a sample: 400 samples a second, whatever the clock says."""
    slow = [window(ms, cpu_s=0.2) for ms in (10, 30, 20, 40)]
    found, _ = figures_of(raw(*slow))
    assert found["cpu_s_per_sample"] == pytest.approx(0.005)
    assert found["throughput_uncontended_fps"] == pytest.approx(400)
    assert found["throughput_uncontended_fps_ci_low"] == pytest.approx(400)
    assert found["throughput_fps"] < 400


@pytest.mark.parametrize("device", ["GPU.0", "NPU", "AUTO"])
def test_cpu_time_says_nothing_of_another_device(device):
    found, _ = figures_of(raw(window(cpu_s=0.2)), trial=Trial("v", "v", device, 4))
    assert not {"cpu_s_per_sample", "throughput_uncontended_fps"} & set(found)


def test_without_threads_there_is_no_estimate_and_a_note_says_so():
    found, notes = figures_of(raw(window(cpu_s=0.2)), opened=Opened({}, None, {}))
    assert "cpu_s_per_sample" in found
    assert "throughput_uncontended_fps" not in found
    assert "no-threads" in {note.id for note in notes}


def test_energy_is_of_a_sample_and_needs_every_round():
    read = raw(window(), energy_j=2.0)
    found, _ = figures_of(read, read)
    assert found["energy_mj_per_sample"] == pytest.approx(1000 * 4 / (20 * 4))
    found, notes = figures_of(read, raw(window(), energy_unknown="not permitted"))
    assert "energy_mj_per_sample" not in found
    assert ("no-energy", "not permitted") in {(note.id, note.evidence) for note in notes}


def test_the_peak_is_the_greatest_of_the_rounds():
    rounds = raw(window(), peak_rss_mib=90.0), raw(window(), peak_rss_mib=120.0), raw(window())
    assert figures_of(*rounds)[0]["peak_rss_mib"] == 120
    assert "peak_rss_mib" not in figures_of(raw(window()))[0]


@pytest.mark.parametrize(("inferences", "few"), [(99, True), (100, False)])
def test_few_inferences_are_noted(inferences, few):
    _, notes = figures_of(raw(window(1.0, inferences)))
    assert ("few-inferences" in {note.id for note in notes}) is few


def test_no_figure_is_nan():
    found, _ = figures_of(raw(window()))
    assert all(math.isfinite(value) for value in found.values())
