"""The loops on a queue of a script, whose counters are real."""

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

    def infer(self, *, share_outputs=False):
        self.shared = share_outputs
        started = time.perf_counter()
        time.sleep(self.service_s)
        self.count += 1
        self.latency = (time.perf_counter() - started) * 1000


class Queue:
    """Requests that each run in a thread, as an ``AsyncInferQueue`` shows them."""

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
    (found,) = loops.inferring(request)().values()
    assert np.shares_memory(found, request.get_output_tensor(0).data)


@pytest.fixture
def counters():
    made = Counters()
    yield made
    made.close()


def check_whole(recorded):
    assert len(recorded.windows) == len(recorded.latencies_ms)
    for window, latencies in zip(recorded.windows, recorded.latencies_ms, strict=True):
        assert window["inferences"] == len(latencies) > 0
        assert window["latency_max_ms"] == max(latencies)
        assert window["latency_mean_ms"] == pytest.approx(sum(latencies) / len(latencies))
        assert window["seconds"] > 0
        assert window["cpu_s"] >= 0
    counted = sum(len(latencies) for latencies in recorded.latencies_ms)
    assert counted <= recorded.completed


def test_one_at_a_time(counters):
    request = Request()
    recorded = loops.one_at_a_time(request, 0.35, counters)
    check_whole(recorded)
    assert recorded.completed == request.count
    assert request.shared, "copying outputs is no part of an inference"
    assert len(recorded.windows) >= 2
    assert sum(s[1] for s in recorded.stretches) == sum(w["inferences"] for w in recorded.windows)
    of_stretches, of_windows = (
        sum(s[0] for s in recorded.stretches),
        sum(w["seconds"] for w in recorded.windows),
    )
    assert of_stretches == pytest.approx(of_windows)
    in_flight = sum(sum(ms) for ms in recorded.latencies_ms) / 1000
    assert in_flight == pytest.approx(of_windows, rel=0.2), "reading the counters is in no window"


def test_an_inference_longer_than_the_round_is_a_window(counters):
    recorded = loops.one_at_a_time(Request(0.12), 0.05, counters)
    check_whole(recorded)
    assert [w["inferences"] for w in recorded.windows] == [1]
    assert recorded.completed == 2, "the lead-in is one use of the request"


def test_all_requests_are_kept_busy(counters):
    queue = Queue(3)
    recorded = loops.all_busy(queue, 3, 0.35, counters)
    check_whole(recorded)
    assert recorded.completed == sum(r.count for r in queue.requests)
    seconds = sum(w["seconds"] for w in recorded.windows)
    in_flight = sum(sum(ms) for ms in recorded.latencies_ms) / 1000
    assert 1.05 < in_flight / seconds < 3.2  # one at a time would come to 1, whoever is busy
    assert recorded.stretches == []


def test_requests_that_arrive_seldom_do_not_wait(counters):
    recorded = loops.arriving(Queue(2), 50.0, 0.5, counters, seed=1)
    check_whole(recorded)
    assert 10 < recorded.completed < 45, "25 are due, give or take three times their scatter"
    latencies = [ms for window in recorded.latencies_ms for ms in window]
    assert min(latencies) >= SERVICE_S * 1000


def test_latency_counts_from_the_time_that_a_request_was_due(counters):
    """One request serves 250 a second at best; of 500 that arrive, the later wait for long."""
    queue = Queue(1)
    recorded = loops.arriving(queue, 500.0, 0.5, counters, seed=2)
    check_whole(recorded)
    latencies = [ms for window in recorded.latencies_ms for ms in window]
    assert max(latencies) > 100
    assert latencies[-1] > latencies[0]
    assert queue[0].latency < 100, "the service itself is as fast as ever"


def test_arrivals_are_of_the_seed(monkeypatch, counters):
    slept = []
    monkeypatch.setattr(loops.time, "sleep", slept.append)

    def first(seed):
        slept.clear()
        queue = Queue(1)
        queue.requests[0].infer = lambda: None
        monkeypatch.setattr(loops.time, "perf_counter_ns", iter(range(0, 10**12, 10**6)).__next__)
        loops.arriving(queue, 100.0, 0.05, counters, seed)
        return slept[0]

    assert first(1) == first(1) != first(2)
