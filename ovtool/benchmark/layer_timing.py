"""Times the layers of a compiled model, by ``InferRequest.profiling_info`` with ``PERF_COUNT``.

The ``execTimeMcs`` of the runtime graph has the same times on a CPU, but includes the conversion of
constants, which runs once; and a plugin that hides its graph still fills the profiling information.

The CPU plugin reports the means of all inferences of a stream since compiling, in whole
microseconds, so the last reading has the means; with one stream, the first inference is
subtracted.  Other plugins report the last inference, so their counters are read after each one.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil

from ovtool.benchmark import loops, windows
from ovtool.graph import runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.graph.flops import OperationCost
    from ovtool.system.counters import Counters

ROUNDS = 10
"""Rounds of a profile, in which the model with and without counters take turns."""
_MIN_INFERENCES = 3
"""Minimum inferences of a round."""


def profile_layers(
    plain: Any,
    compiled: Any,
    cost: OperationCost,
    seconds: float,
    machine: Counters,
    *,
    rounds: int = ROUNDS,
    reset: bool = False,
) -> dict[str, Any]:
    """Time the layers, and the model with and without counters in alternation, so drift cancels.

    One request is in flight at a time.  ``plain`` is a warm ``InferRequest`` of the model compiled
    without counters; the time without counters is half of ``seconds`` and is added.  With
    ``reset``, each inference starts from the initial state of the model.
    """
    request = compiled.create_infer_request()
    for index in range(len(compiled.inputs)):
        request.set_input_tensor(index, plain.get_input_tensor(index))
    loops.make_infer(request, reset=reset)()
    device = runtime.find_single_device(compiled)
    means = device is not None and device.startswith("CPU")
    known = "NUM_STREAMS" in compiled.get_property("SUPPORTED_PROPERTIES")
    streams = compiled.get_property("NUM_STREAMS") if known else None
    counters = _LayerTimes(request, means=means, streams=streams)
    without: list[float] = []
    counted: list[float] = []
    began, opened = time.perf_counter(), machine.read()
    for _ in range(rounds):
        without += _measure_latencies(plain, seconds / rounds / 2, lambda: None, reset=reset)
        counted += _measure_latencies(request, seconds / rounds, counters.record, reset=reset)
    seconds = time.perf_counter() - began
    spent = machine.read().since(opened)
    others_s = windows.compute_others_s(spent)
    mean_ms = sum(counted) / len(counted)
    read = counters.layers(device)
    timed = runtime.merge_times(runtime.read_layers(compiled, cost), read, cost)
    return {
        "latency_ms": sum(without) / len(without),
        "latency_counted_ms": mean_ms,
        "inferences": len(counted),
        "others_cpu_pct": None
        if others_s is None
        else 100 * others_s / (seconds * (psutil.cpu_count() or 1)),
        "flops": cost.total,
        "attributed": runtime.compute_attributed_share(timed, cost.flops),
        "layers": [asdict(layer) for layer in timed],
    }


class _LayerTimes:
    """Mean times of the layers, in microseconds by name, from a request that has run once.

    ``means`` says that the counters are means of all inferences so far.
    """

    def __init__(self, request: Any, *, means: bool, streams: int | None) -> None:
        self._request, self._means = request, means
        self._profiles: dict[str, Any] = {}
        self._sums: dict[str, float] = {}
        self._inferences = 0
        self._first = self._read() if means and streams == 1 else None

    def record(self) -> None:
        self._inferences += 1
        if not self._means:
            for name, time_us in self._read().items():
                self._sums[name] = self._sums.get(name, 0.0) + time_us

    def layers(self, device: str | None) -> list[runtime.Layer]:
        return [
            runtime.Layer(
                name=name,
                type=self._profiles[name].node_type,
                precision=runtime.parse_precision(self._profiles[name].exec_type),
                primitive=self._profiles[name].exec_type,
                time_ms=mean_us / 1000,
                device=device,
            )
            for name, mean_us in self._mean_us().items()
        ]

    def _mean_us(self) -> dict[str, float]:
        count = self._inferences
        if not self._means:
            return {name: total / count for name, total in self._sums.items()}
        last = self._read()
        if self._first is None:
            return last
        return {
            name: max(0.0, (mean * (count + 1) - self._first.get(name, 0.0)) / count)
            for name, mean in last.items()
        }

    def _read(self) -> dict[str, float]:
        times_us: dict[str, float] = {}
        for entry in self._request.profiling_info:
            if entry.status == entry.Status.EXECUTED:
                name = runtime.strip_part(entry.node_name)
                self._profiles[name] = entry
                times_us[name] = times_us.get(name, 0.0) + entry.real_time.total_seconds() * 1e6
        return times_us


def _measure_latencies(
    request: Any, seconds: float, on_inference: Callable[[], None], *, reset: bool
) -> list[float]:
    until, infer = time.perf_counter() + seconds, loops.make_infer(request, reset=reset)
    latencies_ms: list[float] = []
    while len(latencies_ms) < _MIN_INFERENCES or time.perf_counter() < until:
        infer()
        latencies_ms.append(request.latency)
        on_inference()
    return latencies_ms
