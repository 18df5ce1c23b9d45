"""Real models in real processes.  Nothing here depends on how fast the machine is."""

import contextlib

import numpy as np
import openvino as ov
import psutil
import pytest

from ovtool.benchmark import jobs
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.columns import FIGURES
from ovtool.core.trial import Trial
from ovtool.devices import rules
from tests.helpers.graphs import embedding, save

BATCH = 16


@pytest.fixture(scope="module")
def session(opened, conv):
    return opened(conv, batch=BATCH, precision="f32")


@pytest.fixture(scope="module")
def raw(session):
    return session.measure(0.4)


def test_compiling_tells_what_it_took_and_what_it_runs_in(session):
    told = session.opened
    assert set(told.figures) <= FIGURES
    assert told.compile_ms > 0
    assert told.first_inference_ms > 0
    assert told.loaded_from_cache is False
    assert told.figures["usable_cpus"] >= 1
    assert (told.figures["streams"], told.figures["requests"]) == (1, 1)
    assert told.figures["threads"] >= 1
    assert told.executed_precision == "f32"
    layers = {note.id: note.evidence for note in told.notes}["executed-layers"]
    assert layers == "f32 100 % of FLOPs"
    flops = 2 * 32 * 256 * (3 + 32) * 9 + 2 * 10 * 32
    assert told.figures["gflops"] == pytest.approx(flops / 1e9), "of a sample, whatever the batch"
    assert told.figures["flops_f32_pct"] == 100
    assert told.figures["flops_i8_pct"] == 0
    assert told.properties["INFERENCE_PRECISION_HINT"] == "f32"


def test_what_lies_in_the_current_folder_is_not_run(opened, conv, tmp_path, monkeypatch):
    for name in ("json", "numpy", "openvino", "ovtool"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran what lay here')")
    monkeypatch.chdir(tmp_path)
    assert opened(conv, batch=1).opened.compile_ms > 0


def test_a_round_has_whole_windows(raw):
    assert len(raw.windows) == len(raw.latencies_ms) >= 2
    for window, latencies in zip(raw.windows, raw.latencies_ms, strict=True):
        assert window.inferences == len(latencies)
        assert window.latency_mean_ms == pytest.approx(np.mean(latencies))
        assert window.latency_max_ms == max(latencies)
        assert min(latencies) > 0
    assert sum(w.seconds for w in raw.windows) <= 0.4 + raw.windows[-1].latency_max_ms
    assert raw.peak_rss_mib > 20


def test_memory_grows_with_the_model(raw):
    assert 0 < raw.rss_growth_mib < raw.peak_rss_mib


@pytest.mark.slow
def test_a_start_from_the_cache_is_told_from_one_without(conv, tmp_path):
    trial = Trial(conv.id, conv.name, "CPU", 1)
    job = jobs.build_job(trial, conv, rules.trial_properties(trial))
    runner = ProcessRunner(timeout_s=60)
    with contextlib.closing(runner.open(job)) as cold:
        assert cold.opened.loaded_from_cache is False
        assert cold.save_cache(tmp_path) > 0
        assert list(tmp_path.iterdir())
        assert cold.measure(0.05).windows, "it still measures"
    with contextlib.closing(runner.open(job, tmp_path, warm_up=False)) as cached:
        assert cached.opened.loaded_from_cache is True
        assert cached.opened.compile_ms > 0


@pytest.mark.slow
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_requests_may_arrive_at_a_rate(opened, conv, hint):
    raw = opened(conv, hint=hint).measure(0.6, 200.0)
    inferences = sum(w.inferences for w in raw.windows)
    due = 200 * sum(w.seconds for w in raw.windows)
    assert abs(inferences - due) < 5 * due**0.5
    assert raw.stretches == ()


def test_stretches_of_one_request_at_a_time_are_short(session):
    raw = session.measure(0.3)
    assert sum(s.inferences for s in raw.stretches) == sum(w.inferences for w in raw.windows)
    assert len(raw.stretches) > len(raw.windows)


@pytest.mark.slow
def test_the_peak_memory_is_not_that_of_the_process_that_started_it(opened, conv):
    held = np.ones(500 * 2**20, np.uint8)
    ours_mib = psutil.Process().memory_info().rss / 2**20
    peak_mib = opened(conv, batch=1).measure(0.01).peak_rss_mib
    assert 20 < peak_mib < min(ours_mib, held.nbytes / 2**20)


def test_one_request_in_flight_is_throughput_times_latency(raw):
    seconds = sum(w.seconds for w in raw.windows)
    requests = sum(w.inferences for w in raw.windows)
    busy = sum(sum(latencies) for latencies in raw.latencies_ms) / 1000
    assert 0.5 < busy / seconds <= 1.01, "latency is a request's, and requests do not overlap"
    samples_a_second = requests * BATCH / seconds
    mean_latency_s = busy / requests
    assert 0.5 * BATCH < samples_a_second * mean_latency_s < 1.01 * BATCH


def test_the_counters_are_of_the_window(raw):
    for window in raw.windows:
        assert window.cpu_s > 0
        assert window.busy_s >= 0
        assert window.steal_s >= 0
        assert window.delay_s is None or window.delay_s >= 0
    assert raw.energy is not None or raw.energy_unknown


@pytest.mark.slow
def test_several_requests_are_in_flight_at_once(opened, conv):
    session = opened(conv, batch=BATCH, hint=None, streams=1, requests=4)
    assert session.opened.figures["requests"] == 4
    raw = session.measure(0.4)
    seconds = sum(w.seconds for w in raw.windows)
    busy = sum(sum(latencies) for latencies in raw.latencies_ms) / 1000
    assert 1.5 < busy / seconds < 4.5


def test_the_throughput_hint_takes_as_many_requests_as_the_device_likes(opened, conv):
    session = opened(conv, hint="throughput")
    best = ov.Core().compile_model(conv.xml, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    wanted = best.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    assert session.opened.figures["requests"] == wanted
    assert session.measure(0.1).windows


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 3])
def test_it_infers_what_openvino_infers(session, conv, tmp_path, count):
    """A last request that is not full is filled up, and what fills it is left out."""
    rows = np.random.default_rng(count).standard_normal((count, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=rows)
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert list(found) == ["arr_0"]
        scores = found["arr_0"]
    exact = ov.Core().compile_model(conv.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(scores, exact(rows)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_request_carries_the_inputs_that_were_given(opened, dense, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((2, 64), np.float32))
    assert opened(dense, batch=2, inputs=tmp_path / "in.npz").measure(0.05).windows
    for wrong in ({"x": np.ones((3, 64))}, {"y": np.ones((2, 64))}):
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(TrialFailedError, match=r"ValueError|KeyError"):
            opened(dense, batch=2, inputs=tmp_path / "wrong.npz")


def test_profiling_leaves_the_session_as_it_was(session):
    told = session.profile(0.05)
    assert {"conv0", "conv1"} <= {layer.name for layer in told.layers}
    assert told.flops == pytest.approx(BATCH * session.opened.figures["gflops"] * 1e9)
    assert told.attributed == 1
    assert told.inferences >= 3
    assert session.measure(0.05).windows


@pytest.mark.parametrize("device", ["AUTO:CPU", "HETERO:CPU"])
def test_a_virtual_device_runs(opened, dense, device):
    session = opened(dense, device=device)
    assert session.measure(0.05).windows
    assert session.opened.ran_on == "CPU"
    assert not [n for n in session.opened.notes if n.id == "device-fallback"]


@pytest.mark.parametrize("device", ["XPU", "GPU.7", "NPU.7"])
@pytest.mark.usefixtures("no_process_left")
def test_a_device_that_is_not_there_is_one_readable_line(opened, dense, device):
    with pytest.raises(TrialFailedError) as caught:
        opened(dense, device=device)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) <= 500
    assert device != "XPU" or "pip install" in said


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "no weights"])
@pytest.mark.usefixtures("no_process_left")
def test_a_model_that_cannot_be_read_is_one_readable_line(opened, dense, tmp_path, damage):
    copy = type(dense)(tmp_path, dense.record)
    if damage != "missing":
        content = dense.xml.read_bytes()
        copy.xml.write_bytes({"empty": b"", "truncated": content[:900]}.get(damage, content))
    with pytest.raises(TrialFailedError) as caught:
        opened(copy)
    assert "\n" not in str(caught.value)
    assert "Error: " in str(caught.value)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return save(tmp_path_factory.mktemp("text") / "text", embedding())


def lengths(*shape):
    return (("ids", shape), ("mask", shape))


def test_random_inputs_are_those_that_the_model_takes_and_are_told(opened, text, dense):
    told = {n.id: n.evidence for n in opened(text, shapes=lengths(-1, 9)).opened.notes}
    assert told["random-inputs"] == "ids: 0..49 (table of embeddings), mask: ones"
    told = {n.id: n.evidence for n in opened(dense).opened.notes}
    assert told["random-inputs"] == "x: N(0, 1)"


@pytest.mark.parametrize(
    "shapes", [{"shapes": lengths(-1, 9)}, {"data_shapes": lengths(4, 9)}], ids=["fixed", "open"]
)
def test_it_infers_the_same_with_fixed_and_with_open_dimensions(opened, text, tmp_path, shapes):
    rng = np.random.default_rng(0)
    rows = {"ids": rng.integers(0, 50, (6, 9)), "mask": np.ones((6, 9), np.int64)}
    np.savez(tmp_path / "in.npz", **rows)
    np.savez(tmp_path / "request.npz", **{name: array[:4] for name, array in rows.items()})
    session = opened(text, batch=4, inputs=tmp_path / "request.npz", precision="f32", **shapes)
    assert "random-inputs" not in {note.id for note in session.opened.notes}
    assert session.measure(0.05).windows
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    exact = ov.Core().compile_model(text.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["arr_0"], exact(rows)[0], rtol=1e-4, atol=1e-5)


def test_several_requests_carry_data_of_open_dimensions(opened, text):
    session = opened(text, batch=2, hint=None, streams=1, requests=3, data_shapes=lengths(2, 7))
    assert session.opened.figures["requests"] == 3
    assert session.measure(0.05).windows
