"""The roofline: pure functions of counts and rates."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.graph.geometry import Geometry
from ovtool.roofline import model as roofline
from ovtool.roofline.model import Roofs, Task
from ovtool.roofline.surface import Surface

counts = st.floats(0, 1e15)
rates = st.floats(1e6, 1e15)
seconds = st.floats(0, 1)
GEOMETRY = Geometry("product", rows=8, inputs=64, outputs=64, weights=4096)


def flat(value, sizes=1):
    return Surface.fit([[4.0] * sizes, [64.0] * sizes], [value, value])


def roofs(**changed):
    fields = {
        "peaks": {"f32": 200e9},
        "computing": {("product", "f32"): flat(100e9, 2)},
        "moving": {"elementwise": flat(10e9)},
        "stream": flat(20e9),
        "layer_s": 1e-6,
        "inference_s": 5e-6,
    }
    return Roofs(**(fields | changed))


def product(flops=10**9, weight_bytes=0, data_bytes=0, **changed):
    fields = {"name": "fc", "kind": "product", "precision": "f32", "geometry": GEOMETRY}
    return Task(flops=flops, weight_bytes=weight_bytes, data_bytes=data_bytes, **(fields | changed))


@given(counts, counts, rates, rates)
def test_without_overhead_it_is_the_larger_of_the_two(flops, moved, peak, bandwidth):
    found = roofline.terms(flops, moved, peak, bandwidth)
    assert found.total_s == max(flops / peak, moved / bandwidth)


@given(counts, counts, counts, rates, rates, seconds)
def test_more_work_never_takes_less(flops, more, moved, peak, bandwidth, overhead):
    base = roofline.terms(flops, moved, peak, bandwidth, overhead).total_s
    assert roofline.terms(flops + more, moved, peak, bandwidth, overhead).total_s >= base
    assert roofline.terms(flops, moved + more, peak, bandwidth, overhead).total_s >= base
    assert roofline.terms(flops, moved, 2 * peak, bandwidth, overhead).total_s <= base
    assert roofline.terms(flops, moved, peak, 2 * bandwidth, overhead).total_s <= base


@given(counts, counts, rates, rates, seconds)
def test_the_bound_is_the_largest_part(flops, moved, peak, bandwidth, overhead):
    found = roofline.terms(flops, moved, peak, bandwidth, overhead)
    parts = {"compute": found.compute_s, "memory": found.memory_s, "overhead": found.overhead_s}
    assert parts[found.bound] == max(parts.values())


@pytest.mark.parametrize(
    "wrong",
    [(-1, 0, 1, 1, 0), (0, -1, 1, 1, 0), (0, 0, 0, 1, 0), (0, 0, 1, 0, 0), (0, 0, 1, 1, -1)],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"not negative|above 0"):
        roofline.terms(*wrong)


def test_a_layer_is_told_by_its_kind_and_limited_by_the_peak():
    found = roofline.layer(product(), roofs(), 0)
    assert found.predicted_ms == pytest.approx(10 + 0.001)
    assert found.limit_ms == pytest.approx(5)
    assert found.bound == "compute"


def test_weights_are_read_at_the_speed_of_all_weights():
    stream = Surface.fit([[1e6], [1e9]], [100e9, 10e9])
    task = product(flops=1000, weight_bytes=10**6)
    alone = roofline.layer(task, roofs(stream=stream), 10**6)
    among_many = roofline.layer(task, roofs(stream=stream), 10**9)
    assert among_many.predicted_ms > 5 * alone.predicted_ms
    assert among_many.bound == "memory"


def test_a_layer_without_arithmetic_takes_the_time_of_its_bytes():
    found = roofline.layer(product(0, 0, 10**7, kind="pooling", geometry=None), roofs(), 0)
    assert found.predicted_ms == pytest.approx(1.001)
    assert found.bound == "memory"
    tiny = roofline.layer(product(0, 0, 64, kind="pooling", geometry=None), roofs(), 0)
    assert tiny.bound == "overhead"


def test_a_view_costs_nothing():
    found = roofline.layer(product(0, 0, 10**7, kind="view", geometry=None), roofs(), 0)
    assert found.predicted_ms == 0


def test_a_precision_that_was_not_calibrated_is_unknown_not_zero():
    found = roofline.predict([product(), product(name="other", precision="i8")], roofs())
    assert found.unknown == ("other",)
    assert found.latency_ms is None
    assert found.limit_ms is None
    assert [one.task.name for one in found.layers] == ["fc"]


def test_a_kind_that_was_not_calibrated_is_taken_as_one_like_it():
    geometry = Geometry("attention", rows=8, inputs=64, outputs=64)
    told = roofline.layer(product(kind="attention", geometry=geometry), roofs(), 0)
    assert told.predicted_ms == roofline.layer(product(), roofs(), 0).predicted_ms


def test_the_whole_is_the_sum_and_an_overhead():
    found = roofline.predict([product(), product(name="two")], roofs())
    assert found.latency_ms == pytest.approx(2 * 10.001 + 0.005)
    assert found.limit_ms == pytest.approx(10)
    assert found.by_bound == {"compute": pytest.approx(2 * 10.001)}
    assert set(found.by_name) == {"fc", "two"}


def err(surface, error):
    return replace(surface, error=error)


def test_how_sure_a_prediction_is():
    """Layers of one kind err together, and kinds on their own."""
    known = roofs(
        computing={("product", "f32"): err(flat(100e9, 2), 0.1)},
        moving={"elementwise": err(flat(10e9), 0.3)},
        layer_s=0.0,
        inference_s=0.0,
    )
    one = roofline.predict([product()], known).latency
    two = roofline.predict([product(), product(name="two")], known).latency
    assert one.high / one.value == pytest.approx(1 + 1.96 * 0.1, rel=1e-3)
    assert one.value / one.low == pytest.approx(1 + 1.96 * 0.1, rel=1e-3)
    assert two.high / two.value == pytest.approx(one.high / one.value)
    data = product(0, 0, 10**8, name="add", kind="elementwise", geometry=None)
    both = roofline.predict([product(), data], known).latency
    share = 1.96 * math.hypot(10 * 0.1, 10 * 0.3) / 20
    assert both.high / both.value == pytest.approx(1 + share, rel=1e-3)


def test_too_few_measurements_may_err_by_all_that_they_say():
    found = roofline.predict([product()], roofs()).latency
    assert found.value == pytest.approx(10.006)
    assert found.high / found.value == pytest.approx(1 + 1.96, rel=1e-3)
    assert roofline.predict([product(precision="i8")], roofs()).latency is None
    view = product(0, 0, 10, kind="view", geometry=None)
    alone = roofline.predict([view], roofs()).latency
    assert alone.low == alone.value == alone.high


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_prediction_grows_with_flops_and_bytes(flops, moved):
    base = roofline.layer(product(flops, moved, moved), roofs(), 0).predicted_ms
    assert roofline.layer(product(2 * flops, moved, moved), roofs(), 0).predicted_ms >= base
    assert roofline.layer(product(flops, 2 * moved, moved), roofs(), 0).predicted_ms >= base
    assert roofline.layer(product(flops, moved, 2 * moved), roofs(), 0).predicted_ms >= base
