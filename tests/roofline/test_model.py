"""The roofline: pure functions of counts and rates."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.graph.geometry import Geometry
from ovtool.roofline import model as roofline
from ovtool.roofline.model import DeviceRates, Task
from ovtool.roofline.surface import Surface

counts = st.floats(0, 1e15)
positive_rates = st.floats(1e6, 1e15)
seconds = st.floats(0, 1)
GEOMETRY = Geometry("product", rows=8, inputs=64, outputs=64, weights=4096)


def flat(value, sizes=1):
    return Surface.fit([[4.0] * sizes, [64.0] * sizes], [value, value])


def rates_of(**changed):
    fields = {
        "peaks": {"f32": 200e9},
        "compute": {("product", "f32"): flat(100e9, 2)},
        "memory": {"elementwise": flat(10e9)},
        "stream": flat(20e9),
        "layer_s": 1e-6,
        "inference_s": 5e-6,
    }
    return DeviceRates(**(fields | changed))


def product(flops=10**9, weight_bytes=0, data_bytes=0, **changed):
    fields = {"name": "fc", "kind": "product", "precision": "f32", "geometry": GEOMETRY}
    return Task(flops=flops, weight_bytes=weight_bytes, data_bytes=data_bytes, **(fields | changed))


def limit_of(flops, moved, peak, bandwidth, overhead=0.0):
    """Time terms of a product on a device of constant rates."""
    rates = rates_of(
        peaks={"f32": peak}, memory={"elementwise": flat(bandwidth)}, layer_s=overhead, stream=None
    )
    return roofline.predict_layer(product(flops=flops, data_bytes=moved), rates, 0).limit


@given(counts, counts, positive_rates, positive_rates)
def test_total_without_overhead_is_the_larger_term(flops, moved, peak, bandwidth):
    total_s = limit_of(flops, moved, peak, bandwidth).total_s
    assert total_s == pytest.approx(max(flops / peak, moved / bandwidth), rel=1e-9)


@given(counts, counts, counts, positive_rates, positive_rates, seconds)
def test_time_grows_with_work_and_shrinks_with_rates(flops, more, moved, peak, bandwidth, overhead):
    base = limit_of(flops, moved, peak, bandwidth, overhead).total_s
    at_least, at_most = base * (1 - 1e-9), base * (1 + 1e-9)
    assert limit_of(flops + more, moved, peak, bandwidth, overhead).total_s >= at_least
    assert limit_of(flops, moved + more, peak, bandwidth, overhead).total_s >= at_least
    assert limit_of(flops, moved, 2 * peak, bandwidth, overhead).total_s <= at_most
    assert limit_of(flops, moved, peak, 2 * bandwidth, overhead).total_s <= at_most


@given(counts, counts, positive_rates, positive_rates, seconds)
def test_bound_is_the_largest_term(flops, moved, peak, bandwidth, overhead):
    limit = limit_of(flops, moved, peak, bandwidth, overhead)
    parts = {
        "compute": limit.compute_s,
        "memory": limit.memory_s,
        "overhead": limit.overhead_s,
    }
    assert parts[limit.bound] == max(parts.values())


def test_layer_is_predicted_by_its_kind_and_limited_by_the_peak():
    prediction = roofline.predict_layer(product(), rates_of(), 0)
    assert prediction.predicted_ms == pytest.approx(10 + 0.001)
    assert prediction.limit_ms == pytest.approx(5)
    assert prediction.bound == "compute"


def test_weight_bandwidth_depends_on_the_whole_model():
    stream = Surface.fit([[1e6], [1e9]], [100e9, 10e9])
    task = product(flops=1000, weight_bytes=10**6)
    alone = roofline.predict_layer(task, rates_of(stream=stream), 10**6)
    among_many = roofline.predict_layer(task, rates_of(stream=stream), 10**9)
    assert among_many.predicted_ms > 5 * alone.predicted_ms
    assert among_many.bound == "memory"


def test_memory_layer_is_predicted_from_its_bytes():
    prediction = roofline.predict_layer(
        product(0, 0, 10**7, kind="pooling", geometry=None), rates_of(), 0
    )
    assert prediction.predicted_ms == pytest.approx(1.001)
    assert prediction.bound == "memory"
    tiny = roofline.predict_layer(product(0, 0, 64, kind="pooling", geometry=None), rates_of(), 0)
    assert tiny.bound == "overhead"


def test_view_takes_no_time():
    prediction = roofline.predict_layer(
        product(0, 0, 10**7, kind="view", geometry=None), rates_of(), 0
    )
    assert prediction.predicted_ms == 0


def test_uncalibrated_precision_is_unknown():
    prediction = roofline.predict_tasks(
        [product(), product(name="other", precision="i8")], rates_of()
    )
    assert prediction.unknown == ("other",)
    assert prediction.latency_ms is None
    assert prediction.limit_ms is None
    assert [layer.task.name for layer in prediction.layers] == ["fc"]


def test_uncalibrated_kind_uses_its_substitute():
    geometry = Geometry("attention", rows=8, inputs=64, outputs=64)
    prediction = roofline.predict_layer(product(kind="attention", geometry=geometry), rates_of(), 0)
    assert prediction.predicted_ms == roofline.predict_layer(product(), rates_of(), 0).predicted_ms


def test_latency_is_the_sum_of_layers_plus_overhead():
    prediction = roofline.predict_tasks([product(), product(name="two")], rates_of())
    assert prediction.latency_ms == pytest.approx(2 * 10.001 + 0.005)
    assert prediction.limit_ms == pytest.approx(10)
    assert prediction.by_bound == {"compute": pytest.approx(2 * 10.001)}
    assert {layer.task.name for layer in prediction.layers} == {"fc", "two"}


def err(surface, error):
    return replace(surface, error=error)


def test_interval_adds_errors_linearly_within_a_kind_and_in_quadrature_between_kinds():
    known = rates_of(
        compute={("product", "f32"): err(flat(100e9, 2), 0.1)},
        memory={"elementwise": err(flat(10e9), 0.3)},
        layer_s=0.0,
        inference_s=0.0,
    )
    single = roofline.predict_tasks([product()], known).latency
    double = roofline.predict_tasks([product(), product(name="two")], known).latency
    assert single.high / single.value == pytest.approx(1 + 1.96 * 0.1, rel=1e-3)
    assert single.value / single.low == pytest.approx(1 + 1.96 * 0.1, rel=1e-3)
    assert double.high / double.value == pytest.approx(single.high / single.value)
    data = product(0, 0, 10**8, name="add", kind="elementwise", geometry=None)
    both = roofline.predict_tasks([product(), data], known).latency
    share = 1.96 * math.hypot(10 * 0.1, 10 * 0.3) / 20
    assert both.high / both.value == pytest.approx(1 + share, rel=1e-3)


def test_unknown_error_counts_as_100_percent():
    prediction = roofline.predict_tasks([product()], rates_of()).latency
    assert prediction.value == pytest.approx(10.006)
    assert prediction.high / prediction.value == pytest.approx(1 + 1.96, rel=1e-3)
    assert roofline.predict_tasks([product(precision="i8")], rates_of()).latency is None
    view = product(0, 0, 10, kind="view", geometry=None)
    alone = roofline.predict_tasks([view], rates_of()).latency
    assert alone.low == alone.value == alone.high


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_prediction_grows_with_flops_and_bytes(flops, moved):
    base = roofline.predict_layer(product(flops, moved, moved), rates_of(), 0).predicted_ms
    assert (
        roofline.predict_layer(product(2 * flops, moved, moved), rates_of(), 0).predicted_ms >= base
    )
    assert (
        roofline.predict_layer(product(flops, 2 * moved, moved), rates_of(), 0).predicted_ms >= base
    )
    assert (
        roofline.predict_layer(product(flops, moved, 2 * moved), rates_of(), 0).predicted_ms >= base
    )
