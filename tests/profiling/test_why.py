"""Explanations of real pairs of small networks with a planted cause; no test depends on speed."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ovtool import api
from ovtool.benchmark.process import ProcessSession
from ovtool.benchmark.worker_protocol import WorkerProfile
from ovtool.core.errors import InputError, MissingDeviceError
from ovtool.core.trial import Trial
from ovtool.graph.runtime import Layer
from ovtool.profiling.why import Rounds, estimate_bound, explain
from tests.helpers import graphs
from tests.helpers.slow_int8 import PLANTED, chain

QUICK = {"rounds": 3, "max_seconds": 0.5}


def add_up(explanation):
    return sum(cause.added_ms.value for cause in explanation.causes)


def unexplained(explanation):
    (cause,) = (cause for cause in explanation.causes if cause.id == "unexplained")
    return cause.added_ms.value


@pytest.fixture
def modeled_times(monkeypatch):
    """Replace the times of real layers by those of a machine without noise."""
    profile = ProcessSession.profile

    def modeled(session, seconds, rounds):
        real = profile(session, seconds, rounds)
        layers = tuple(replace(layer, time_ms=modeled_ms(layer)) for layer in real.layers)
        total = sum(layer.time_ms for layer in layers)
        return replace(real, layers=layers, latency_ms=total, others_cpu_pct=0.0)

    monkeypatch.setattr(ProcessSession, "profile", modeled)


def modeled_ms(layer):
    """The time of a layer at 50 GFLOP/s in f32, twice as many in INT8, 20 GB/s, and 5 us more."""
    work_ms = (layer.flops or 0) / (1e8 if layer.precision == "i8" else 5e7)
    moved_ms = ((layer.data_bytes or 0) + layer.weight_bytes) / 2e7
    return max(work_ms, moved_ms) + 0.005


@pytest.mark.slow
@pytest.mark.usefixtures("modeled_times")
@pytest.mark.parametrize("cause", PLANTED)
def test_the_planted_cause_is_the_first(cause, tmp_path):
    before, after = PLANTED[cause]
    a, b = graphs.save(tmp_path / "a", before()), graphs.save(tmp_path / "b", after())
    result = api.why(a, b, **QUICK)
    assert result.causes[0].id == cause, result.causes
    assert add_up(result) == pytest.approx(result.difference_ms.value)
    assert result.causes[0].layers
    assert result.rounds == 3


@pytest.mark.slow
def test_requests_in_parallel_are_a_cause_of_their_own(tmp_path):
    small = chain(8, 16, 2)
    a, b = graphs.save(tmp_path / "a", small), graphs.save(tmp_path / "b", small)
    result = api.why(a, b, streams=2, **QUICK)
    assert result.b.requests > 1
    assert result.b.load_ms is not None
    assert "parallel-requests" in [cause.id for cause in result.causes]
    assert add_up(result) == pytest.approx(result.difference_ms.value)


def profile(layers, latency_ms):
    return WorkerProfile(tuple(layers), latency_ms, latency_ms, 10, None, None, 0.0)


@pytest.fixture
def explained(tmp_path):
    """Explain invented rounds of the layers of A and B."""
    variant = graphs.save(tmp_path / "net", graphs.fully_connected())

    def run(a_rounds, b_rounds, device="CPU"):
        info = SimpleNamespace(figures={"requests": 1.0}, notes=(), executed_precision="f32")
        trials = [Trial(name, name, device, 1) for name in "ab"]
        sessions = [SimpleNamespace(info=info)] * 2
        return explain(
            trials, [variant] * 2, sessions, [Rounds(a_rounds, []), Rounds(b_rounds, [])]
        )

    return run


def conv(precision, time_ms):
    return Layer("conv", "Convolution", precision, "", 10**9, time_ms, "CPU", (), 10**6)


def test_a_bf16_reference_explains_a_small_gain(explained):
    times = (1.0, 1.01, 0.99)
    a = [profile([conv("bf16", 4 * t)], 4.2 * t) for t in times]
    b = [profile([conv("i8", 3.6 * t)], 3.8 * t) for t in times]
    result = explained(a, b)
    assert result.causes[0].id == "baseline-reduced"
    assert (result.slower, result.faster) == (False, True)
    assert add_up(result) == pytest.approx(result.difference_ms.value)
    assert unexplained(result) == pytest.approx(0.0, abs=1e-9)


def test_noise_is_no_difference(explained):
    a = [profile([conv("f32", t)], t) for t in (3.0, 4.0, 5.0)]
    b = [profile([conv("i8", t)], t) for t in (5.0, 3.1, 4.2)]
    result = explained(a, b)
    assert (result.slower, result.faster) == (False, False)
    assert not any(cause.significant for cause in result.causes)


def test_a_device_without_layers_leaves_everything_unexplained(explained):
    result = explained([profile([], 2.0)] * 3, [profile([], 3.0)] * 3, "NPU")
    assert result.slower
    assert [cause.id for cause in result.causes] == ["unexplained"]
    assert unexplained(result) == result.difference_ms.value == 1.0
    document = json.loads(json.dumps(result.to_json()))
    assert document["verdict"] == "slower"


def test_time_outside_of_the_layers_is_said_first(explained):
    a = [profile([conv("f32", 1.0)], latency) for latency in (2.0, 2.1, 1.9)]
    b = [profile([conv("i8", 1.1)], latency) for latency in (4.0, 4.1, 3.9)]
    result = explained(a, b)
    assert unexplained(result) == pytest.approx(1.9)
    assert result.causes[0].id == "unexplained"
    assert "1.90 of 2.00 ms" in result.headline


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        (Layer("a", "Softmax", "f32", "", None, 0.005, data_bytes=1000), "overhead"),
        (Layer("a", "Softmax", "f32", "", None, 0.5, data_bytes=10**7), "memory"),
        (Layer("a", "Convolution", "f32", "", 10**9, 9.0, data_bytes=10**5), "compute"),
        (Layer("a", "Convolution", "f32", "", 10**9, 9.0), None),
    ],
)
def test_without_a_calibration_sizes_and_time_decide_what_limits_a_layer(layer, bound):
    assert estimate_bound(layer, 60e9, 20e9) == bound


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"device": "NPU"}, MissingDeviceError),
        ({"hint": "fastest"}, InputError),
        ({"streams": 0}, InputError),
    ],
)
def test_an_invalid_argument_is_refused_before_measuring(tmp_path, wrong, error):
    variant = graphs.save(tmp_path / "net", graphs.fully_connected())
    with pytest.raises(error):
        api.why(variant, variant, **QUICK, **wrong)


def test_models_of_different_batches_are_not_compared(tmp_path):
    a = graphs.save(tmp_path / "a", graphs.convolutional(batch=1))
    b = graphs.save(tmp_path / "b", graphs.convolutional(batch=2))
    with pytest.raises(InputError, match="batch"):
        api.why(a, b, **QUICK)
