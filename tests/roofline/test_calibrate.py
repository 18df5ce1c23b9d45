"""Calibration by a scripted device, and by the real CPU."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError, MissingDeviceError, NothingMeasuredError
from ovtool.graph.runtime import Layer
from ovtool.roofline import calibration, probes
from ovtool.roofline import predict as predicting
from ovtool.roofline.probes import Probe
from tests.helpers import graphs as models
from tests.roofline.scripted import (
    INFERENCE_MS,
    LAYER_MS,
    PROBES,
    QUICK,
    SPEED,
    calibrate,
    executed,
    script,
)


@pytest.mark.slow
def test_calibration_recovers_scripted_rates_and_is_stored():
    stored = calibrate()
    assert stored.layer.value_s == pytest.approx(LAYER_MS / 1000, rel=0.05)
    assert stored.inference.value_s == pytest.approx(INFERENCE_MS / 1000, rel=0.05)
    speeds = {(r.kind, r.precision): r.value for r in stored.rates}
    for precision, speed in SPEED.items():
        assert speeds["product", precision] == pytest.approx(speed, rel=0.02)
        assert speeds["convolution", precision] == pytest.approx(speed, rel=0.02)
    assert speeds["elementwise", "any"] == pytest.approx(1e9, rel=0.02)
    assert {(p.hint, p.precision) for p in stored.peaks} == {
        (hint, precision) for hint in ("latency", "throughput") for precision in SPEED
    }
    assert predicting.find_calibration("CPU") == stored
    assert calibration.path(stored.environment, "CPU").is_file()


@pytest.mark.slow
def test_unsupported_precision_is_listed_with_the_reason():
    stored = calibrate()
    assert any("f16" in reason and "would run in bf16" in reason for reason in stored.left_out)
    assert not any(rate.precision == "f16" for rate in stored.rates)


@pytest.mark.slow
def test_product_in_another_precision_is_not_a_peak():
    def in_f32(trial):
        return tuple(
            Layer(layer.name, layer.type, "f32" if layer.geometry else layer.precision, "",
                  layer.flops, geometry=layer.geometry, data_bytes=layer.data_bytes)
            for layer in executed(trial)
        )  # fmt: skip

    stored = calibrate(runner=FakeRunner(script, 0.1, 0, in_f32))
    assert {p.precision for p in stored.peaks} == {"f32"}


@pytest.mark.slow
def test_failing_device_stores_nothing():
    def dead(trial, _):
        raise TrialFailedError("driver broke")

    with pytest.raises(NothingMeasuredError, match="CPU") as caught:
        calibrate(runner=FakeRunner(dead))
    assert "driver broke" in caught.value.hint
    assert predicting.find_calibration("CPU") is None


@pytest.mark.slow
def test_device_without_runtime_graph_raises():
    with pytest.raises(NothingMeasuredError):
        calibrate(runner=FakeRunner(script, 0.1, 0))


@pytest.mark.parametrize(
    ("device", "error"),
    [("AUTO:CPU", InputError), ("XPU", InputError), ("NPU", MissingDeviceError)],
)
def test_unsuitable_device_raises(device, error):
    with pytest.raises(error, match=device):
        api.calibrate(device)


@pytest.fixture(scope="module")
def pointwise(tmp_path_factory):
    data = ops.parameter([1, 64, 56, 56], np.float32, name="x")
    weights = np.random.default_rng(0).normal(size=(64, 64, 1, 1)).astype(np.float32)
    node = ops.convolution(data, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = ov.Model([node], [data], "pointwise")
    return models.save(tmp_path_factory.mktemp("variants") / "pointwise", model)


@pytest.mark.slow
def test_real_device_is_calibrated(pointwise):
    # Long enough to be more than overhead beside others who take the CPU.
    long = (
        Probe("elementwise", 1 << 22, copies=2),
        Probe(probes.REORDER, 192, copies=1),
        Probe("pointwise", 56, 64, 64, copies=4),
        Probe("stem", 64, 3, 32, 3, copies=2),
    )
    probe_list = (*PROBES, *long)
    stored = api.calibrate("CPU", settings=QUICK, probe_list=probe_list, precisions=["f32", "i8"])
    peaks = {(p.hint, p.precision) for p in stored.peaks}
    assert {("latency", "f32"), ("throughput", "f32"), ("latency", "i8")} <= peaks
    assert all(rate.precision in ("f32", "i8", "any") for rate in stored.rates)
    assert len(stored.rates) + len(stored.left_out) >= len(probe_list) - 2, (
        "what figures nothing is named"
    )
    known = {(rate.kind, rate.precision) for rate in stored.rates}
    assert {("pointwise", "f32"), ("stem", "f32")} <= known, stored.left_out
    result = api.predict(pointwise, precision="f32")
    assert result.latency_ms > 0, result


def test_emulated_device_is_not_calibrated(monkeypatch):
    """Without a calibration, an emulated device has no roofline figures in a sweep."""
    monkeypatch.setattr("ovtool.roofline.calibrate.find_caveats", dict.fromkeys)
    with pytest.raises(InputError, match="CPU"):
        calibrate()
    assert predicting.find_calibration("CPU") is None
