"""What probes come to, and how it is stored."""

import json
import math

import pytest

from ovtool.core.errors import InputError
from ovtool.core.statistics import Interval
from ovtool.graph.geometry import Geometry
from ovtool.roofline import calibration, probes
from ovtool.roofline.calibration import Calibration, Overhead, Peak, Probed, Rate
from ovtool.roofline.model import COMPUTING, Task

LAYER_S, INFERENCE_S = 1e-6, 10e-6
BANDWIDTH, SPEED = 10e9, 100e9


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ovtool" / "calibration"


def made(**changed):
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


def probed(kind, tasks, seconds, copies=1):
    return Probed(f"{kind} probe", kind, copies, interval(seconds), "stable", tuple(tasks))


def tiny(copies):
    tasks = [Task(f"t{i}", "normalization", "f32", 0, 0, 64) for i in range(copies)]
    return probed("overhead", tasks, INFERENCE_S + copies * LAYER_S, copies)


def test_overheads_are_slope_and_what_is_left():
    layer, inference = calibration.overheads([tiny(128), tiny(8)])
    assert layer.value_s == pytest.approx(LAYER_S)
    assert inference.value_s == pytest.approx(INFERENCE_S)
    assert layer.ci_low_s < LAYER_S < layer.ci_high_s
    assert calibration.overheads([tiny(8)]) is None


def test_what_other_layers_of_a_probe_take_is_taken_away():
    elementwise = [
        probed("elementwise", [moving("e", size)], INFERENCE_S + LAYER_S + size / BANDWIDTH)
        for size in (10**6, 10**8)
    ]
    chain = [moving("reorder", 10**6), product("fc0"), product("fc1")]
    total_s = INFERENCE_S + 3 * LAYER_S + 10**6 / BANDWIDTH + 2 * 10**8 / SPEED
    found, left_out = calibration.rates(
        [probed("product", chain, total_s), *elementwise], LAYER_S, INFERENCE_S
    )
    assert not left_out
    by_kind = {one.kind: one for one in found}
    assert by_kind["elementwise"].value == pytest.approx(BANDWIDTH)
    assert by_kind["product"].value == pytest.approx(SPEED, rel=1e-3)
    assert by_kind["product"].precision == "f32"
    assert by_kind["product"].sizes == (8, 64)
    assert by_kind["product"].ci_low < SPEED < by_kind["product"].ci_high


def test_a_probe_that_tells_nothing_is_named_with_why():
    other = Task("x", "product", "bf16", 10**8, 0, 0, Geometry("product", 8, 64, 64))
    cases = {
        "the device runs it as something else": [moving("e", 10**6)],
        "its layers run in several precisions": [product("a"), other],
        "too little of its time": [product("a")],
    }
    for why, tasks in cases.items():
        found, left_out = calibration.rates(
            [probed("product", tasks, 1.2 * (INFERENCE_S + LAYER_S))], LAYER_S, INFERENCE_S
        )
        assert found == ()
        assert why in left_out[0]


def test_it_is_read_back_as_it_was_written(folder):
    assert calibration.read("abc", "CPU") is None
    target = calibration.write(made())
    assert target == folder / "abc" / "CPU.json"
    assert calibration.read("abc", "CPU") == made()


def test_another_environment_or_device_has_none():
    calibration.write(made())
    assert calibration.read("abd", "CPU") is None
    assert calibration.read("abc", "GPU.0") is None


def test_a_file_of_another_environment_is_refused(folder):
    target = calibration.write(made())
    (folder / "abd").mkdir()
    target.rename(folder / "abd" / "CPU.json")
    with pytest.raises(InputError, match="is of CPU in environment abc, not of CPU in abd") as one:
        calibration.read("abd", "CPU")
    assert "ovtool devices --calibrate --device CPU" in one.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"rates": [{"kind": "product"}]}, "rates.0.precision"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_file_is_refused_with_where(change, said):
    target = calibration.write(made())
    target.write_text(json.dumps(json.loads(target.read_text()) | change))
    with pytest.raises(InputError, match=said) as one:
        calibration.read("abc", "CPU")
    assert "\n" not in str(one.value)


def test_a_torn_file_is_refused():
    target = calibration.write(made())
    target.write_text(target.read_text()[:100])
    with pytest.raises(InputError, match="content"):
        calibration.read("abc", "CPU")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_rate_is_positive_and_finite(value):
    with pytest.raises(ValueError, match="value"):
        rate("product", "f32", (1.0,), value)


def test_roofs_have_the_peaks_of_the_latency_hint():
    fast = Peak(hint="throughput", precision="f32", flops_per_s=9e11, verdict="stable")
    found = made(peaks=(*made().peaks, fast)).roofs()
    assert found.peaks == {"f32": 2e11}
    assert found.layer_s == LAYER_S
    assert set(found.computing) == {("product", "f32")}


def test_memory_and_cache_are_told_apart():
    memory, cache = made().bandwidth()
    assert (memory.value, cache.value) == (1e10, 4e10)


def test_the_summary_says_how_the_measuring_went():
    assert made().summary == "2026-01-01T00:00:00+00:00, 3 measurements: 3 stable"


def test_every_kind_has_probes_of_unlike_names():
    found = probes.probes()
    names = [probe.name for probe in found]
    assert len(set(names)) == len(names)
    assert {probe.kind for probe in found} >= set(COMPUTING)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", dict.fromkeys(probe.kind for probe in probes.probes()))
def test_probes_are_networks_of_their_kind(kind, int8):
    from ovtool.graph import geometry

    small = min((p for p in probes.probes() if p.kind == kind), key=lambda p: p.rows)
    found = geometry.geometries(small.build(int8=int8))
    own = [one for name, one in found.items() if not name.startswith(probes.SINK)]
    counted = [one for one in own if one.kind == ("product" if kind == "stream" else kind)]
    if kind in (*COMPUTING, "stream"):
        assert len(counted) == small.copies
    elif kind != probes.REORDER:
        assert not found


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_what_branches_compute_is_not_converted_whole(precision):
    """What follows the last convolution would stay in f32: a copy of each branch's output."""
    import openvino as ov

    from ovtool.graph import runtime_layers as layers
    from ovtool.graph.flops import work

    model = probes.Probe("pointwise", 8, 16, 32, copies=12).build()
    asked = {"INFERENCE_PRECISION_HINT": precision}
    found = layers.executed(ov.Core().compile_model(model, "CPU", asked), work(model))
    assert sum(one.type == "Convolution" for one in found) == 1 + 12 + 1
    assert sum(one.type in ("Reorder", "Convert") for one in found) <= 3
    kept = {one.precision for one in found if one.type in ("Convolution", "Pooling")}
    assert len(kept) == 1


@pytest.mark.parametrize("width", [64, 512, 2048])
def test_the_weights_of_products_stay_in_a_cache(width):
    (one,) = (p for p in probes.probes() if (p.kind, p.rows, p.inputs) == ("product", 1, width))
    assert one.copies == 1 or one.copies * width * width * 4 <= 8e6
