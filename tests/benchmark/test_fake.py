"""The scripted runner."""

from dataclasses import replace

import pytest

from ovtool.benchmark.fake import FakeRunner
from ovtool.benchmark.session import TrialFailedError
from tests.benchmark.scripted import even, fails, jobs


def test_rounds_have_the_scripted_latency(tmp_path):
    (job,) = jobs(tmp_path, "a")
    result = FakeRunner(lambda _, index: 5.0 * (index + 1), noise_pct=0).open(job)
    for latency_ms in (5.0, 10.0):
        measured = result.measure(1.0)
        assert len(measured.windows) == len(measured.latencies_ms) == 2
        for window, latencies in zip(measured.windows, measured.latencies_ms, strict=True):
            assert set(latencies) == {latency_ms}
            assert window.inferences == len(latencies) == round(500 / latency_ms)
            assert window.seconds == pytest.approx(window.inferences * latency_ms / 1000)


def test_latency_rises_where_the_rate_exceeds_the_service_rate(tmp_path):
    (job,) = jobs(tmp_path, "a")
    idle, overloaded = (
        max(FakeRunner(even, seed=3).open(job).measure(2.0, rate).latencies_ms[0])
        for rate in (1.0, 400.0)
    )
    assert idle == pytest.approx(5.0, rel=1)
    assert overloaded > 500


def test_failures_are_scripted(tmp_path):
    (job,) = jobs(tmp_path, "a")
    with pytest.raises(TrialFailedError, match="no memory"):
        FakeRunner(fails("a", -1, "no memory")).open(job)
    session = FakeRunner(fails("a", 1)).open(job)
    session.measure(0.1)
    with pytest.raises(TrialFailedError, match="it died"):
        session.measure(0.1)
    with pytest.raises(TrialFailedError, match=r"in\.npz"):
        session.infer("in.npz", "out.npz")


def test_precision_follows_the_trial_and_the_cache_is_recorded(tmp_path):
    (job,) = jobs(tmp_path, "a")
    assert FakeRunner(even).open(job).info.executed_precision == "bf16"
    f32 = replace(job, trial=replace(job.trial, precision="f32"))
    info = FakeRunner(even).open(f32, tmp_path).info
    assert (info.executed_precision, info.loaded_from_cache) == ("f32", True)
