"""The loops on a scripted queue with real counters."""

import contextlib
import threading
import time

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovtool.benchmark import loops
from ovtool.system.counters import Counters

SERVICE_S = 0.004


class Request:
    def __init__(self, service_s=SERVICE_S):
        self.service_s, self.latency, self.count, self.shared = service_s, 0.0, 0, False
        self.resets, self.running = 0, False

    def reset_state(self):
        assert not self.running
        self.resets += 1

    def infer(self, *, share_outputs=False):
        self.shared, self.running = share_outputs, True
        started = time.perf_counter()
        time.sleep(self.service_s)
        self.count += 1
        self.running = False
        self.latency = (time.perf_counter() - started) * 1000


class Queue:
    """Requests that run in threads, with the interface of an ``AsyncInferQueue``."""

    def __init__(self, count):
        self.requests = [Request() for _ in range(count)]
        self.idle, self.changed = list(range(count)), threading.Condition()

    def __getitem__(self, index):
        return self.requests[index]

    def get_idle_request_id(self):
        with self.changed:
            self.changed.wait_for(lambda: self.idle)
            return self.idle[0]

    def start_async(self):
        with self.changed:
            self.changed.wait_for(lambda: self.idle)
            index = self.idle.pop(0)

        def run():
            self.requests[index].infer()
            with self.changed:
                self.idle.append(index)
                self.changed.notify()

        threading.Thread(target=run).start()

    def wait_all(self):
        with self.changed:
            self.changed.wait_for(lambda: len(self.idle) == len(self.requests))


def test_outputs_are_not_copied():
    x = op.parameter([8], ov.Type.f32)
    model = ov.Model([op.result(op.add(x, op.constant(np.float32(1))))], [x], "sum")
    request = ov.Core().compile_model(model, "CPU").create_infer_request()
    (output,) = loops.make_infer(request)().values()
    assert np.shares_memory(output, request.get_output_tensor(0).data)


@pytest.fixture
def counters():
    with contextlib.closing(Counters()) as counters:
        yield counters


def check_windows(recorded):
    assert len(recorded.windows) == len(recorded.latencies_ms)
    for window, latencies in zip(recorded.windows, recorded.latencies_ms, strict=True):
        assert window["inferences"] == len(latencies) > 0
        assert window["latency_max_ms"] == max(latencies)
        assert window["latency_mean_ms"] == pytest.approx(sum(latencies) / len(latencies))
        assert window["seconds"] > 0
        assert window["cpu_s"] >= 0
    counted = sum(len(latencies) for latencies in recorded.latencies_ms)
    assert counted <= recorded.completed


@pytest.mark.slow
def test_single_request(counters):
    request = Request()
    recorded = loops.run_single(request, 0.35, counters)
    check_windows(recorded)
    assert recorded.completed == request.count
    assert request.shared, "outputs are not copied"
    assert len(recorded.windows) >= 2
    assert sum(s[1] for s in recorded.stretches) == sum(w["inferences"] for w in recorded.windows)
    of_stretches, of_windows = (
        sum(s[0] for s in recorded.stretches),
        sum(w["seconds"] for w in recorded.windows),
    )
    assert of_stretches == pytest.approx(of_windows)
    in_flight = sum(sum(ms) for ms in recorded.latencies_ms) / 1000
    assert in_flight == pytest.approx(of_windows, rel=0.2), "reading the counters is in no window"


def test_inference_longer_than_the_round_is_a_window(counters):
    recorded = loops.run_single(Request(0.12), 0.05, counters)
    check_windows(recorded)
    assert [w["inferences"] for w in recorded.windows] == [1]
    assert recorded.completed == 2, "the lead-in is one use of the request"


def test_inference_longer_than_the_round_has_no_lead_in(counters):
    request = Request(0.12)
    recorded = loops.run_single(request, 0.05, counters, lead_in=False)
    check_windows(recorded)
    assert (recorded.completed, request.count) == (1, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_every_request_runs_once(counters, count):
    queue = Queue(count)
    recorded = loops.run_once(queue, count, counters)
    check_windows(recorded)
    assert [w["inferences"] for w in recorded.windows] == [count]
    assert sum(r.count for r in queue.requests) == recorded.completed == count


def test_requests_are_reset_before_each_inference(counters):
    request = Request(0.001)
    recorded = loops.run_single(request, 0.02, counters, reset=True)
    assert request.resets == request.count == recorded.completed
    for run in (
        lambda queue: loops.run_closed_loop(queue, 3, 0.02, counters, reset=True),
        lambda queue: loops.run_open_loop(queue, 500.0, 0.02, counters, 0, reset=True),
        lambda queue: loops.run_once(queue, 3, counters, reset=True),
    ):
        queue = Queue(3)
        run(queue)
        assert [r.resets for r in queue.requests] == [r.count for r in queue.requests]


@pytest.mark.slow
def test_closed_loop_keeps_all_requests_busy(counters):
    queue = Queue(3)
    recorded = loops.run_closed_loop(queue, 3, 0.35, counters)
    check_windows(recorded)
    assert recorded.completed == sum(r.count for r in queue.requests)
    seconds = sum(w["seconds"] for w in recorded.windows)
    in_flight = sum(sum(ms) for ms in recorded.latencies_ms) / 1000
    assert 1.05 < in_flight / seconds < 3.2  # a single request would give 1
    assert recorded.stretches == []


@pytest.mark.slow
def test_rare_arrivals_do_not_wait(counters):
    recorded = loops.run_open_loop(Queue(2), 50.0, 0.5, counters, seed=1)
    check_windows(recorded)
    assert 10 < recorded.completed < 45, "25 arrivals with three standard deviations"
    latencies = [ms for window in recorded.latencies_ms for ms in window]
    assert min(latencies) >= SERVICE_S * 1000


@pytest.mark.slow
def test_latency_counts_from_the_scheduled_arrival(counters):
    """One request serves at most 250 of 500 arrivals per second, so the queue grows."""
    queue = Queue(1)
    recorded = loops.run_open_loop(queue, 500.0, 0.5, counters, seed=2)
    check_windows(recorded)
    latencies = [ms for window in recorded.latencies_ms for ms in window]
    assert max(latencies) > 100
    assert latencies[-1] > latencies[0]
    assert queue[0].latency < 100, "the service time does not grow"


def test_arrivals_depend_on_the_seed(monkeypatch, counters):
    slept = []
    monkeypatch.setattr(loops.time, "sleep", slept.append)

    def first(seed):
        slept.clear()
        queue = Queue(1)
        queue.requests[0].infer = lambda: None
        monkeypatch.setattr(loops.time, "perf_counter_ns", iter(range(0, 10**12, 10**6)).__next__)
        loops.run_open_loop(queue, 100.0, 0.05, counters, seed)
        return slept[0]

    assert first(1) == first(1) != first(2)
