"""The measuring loops: closed loop with one request or several, and open loop.

Each loop groups its completions into windows of about 100 ms.  A window begins and ends with a
completion, so a long inference has its own window and no fraction of an inference is lost.  The
lead-in is the first 5% of the time, and at least one use of each request: it warms the caches.  A
round without a lead-in is for an inference that is longer than the round.

The requests of a model with state start from the initial state (``reset``).  The time of a reset
is in the windows, and in no latency.
"""

from __future__ import annotations

import functools
import itertools
import time
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.system.counters import Counters, Reading

WINDOW_NS = NS_PER_S // 10
STRETCH_NS = NS_PER_S // 200
"""A stretch lies between the turns of other processes, and is long compared to its readings."""
LEAD_IN = 0.05


@dataclass(slots=True)
class Recording:
    """The data of a loop as JSON types; ``completed`` includes the lead-in."""

    windows: list[dict[str, Any]] = field(default_factory=list)
    latencies_ms: list[list[float]] = field(default_factory=list)
    stretches: list[tuple[float, int, float, float]] = field(default_factory=list)
    completed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the windows, latencies and stretches."""
        return {
            "windows": self.windows,
            "latencies_ms": self.latencies_ms,
            "stretches": self.stretches,
        }

    def add(
        self, latencies_ms: list[float], ns: int, read: Reading, reading_cpu_s: float = 0.0
    ) -> None:
        """Add a window of ``ns``, with the CPU time for readings of the counters left out."""
        cpu_s = None if read.cpu_s is None else max(0.0, read.cpu_s - reading_cpu_s)
        self.windows.append(
            {
                "seconds": ns / NS_PER_S,
                "inferences": len(latencies_ms),
                "latency_mean_ms": sum(latencies_ms) / len(latencies_ms),
                "latency_max_ms": max(latencies_ms),
                **asdict(read),
                "cpu_s": cpu_s,
            }
        )
        self.latencies_ms.append(latencies_ms)
        self.completed += len(latencies_ms)


def make_infer(request: Any, *, reset: bool = False) -> Callable[[], object]:
    """Return a function that infers a request without copying its outputs.

    With ``reset``, each inference starts from the initial state of the model.

    ``request.infer()`` copies every output into new memory, which takes longer than a short
    inference (outputs of 2 MiB: 1.2 ms against 0.06 ms).
    """
    infer = functools.partial(request.infer, share_outputs=True)
    if not reset:
        return infer

    def infer_from_the_initial_state() -> object:
        request.reset_state()
        return infer()

    return infer_from_the_initial_state


def run_single(
    request: Any, seconds: float, counters: Counters, *, reset: bool = False, lead_in: bool = True
) -> Recording:
    """Run a closed loop with one request, in the calling thread.

    No request is in flight while counters are read, so this time is in no window, and short
    stretches between two readings show the moments without other processes.
    """
    infer, clock, recorded = make_infer(request, reset=reset), time.perf_counter_ns, Recording()
    now = clock()
    lead_until, stop = now + int(seconds * LEAD_IN * NS_PER_S), now + int(seconds * NS_PER_S)
    while lead_in and (not recorded.completed or now < lead_until):
        infer()
        recorded.completed += 1
        now = clock()
    while not recorded.windows or now < stop:
        current: list[float] = []
        spent_ns, reading_cpu_s = 0, 0.0
        opened = counters.read()
        cpu_s, delay_s = counters.own()
        while spent_ns < WINDOW_NS and (not current or now < stop):
            before = len(current)
            began = clock()
            until = min(began + STRETCH_NS, stop)
            while True:
                infer()
                current.append(request.latency)
                now = clock()
                if now >= until:
                    break
            cpu_after, delay_after = counters.own()
            recorded.stretches.append(
                (
                    (now - began) / NS_PER_S,
                    len(current) - before,
                    cpu_after - cpu_s,
                    delay_after - delay_s,
                )
            )
            spent_ns += now - began
            cpu_s, delay_s = counters.own()
            reading_cpu_s += cpu_s - cpu_after
        read = counters.read().since(opened)
        recorded.add(current, spent_ns, read, reading_cpu_s)
    return recorded


def run_closed_loop(
    queue: Any, requests: int, seconds: float, counters: Counters, *, reset: bool = False
) -> Recording:
    """Run a closed loop that keeps every request of an ``AsyncInferQueue`` in flight."""
    clock, recorded = time.perf_counter_ns, Recording()
    idle, start = queue.get_idle_request_id, queue.start_async  # it starts the idle request
    lead_in = requests + 1  # the first iterations only start the requests
    now = clock()
    lead_until, stop = now + int(seconds * LEAD_IN * NS_PER_S), now + int(seconds * NS_PER_S)
    while recorded.completed < lead_in or now < lead_until:
        slot = idle()
        if reset:
            queue[slot].reset_state()
        start()
        recorded.completed += 1
        now = clock()
    opened_ns, opened, current = now, counters.read(), list[float]()
    until = min(opened_ns + WINDOW_NS, stop)
    while not recorded.windows or now < stop:
        slot = idle()
        current.append(queue[slot].latency)
        if reset:
            queue[slot].reset_state()
        start()
        now = clock()
        if now >= until:
            reading = counters.read()
            recorded.add(current, now - opened_ns, reading.since(opened))
            opened_ns, opened, current = now, reading, []
            until = min(opened_ns + WINDOW_NS, stop)
    queue.wait_all()
    return recorded


def run_once(queue: Any, requests: int, counters: Counters, *, reset: bool = False) -> Recording:
    """Start every request of an ``AsyncInferQueue`` once, and wait for all, as one window.

    For inferences that are longer than a round: a closed loop would add an inference before its
    first window and another after its last.
    """
    recorded, started = Recording(), time.perf_counter_ns()
    opened = counters.read()
    flying: set[int] = set()
    latencies_ms: list[float] = []
    for _ in range(requests):
        slot = queue.get_idle_request_id()
        if slot in flying:  # completed before the others have started
            latencies_ms.append(queue[slot].latency)
        flying.add(slot)
        if reset:
            queue[slot].reset_state()
        queue.start_async()
    queue.wait_all()
    latencies_ms += [queue[slot].latency for slot in flying]
    read = counters.read().since(opened)
    recorded.add(latencies_ms, time.perf_counter_ns() - started, read)
    return recorded


def run_open_loop(
    queue: Any, rate: float, seconds: float, counters: Counters, seed: int, *, reset: bool = False
) -> Recording:
    """Run an open loop, which starts requests at scheduled times with exponential gaps.

    The arrivals are a Poisson process of ``rate`` per second.  An arrival waits while no request is
    idle, and its latency counts from the scheduled time.  A loop that schedules each arrival after
    the previous completion would hide the queue ("coordinated omission").
    """
    generator = np.random.default_rng(seed)
    count = max(1, int(rate * seconds * 2) + 20)
    gaps = generator.exponential(NS_PER_S / rate, count)
    clock, recorded = time.perf_counter_ns, Recording()
    begin = clock()
    due_at = begin + np.cumsum(gaps).astype(np.int64)
    lead_until, stop = begin + int(seconds * LEAD_IN * NS_PER_S), begin + int(seconds * NS_PER_S)
    flying: dict[int, tuple[int, int]] = {}
    done: list[tuple[int, float]] = []
    marks: list[tuple[int, Reading]] = []

    def collect(slot: int) -> None:
        due, started = flying.pop(slot)
        service_ms = queue[slot].latency
        done.append((started + int(service_ms * 1e6), (started - due) / 1e6 + service_ms))

    for due in due_at.tolist():
        if due >= stop and done:
            break
        while (left := due - clock()) > 0:
            time.sleep(left / NS_PER_S)
        slot = queue.get_idle_request_id()
        if slot in flying:
            collect(slot)
        now = clock()
        if now >= stop and done:
            break
        flying[slot] = (due, now)
        if reset:
            queue[slot].reset_state()
        queue.start_async()
        if now >= (marks[-1][0] + WINDOW_NS if marks else lead_until):
            marks.append((now, counters.read()))
    queue.wait_all()
    for slot in list(flying):
        collect(slot)
    marks.append((clock(), counters.read()))
    _add_windows(recorded, sorted(done), marks)
    recorded.completed = len(done)
    return recorded


def _add_windows(
    recorded: Recording, done: list[tuple[int, float]], marks: list[tuple[int, Reading]]
) -> None:
    """Sort completions into the windows between readings; earlier ones are the lead-in."""
    times = [at for at, _ in done]
    for (begin, opened), (end, closed) in itertools.pairwise(marks):
        current = [ms for _, ms in done[bisect_right(times, begin) : bisect_right(times, end)]]
        if current:
            recorded.add(current, end - begin, closed.since(opened))
    if not recorded.windows and done and len(marks) > 1:  # all completions are in the lead-in
        recorded.add(
            [ms for _, ms in done],
            marks[-1][0] - marks[0][0],
            marks[-1][1].since(marks[0][1]),
        )
