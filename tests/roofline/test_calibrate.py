"""Calibrating by a fake runner, and one real profile against the result."""

import json
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError, MissingDeviceError, MissingError, NothingMeasuredError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import MeasurementSettings, SweepSpec
from ovtool.core.trial import Trial
from ovtool.graph.geometry import Geometry
from ovtool.graph.runtime import Layer
from ovtool.roofline import calibration, probes
from ovtool.roofline import predict as predicting
from ovtool.roofline.probes import Probe
from tests.helpers import graphs as models

QUICK = MeasurementSettings(rounds=3, round_s=0.03, max_seconds=0.5, starts=False)
PROBES = (
    Probe(probes.OVERHEAD, 8, copies=2),
    Probe(probes.OVERHEAD, 8, copies=10),
    Probe("elementwise", 4096, copies=2),
    Probe("elementwise", 65536, copies=2),
    Probe("product", 4, 32, 32, copies=2),
    Probe("product", 16, 32, 32, copies=2),
    Probe("convolution", 8, 4, 8, kernel=3, copies=2),
)
SPEC = SweepSpec(**dict(QUICK), batches=[1], precisions=["f32"])
INFERENCE_MS, LAYER_MS = 0.02, 0.002
SPEED = {"f32": 1e9, "bf16": 2e9, "i8": 4e9}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def executed(trial):
    """The layers that a probe's name tells; each with 10^5 FLOPs or as many bytes."""
    kind, *_, copies = trial.variant_name.removesuffix("-int8").split("-")
    precision = "i8" if trial.variant_name.endswith("-int8") else trial.precision
    count = int(copies[1:])
    if kind == "product":
        rows = int(trial.variant_name.split("-")[1])
        size = Geometry("product", rows, 32, 32, weights=1024)
        return tuple(
            Layer(f"fc{i}", "FullyConnected", precision, "", 10**5, geometry=size, data_bytes=0)
            for i in range(count)
        )
    if kind == "convolution":
        size = Geometry("convolution", 64, 4, 8, 9)
        return tuple(
            Layer(f"c{i}", "Convolution", precision, "", 10**5, geometry=size, data_bytes=0)
            for i in range(count)
        )
    return tuple(Layer(f"e{i}", "Eltwise", "f32", "", data_bytes=10**5) for i in range(count))


def script(trial, _):
    if trial.precision == "f16":
        raise TrialFailedError("asked for f16, but the device would run in bf16")
    layers = executed(trial)
    own_ms = sum(
        1000 * (layer.flops / SPEED[layer.precision] if layer.flops else layer.data_bytes / 1e9)
        for layer in layers
        if not trial.variant_name.startswith(probes.OVERHEAD)
    )
    return INFERENCE_MS + LAYER_MS * len(layers) + own_ms


def calibrate(**changed):
    fields = {
        "settings": QUICK,
        "probe_list": PROBES,
        "runner": FakeRunner(script, 0.1, 0, executed),
    }
    return api.calibrate("CPU", **(fields | changed))


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


def test_unsupported_precision_is_listed_with_the_reason():
    stored = calibrate()
    assert any("f16" in reason and "would run in bf16" in reason for reason in stored.left_out)
    assert not any(rate.precision == "f16" for rate in stored.rates)


def test_product_in_another_precision_is_not_a_peak():
    def in_f32(trial):
        return tuple(
            Layer(layer.name, layer.type, "f32" if layer.geometry else layer.precision, "",
                  layer.flops, geometry=layer.geometry, data_bytes=layer.data_bytes)
            for layer in executed(trial)
        )  # fmt: skip

    stored = calibrate(runner=FakeRunner(script, 0.1, 0, in_f32))
    assert {p.precision for p in stored.peaks} == {"f32"}


def test_failing_device_stores_nothing():
    def dead(trial, _):
        raise TrialFailedError("driver broke")

    with pytest.raises(NothingMeasuredError, match="CPU") as caught:
        calibrate(runner=FakeRunner(dead))
    assert "driver broke" in caught.value.hint
    assert predicting.find_calibration("CPU") is None


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
def variant(tmp_path_factory):
    return models.save(tmp_path_factory.mktemp("variants") / "small", models.convolutional())


@pytest.fixture(scope="module")
def pointwise(tmp_path_factory):
    data = ops.parameter([1, 64, 56, 56], np.float32, name="x")
    weights = np.random.default_rng(0).normal(size=(64, 64, 1, 1)).astype(np.float32)
    node = ops.convolution(data, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = ov.Model([node], [data], "pointwise")
    return models.save(tmp_path_factory.mktemp("variants") / "pointwise", model)


def test_missing_calibration_hint_is_the_command(variant, tmp_path):
    with pytest.raises(MissingError, match="no calibration of CPU") as caught:
        api.predict(variant)
    assert caught.value.hint == "ovtool devices --calibrate --device CPU"
    with pytest.raises(MissingError, match="no calibration of CPU"):
        api.profile(variant, roofline=True, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_prediction_sums_executed_layers(variant):
    calibrate()
    result = api.predict(variant, precision="f32")
    assert result.unknown == ()
    flops = sum(layer.task.flops for layer in result.layers)
    assert flops == 2 * 32 * 256 * (3 + 32) * 9 + 2 * 10 * 32
    assert result.latency_ms > 1000 * flops / SPEED["f32"]


def test_roofline_figures_require_every_layer():
    rates = calibrate().device_rates()
    layers = executed(Trial("v", "product-4-x3", "CPU", 1, "latency", precision="f32"))
    result = predicting.roofline_figures(layers, rates)
    assert result["limit_ms"] == pytest.approx(3 * 1000 * 10**5 / SPEED["f32"], rel=0.05)
    assert result["memory_bound_pct"] == 0
    data = Layer("add", "Eltwise", "f32", "", data_bytes=10**6)
    assert 50 < predicting.roofline_figures([*layers, data], rates)["memory_bound_pct"] < 100
    other = replace(layers[0], precision="f16")
    assert predicting.roofline_figures([*layers, other], rates) == {}
    assert predicting.roofline_figures([], rates) == {}


def test_rates_are_fitted_once_per_device(monkeypatch):
    stored, fits = calibrate(), []
    real = calibration.Calibration.device_rates
    monkeypatch.setattr(
        calibration.Calibration, "device_rates", lambda self: fits.append(self.device) or real(self)
    )
    trial = Trial("v", "product-4-x3", "CPU", 1, "latency", precision="f32")

    class Session:
        def layers(self):
            return executed(trial)

    figures = predicting.TrialRooflines(stored.environment)
    assert [set(figures.of(trial, Session())[0]) for _ in range(3)] == [
        {"limit_ms", "memory_bound_pct"}
    ] * 3
    assert fits == ["CPU"]


@pytest.mark.slow
def test_sweep_rows_have_roofline_figures_on_a_calibrated_device(variant, tmp_path):
    def swept(name):
        done = api.sweep([variant], out=tmp_path / name, spec=SPEC)
        return SweepFolder(done.folder).measurements()

    assert not any("limit_ms" in row.figures for row in swept("before"))
    stored = calibrate()
    latency, throughput = swept("after")
    assert latency.figures["limit_ms"] > 0
    assert 0 <= latency.figures["memory_bound_pct"] <= 100
    assert "limit_ms" not in throughput.figures
    calibration.path(stored.environment, "CPU").write_text("{}")
    damaged, _ = swept("damaged")
    assert damaged.status == "ok"
    assert "limit_ms" not in damaged.figures
    assert "calibration-unreadable" in {note.id for note in damaged.notes}


@pytest.mark.slow
def test_profile_compares_each_layer_with_its_limit(variant, tmp_path):
    calibrate()
    out = tmp_path / "out"
    result = api.profile(variant, precision="f32", seconds=0.05, roofline=True, out=out)
    figures = result.roofline
    assert set(figures.layers) == {layer.name for layer in result.layers}
    convolution = figures.layers["conv1"]
    assert convolution.limit_ms == pytest.approx(
        1000 * 2 * 32 * 256 * 32 * 9 / SPEED["f32"], rel=0.1
    )
    assert convolution.bound == "compute"
    assert convolution.intensity > 1
    assert figures.latency_ms > figures.limit_ms > 0
    document = json.loads((out / "profile.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(result.to_json()))
    assert document["roofline"]["peaks"]["f32"] == pytest.approx(1, rel=0.05)
    assert "predicted_ms" in (out / "layers.csv").read_text(encoding="utf-8").splitlines()[0]
    assert (out / "charts" / "roofline.svg").is_file()


def test_uncalibrated_hint_raises(variant):
    calibrate()
    with pytest.raises(InputError, match="throughput"):
        api.profile(variant, hint="throughput", roofline=True)


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
