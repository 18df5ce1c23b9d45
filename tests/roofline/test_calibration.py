"""What probes come to, and how it is stored."""

import json
import math
import re

import pytest

from ovtool.core.checksum import KEY, add_checksum
from ovtool.core.errors import InputError
from ovtool.core.statistics import Interval
from ovtool.graph.geometry import Geometry
from ovtool.roofline import calibration
from ovtool.roofline.calibration import Calibration, Overhead, Peak, ProbeMeasurement, Rate
from ovtool.roofline.model import Task

LAYER_S, INFERENCE_S = 1e-6, 10e-6
BANDWIDTH, SPEED = 10e9, 100e9


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ovtool" / "calibration"


def example(**changed):
    fields = {
        "environment": "abc",
        "machine": "a machine",
        "device": "CPU",
        "full_name": "Example CPU",
        "created": "2026-01-01T00:00:00+00:00",
        "layer": Overhead(value_s=LAYER_S),
        "inference": Overhead(value_s=INFERENCE_S, ci_low_s=0.0, ci_high_s=2 * INFERENCE_S),
        "peaks": (Peak(hint="latency", precision="f32", flops_per_s=2e11, verdict="stable"),),
        "rates": (
            rate("elementwise", "any", (1e5,), 4e10),
            rate("elementwise", "any", (1e8,), 1e10),
            rate("product", "f32", (8.0, 64.0), 1e11),
        ),
    }
    return Calibration(**(fields | changed))


def rate(kind, precision, sizes, value):
    return Rate(kind=kind, precision=precision, sizes=sizes, value=value, verdict="stable")


def interval(seconds, share=0.01):
    return Interval(seconds, seconds * (1 - share), seconds * (1 + share))


def moving(name, size, kind="elementwise"):
    return Task(name, kind, "f32", 0, 0, size)


def product(name, flops=10**8):
    return Task(name, "product", "f32", flops, 0, 1000, Geometry("product", 8, 64, 64))


def probe(kind, tasks, seconds, copies=1):
    return ProbeMeasurement(
        f"{kind} probe", kind, copies, interval(seconds), "stable", tuple(tasks)
    )


def tiny(copies):
    tasks = [Task(f"t{i}", "normalization", "f32", 0, 0, 64) for i in range(copies)]
    return probe("overhead", tasks, INFERENCE_S + copies * LAYER_S, copies)


def test_overheads_are_slope_and_what_is_left():
    layer, inference = calibration.fit_overheads([tiny(128), tiny(8)])
    assert layer.value_s == pytest.approx(LAYER_S)
    assert inference.value_s == pytest.approx(INFERENCE_S)
    assert layer.ci_low_s < LAYER_S < layer.ci_high_s
    assert calibration.fit_overheads([tiny(8)]) is None


def test_what_other_layers_of_a_probe_take_is_taken_away():
    elementwise = [
        probe("elementwise", [moving("e", size)], INFERENCE_S + LAYER_S + size / BANDWIDTH)
        for size in (10**6, 10**8)
    ]
    chain = [moving("reorder", 10**6), product("fc0"), product("fc1")]
    total_s = INFERENCE_S + 3 * LAYER_S + 10**6 / BANDWIDTH + 2 * 10**8 / SPEED
    result, left_out = calibration.compute_rates(
        [probe("product", chain, total_s), *elementwise], LAYER_S, INFERENCE_S
    )
    assert not left_out
    by_kind = {one.kind: one for one in result}
    assert by_kind["elementwise"].value == pytest.approx(BANDWIDTH)
    assert by_kind["product"].value == pytest.approx(SPEED, rel=1e-3)
    assert by_kind["product"].precision == "f32"
    assert by_kind["product"].sizes == (8, 64)
    assert by_kind["product"].ci_low < SPEED < by_kind["product"].ci_high


def test_probe_without_a_rate_is_listed_with_the_reason():
    other = Task("x", "product", "bf16", 10**8, 0, 0, Geometry("product", 8, 64, 64))
    cases = {
        "other-kind": [moving("e", 10**6)],
        "mixed-precision": [product("a"), other],
        "overhead-bound": [product("a")],
    }
    for reason, tasks in cases.items():
        measurement = probe("product", tasks, 1.2 * (INFERENCE_S + LAYER_S))
        rates, left_out = calibration.compute_rates([measurement], LAYER_S, INFERENCE_S)
        assert rates == ()
        assert left_out == (f"{measurement.name}: {calibration.NO_RATE[reason]}",)


def test_calibration_round_trips(folder):
    assert calibration.read("abc", "CPU") is None
    target = calibration.write(example())
    assert target == folder / "abc" / "CPU.json"
    assert calibration.read("abc", "CPU") == example()


def test_other_environment_or_device_has_no_calibration():
    calibration.write(example())
    assert calibration.read("abd", "CPU") is None
    assert calibration.read("abc", "GPU.0") is None


def test_file_of_another_environment_raises(folder):
    target = calibration.write(example())
    (folder / "abd").mkdir()
    target.rename(folder / "abd" / "CPU.json")
    with pytest.raises(InputError, match=r"abc.* abd") as caught:
        calibration.read("abd", "CPU")
    assert "ovtool devices --calibrate --device CPU" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"rates": [{"kind": "product"}]}, "rates.0.precision"),
        ({"more": 1}, "more"),
    ],
)
def test_file_of_another_form_raises_with_the_field(change, place):
    target = calibration.write(example())
    document = json.loads(target.read_text()) | change
    del document[KEY]
    target.write_bytes(add_checksum(json.dumps(document)))
    with pytest.raises(InputError, match=place) as caught:
        calibration.read("abc", "CPU")
    assert "\n" not in str(caught.value)


def test_edited_file_raises():
    target = calibration.write(example())
    target.write_text(target.read_text().replace("CPU", "GPU", 1))
    with pytest.raises(InputError, match=re.escape(str(target))):
        calibration.read("abc", "CPU")


def test_truncated_file_raises():
    target = calibration.write(example())
    target.write_text(target.read_text()[:100])
    with pytest.raises(InputError, match="content"):
        calibration.read("abc", "CPU")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_rate_is_positive_and_finite(value):
    with pytest.raises(ValueError, match="value"):
        rate("product", "f32", (1.0,), value)


def test_device_rates_use_the_peaks_of_the_latency_hint():
    fast = Peak(hint="throughput", precision="f32", flops_per_s=9e11, verdict="stable")
    result = example(peaks=(*example().peaks, fast)).device_rates()
    assert result.peaks == {"f32": 2e11}
    assert result.layer_s == LAYER_S
    assert set(result.compute) == {("product", "f32")}


def test_bandwidth_separates_memory_and_cache():
    memory, cache = (example().bandwidths()[level] for level in ("memory", "cache"))
    assert (memory.value, cache.value) == (1e10, 4e10)


def test_summary_counts_verdicts():
    assert example().summary == "2026-01-01T00:00:00+00:00, 3 measurements: 3 stable"
