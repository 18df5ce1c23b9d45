"""Real models in real workers; no test depends on the speed of the machine."""

import contextlib
import time
from types import SimpleNamespace

import numpy as np
import openvino as ov
import psutil
import pytest
from openvino import opset15 as op

from ovtool.benchmark import jobs
from ovtool.benchmark import worker as worker_module
from ovtool.benchmark.loops import Recording
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.benchmark.worker import Worker, _read_state, _split_batches
from ovtool.core.columns import FIGURES
from ovtool.core.trial import Trial
from ovtool.devices import rules
from tests.helpers.graphs import accumulating, convolutional, embedding, growing, save

BATCH = 16


@pytest.fixture(scope="module")
def session(opened, conv):
    return opened(conv, batch=BATCH, precision="f32")


@pytest.fixture(scope="module")
def raw(session):
    return session.measure(0.4)


@pytest.mark.slow
def test_compiled_info_has_times_devices_and_precision(session):
    info = session.info
    assert set(info.figures) <= FIGURES
    assert info.compile_ms > 0
    assert info.first_inference_ms > 0
    assert info.loaded_from_cache is False
    assert info.figures["usable_cpus"] >= 1
    assert (info.figures["streams"], info.figures["requests"]) == (1, 1)
    assert info.figures["threads"] >= 1
    assert info.executed_precision == "f32"
    layers = {note.id: note.evidence for note in info.notes}["executed-layers"]
    assert layers.startswith("f32 100%")
    flops = 2 * 32 * 256 * (3 + 32) * 9 + 2 * 10 * 32
    assert info.figures["gflops"] == pytest.approx(flops / 1e9), "per sample"
    assert info.figures["flops_f32_pct"] == 100
    assert info.figures["flops_i8_pct"] == 0
    assert info.properties["INFERENCE_PRECISION_HINT"] == "f32"


@pytest.mark.slow
def test_files_in_the_current_folder_are_not_imported(opened, conv, tmp_path, monkeypatch):
    for name in ("json", "numpy", "openvino", "ovtool"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert opened(conv, batch=1).info.compile_ms > 0


def test_samples_are_stacked_along_the_recorded_dimensions(opened_here, tmp_path):
    """x [length, batch, 2], a scalar and outputs [batch of rows], [rows, batch], a constant."""
    x = op.parameter([3, -1, 2], ov.Type.f32, name="x")
    scale = op.parameter([], ov.Type.f32, name="scale")
    for node in (x, scale):
        node.output(0).set_names({node.get_friendly_name()})
    scaled = op.multiply(x, scale)
    rows = op.reduce_sum(scaled, op.constant([0]))
    columns = op.transpose(rows, op.constant([1, 0]))
    model = ov.Model(
        [op.result(v) for v in (rows, columns, op.multiply(scale, scale))], [x, scale], "sequence"
    )
    x.set_layout(ov.Layout("?N?"))
    for result, layout in zip(model.get_results(), ("N?", "?N", ""), strict=True):
        result.set_layout(ov.Layout(layout))
    session = opened_here(save(tmp_path / "sequence", model), batch=4, precision="f32")
    assert session.measure(0.01).windows, "a scalar input is filled"
    samples = np.random.default_rng(0).random((6, 3, 2)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=samples, scale=np.full(6, 2, np.float32))
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        expected = 2 * samples.sum(1)
        np.testing.assert_allclose(outputs["arr_0"], expected, rtol=1e-5)
        np.testing.assert_allclose(outputs["arr_1"], expected, rtol=1e-5)
        assert outputs["arr_2"].tolist() == [4] * 6
    scales = np.arange(6, dtype=np.float32)
    np.savez(tmp_path / "in.npz", x=samples, scale=scales)
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        expected = scales[:, None] * samples.sum(1)
        np.testing.assert_allclose(outputs["arr_1"], expected, rtol=1e-5)
        assert outputs["arr_2"].tolist() == (scales**2).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bf16", "i4"])
def test_outputs_of_types_without_numpy_equivalent_have_their_values(opened_here, tmp_path, kind):
    x = op.parameter([-1, 3], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("N?"))
    model = ov.Model([op.result(op.convert(x, kind))], [x], "narrow")
    session = opened_here(save(tmp_path / "narrow", model), batch=2, precision="f32")
    assert session.measure(0.01).windows
    samples = np.array([[1, -2, 3], [0, -8, 7]], np.float32)
    np.savez(tmp_path / "in.npz", x=samples)
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["arr_0"].tolist() == samples.tolist()


@pytest.mark.slow
def test_round_has_windows_with_their_latencies(raw):
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
def test_start_from_the_cache_is_distinguished(conv, tmp_path):
    trial = Trial(conv.id, conv.name, "CPU", 1)
    job = jobs.build_job(trial, conv, rules.trial_properties(trial))
    runner = ProcessRunner(timeout_s=60)
    with contextlib.closing(runner.open(job)) as cold:
        assert cold.info.loaded_from_cache is False
        assert cold.save_cache(tmp_path) > 0
        assert list(tmp_path.iterdir())
        assert cold.measure(0.05).windows, "the session still measures"
    with contextlib.closing(runner.open(job, tmp_path, warm_up=False)) as cached:
        assert cached.info.loaded_from_cache is True
        assert cached.info.compile_ms > 0


@pytest.mark.slow
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_open_loop_has_its_rate(opened, conv, hint):
    raw = opened(conv, hint=hint).measure(0.6, 200.0)
    inferences = sum(w.inferences for w in raw.windows)
    due = 200 * sum(w.seconds for w in raw.windows)
    assert abs(inferences - due) < 5 * due**0.5
    assert raw.stretches == ()


def test_stretches_are_shorter_than_windows(session):
    raw = session.measure(0.3)
    assert sum(s.inferences for s in raw.stretches) == sum(w.inferences for w in raw.windows)
    assert len(raw.stretches) > len(raw.windows)


@pytest.mark.slow
def test_peak_memory_is_not_that_of_the_parent_process(opened, conv):
    ballast = np.ones(500 * 2**20, np.uint8)
    ours_mib = psutil.Process().memory_info().rss / 2**20
    peak_mib = opened(conv, batch=1).measure(0.01).peak_rss_mib
    assert 20 < peak_mib < min(ours_mib, ballast.nbytes / 2**20)


def test_throughput_of_a_single_request_is_the_inverse_latency(raw):
    seconds = sum(w.seconds for w in raw.windows)
    requests = sum(w.inferences for w in raw.windows)
    busy = sum(sum(latencies) for latencies in raw.latencies_ms) / 1000
    assert 0.5 < busy / seconds <= 1.01, "requests do not overlap"
    samples_a_second = requests * BATCH / seconds
    mean_latency_s = busy / requests
    assert 0.5 * BATCH < samples_a_second * mean_latency_s < 1.01 * BATCH


def test_windows_have_counters(raw):
    for window in raw.windows:
        assert window.cpu_s > 0
        assert window.busy_s >= 0
        assert window.steal_s >= 0
        assert window.delay_s is None or window.delay_s >= 0
    assert raw.energy is not None or raw.energy_unknown


@pytest.mark.slow
def test_several_requests_are_in_flight(opened, conv):
    session = opened(conv, batch=BATCH, hint=None, streams=1, requests=4)
    assert session.info.figures["requests"] == 4
    raw = session.measure(0.4)
    seconds = sum(w.seconds for w in raw.windows)
    busy = sum(sum(latencies) for latencies in raw.latencies_ms) / 1000
    assert 1.5 < busy / seconds < 4.5


@pytest.mark.slow
def test_throughput_hint_uses_the_optimal_number_of_requests(opened, conv):
    session = opened(conv, hint="throughput")
    best = ov.Core().compile_model(conv.xml, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    optimal = best.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    assert session.info.figures["requests"] == optimal
    assert session.measure(0.1).windows


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 3])
def test_outputs_are_those_of_openvino(session, conv, tmp_path, count):
    """The last batch is padded, and its padding is left out."""
    rows = np.random.default_rng(count).standard_normal((count, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=rows)
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        assert list(outputs) == ["arr_0"]
        scores = outputs["arr_0"]
    exact = ov.Core().compile_model(conv.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(scores, exact(rows)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_given_inputs_are_used(opened, dense, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((2, 64), np.float32))
    assert opened(dense, batch=2, inputs=tmp_path / "in.npz").measure(0.05).windows
    for wrong in ({"x": np.ones((3, 64))}, {"y": np.ones((2, 64))}):
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(TrialFailedError, match=r"ValueError|KeyError"):
            opened(dense, batch=2, inputs=tmp_path / "wrong.npz")


def test_session_measures_after_profiling(session):
    profile = session.profile(0.05)
    assert {"conv0", "conv1"} <= {layer.name for layer in profile.layers}
    assert profile.flops == pytest.approx(BATCH * session.info.figures["gflops"] * 1e9)
    assert profile.attributed == 1
    assert profile.inferences >= 3
    assert session.measure(0.05).windows


@pytest.mark.slow
@pytest.mark.parametrize("device", ["AUTO:CPU", "HETERO:CPU"])
def test_virtual_device_runs(opened_here, dense, device):
    session = opened_here(dense, device=device)
    assert session.measure(0.05).windows
    assert session.info.ran_on == "CPU"
    assert not [n for n in session.info.notes if n.id == "device-fallback"]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["XPU", "GPU.7", "NPU.7"])
@pytest.mark.usefixtures("no_process_left")
def test_unavailable_device_is_one_line(opened, dense, device):
    with pytest.raises(TrialFailedError) as caught:
        opened(dense, device=device)
    reason = str(caught.value)
    assert "\n" not in reason
    assert len(reason) <= 500
    assert device != "XPU" or "pip install" in reason


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "no weights"])
@pytest.mark.usefixtures("no_process_left")
def test_unreadable_model_is_one_line(opened, dense, tmp_path, damage):
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


def test_random_inputs_fit_the_model_and_have_a_note(opened_here, text, dense):
    evidence = {n.id: n.evidence for n in opened_here(text, shapes=lengths(-1, 9)).info.notes}
    assert evidence["random-inputs"].startswith("ids: 0..49")
    evidence = {n.id: n.evidence for n in opened_here(dense).info.notes}
    assert evidence["random-inputs"] == "x: N(0, 1)"


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes", [{"shapes": lengths(-1, 9)}, {"data_shapes": lengths(4, 9)}], ids=["fixed", "open"]
)
def test_outputs_are_equal_with_fixed_and_open_dimensions(opened_here, text, tmp_path, shapes):
    rng = np.random.default_rng(0)
    rows = {"ids": rng.integers(0, 50, (6, 9)), "mask": np.ones((6, 9), np.int64)}
    np.savez(tmp_path / "in.npz", **rows)
    np.savez(tmp_path / "request.npz", **{name: array[:4] for name, array in rows.items()})
    session = opened_here(text, batch=4, inputs=tmp_path / "request.npz", precision="f32", **shapes)
    assert "random-inputs" not in {note.id for note in session.info.notes}
    assert session.measure(0.05).windows
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    exact = ov.Core().compile_model(text.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs["arr_0"], exact(rows)[0], rtol=1e-4, atol=1e-5)


def test_several_requests_with_open_dimensions(opened_here, text):
    session = opened_here(
        text, batch=2, hint=None, streams=1, requests=3, data_shapes=lengths(2, 7)
    )
    assert session.info.figures["requests"] == 3
    assert session.measure(0.05).windows


def request(variant, shape, **changes):
    """What a session asks of a worker to open a variant with the input x."""
    return {
        "xml": str(variant.xml),
        "device": "CPU",
        "batch": 1,
        "requests": 1,
        "shapes": [shape],
        "data_shapes": [shape],
        "batch_axes": [0],
        "output_axes": [0],
        "names": ["x"],
        "properties": {"INFERENCE_PRECISION_HINT": "f32"},
        "inputs": None,
        "seed": 0,
        "cache": None,
        "warm_up": True,
    } | changes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requests", "seconds", "rate", "inference_s"),
    [
        pytest.param(1, 0.05, None, 0.0, id="one request"),
        pytest.param(3, 0.05, None, 0.0, id="closed loop"),
        pytest.param(3, 0.05, 200.0, 0.0, id="open loop"),
        pytest.param(3, 0.05, None, 1.0, id="inferences longer than a round"),
    ],
)
def test_a_growing_state_does_not_grow_while_it_is_measured(
    tmp_path, requests, seconds, rate, inference_s
):
    worker = Worker()
    worker.open(request(save(tmp_path / "growing", growing()), (1, 1, 4), requests=requests))
    worker.inference_s = inference_s
    recorded = worker.measure({"seconds": seconds, "rate": rate})
    used = [r for r in worker.queue if r.latency > 0]
    assert used
    assert sum(w["inferences"] for w in recorded["windows"]) > len(used) or inference_s
    for infer_request in used:
        (state,) = infer_request.query_state()
        assert tuple(state.state.shape) in {(1, 1, 4), (1, 0, 4)}, "one inference since the reset"


@pytest.mark.slow
def test_a_growing_state_does_not_grow_while_it_is_profiled(tmp_path):
    worker = Worker()
    worker.open(request(save(tmp_path / "growing", growing()), (1, 1, 4)))
    worker.profile({"seconds": 0.05, "rounds": 1})
    (state,) = worker.queue[0].query_state()
    assert tuple(state.state.shape) == (1, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_samples_do_not_depend_on_the_samples_before(tmp_path, known):
    """From the initial state, the accumulated sum is the input; also without resets."""
    worker = Worker()
    worker.open(request(save(tmp_path / "sum", accumulating()), (1, 4)))
    worker.states = _read_state(worker.queue[0] if known else NoState(), 1)
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=rows)
    worker.infer({"inputs": tmp_path / "in.npz", "outputs": tmp_path / "out.npz", "names": ["x"]})
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_array_equal(outputs["arr_0"], rows)


class NoState:
    def query_state(self):
        raise RuntimeError("not implemented")


@pytest.mark.slow
def test_the_state_is_described(tmp_path):
    opened = Worker().open(request(save(tmp_path / "growing", growing()), (1, 1, 4)))
    assert opened["state"]["count"] == 1
    assert opened["state"]["reset_ms"] > 0
    assert not _read_state(NoState(), 2).resets
    assert _read_state(NoState(), 0).known
    stateless = save(tmp_path / "conv", convolutional())
    assert "state" not in Worker().open(request(stateless, (1, 3, 16, 16)))


def scaled():
    """x [batch, 4] * s, where s is a scalar input."""
    x = op.parameter([-1, 4], ov.Type.f32, name="x")
    s = op.parameter([], ov.Type.f32, name="s")
    for node in (x, s):
        node.output(0).set_names({node.get_friendly_name()})
    x.set_layout(ov.Layout("NC"))
    return ov.Model([op.result(op.multiply(x, s))], [x, s], "scaled")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_samples_with_scalar_inputs_have_their_own_values(opened_here, tmp_path, batch):
    """A request has one scalar, so only samples with the same one share a batch."""
    session = opened_here(save(tmp_path / "scaled", scaled()), batch=batch)
    assert session.measure(0.05).windows
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    s = np.array([2, 2, 2, 2, 5, 7, 7], np.float32)
    np.savez(tmp_path / "in.npz", x=x, s=s)
    session.infer(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs["arr_0"], x * s[:, None], rtol=1e-6)


@pytest.mark.slow
def test_batches_are_consecutive_samples_that_share_their_unbatched_inputs():
    shared = [np.array([0, 0, 0, 1, 1, 0])]
    assert list(_split_batches(shared, 6, 2)) == [range(2), range(2, 3), range(3, 5), range(5, 6)]
    assert list(_split_batches([], 5, 2)) == [range(2), range(2, 4), range(4, 5)]


@pytest.mark.slow
def test_a_warm_up_of_a_single_inference_does_not_tell_whether_it_was_steady(tmp_path):
    worker = Worker()
    worker.open(request(save(tmp_path / "sum", accumulating()), (1, 4), warm_up=False))
    worker._run = lambda _: Recording(
        [{"seconds": 2.0, "inferences": 1, "latency_mean_ms": 2e3, "cpu_s": 2.0}]
    )
    clock = iter([0.0, 0.0, 9.0, 9.0])
    worker_module.time = SimpleNamespace(perf_counter=lambda: next(clock))
    try:
        assert worker._warm_up() == {"warm_up_s": 9.0, "steady": True}
    finally:
        worker_module.time = time
