"""Predictions of a calibrated device."""

import json
from dataclasses import replace

import pytest

from ovtool import api
from ovtool.core.errors import InputError, MissingError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.trial import Trial
from ovtool.graph.runtime import Layer
from ovtool.roofline import calibration
from ovtool.roofline import predict as predicting
from tests.helpers import graphs as models
from tests.roofline.scripted import (
    QUICK,
    SPEED,
    calibrate,
    executed,
)

pytestmark = pytest.mark.usefixtures("local_workers")

SPEC = SweepSpec(**dict(QUICK), batches=[1], precisions=["f32"])


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    return models.save(tmp_path_factory.mktemp("variants") / "small", models.convolutional())


@pytest.mark.slow
def test_missing_calibration_hint_is_the_command(variant, tmp_path):
    with pytest.raises(MissingError, match="no calibration of CPU") as caught:
        api.predict(variant)
    assert caught.value.hint == "ovtool devices --calibrate --device CPU"
    with pytest.raises(MissingError, match="no calibration of CPU"):
        api.profile(variant, roofline=True, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_prediction_sums_executed_layers(variant):
    calibrate()
    result = api.predict(variant, precision="f32")
    assert result.unknown == ()
    flops = sum(layer.task.flops for layer in result.layers)
    assert flops == 2 * 32 * 256 * (3 + 32) * 9 + 2 * 10 * 32
    assert result.latency_ms > 1000 * flops / SPEED["f32"]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_uncalibrated_hint_raises(variant):
    calibrate()
    with pytest.raises(InputError, match="throughput"):
        api.profile(variant, hint="throughput", roofline=True)
