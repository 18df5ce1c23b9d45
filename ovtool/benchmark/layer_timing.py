"""Times of a compiled model's layers, by the counters that ``PERF_COUNT`` turns on.

Where they are read: from ``InferRequest.profiling_info``.  The runtime graph's ``execTimeMcs`` has
the same times on a CPU, but counts the conversion of constants with them, which runs once and not
at each inference; and a plugin that hides its graph still fills the profiling information.

How they are averaged: a CPU's are the means of all inferences of a stream since compiling, in whole
microseconds, so the last reading is the answer, from which the first inference is taken out where
there is one stream.  Other plugins tell the last inference, so theirs are read after each one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

from ovtool.benchmark import loops, windows
from ovtool.graph import runtime_layers as layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.graph.flops import Work
    from ovtool.system.counters import Counters

_ROUNDS = 10
_LEAST = 3
"""Inferences of a round, however long they take."""


def profile(
    plain: Any, compiled: Any, work: Work, seconds: float, machine: Counters
) -> dict[str, Any]:
    """Time the layers, and the whole with and without counters in turn, so that drift cancels.

    One request is in flight at a time.

    Args:
        plain: A warm ``InferRequest`` of the model compiled without counters.
        compiled: The same model compiled with them.
        work: Of that model.
        seconds: To measure with counters; without them, half of it.
        machine: Tells what others did meanwhile.
    """
    request = compiled.create_infer_request()
    for index in range(len(compiled.inputs)):
        request.set_input_tensor(index, plain.get_input_tensor(index))
    loops.inferring(request)()
    device = layers.only_device(compiled)
    means = device is not None and device.startswith("CPU")
    counters = _LayerTimes(request, means=means, streams=_streams(compiled))
    without: list[float] = []
    counted: list[float] = []
    began, opened = time.perf_counter(), machine.read()
    for _ in range(_ROUNDS):
        without += _latencies(plain, seconds / _ROUNDS / 2, lambda: None)
        counted += _latencies(request, seconds / _ROUNDS, counters.inferred)
    seconds = time.perf_counter() - began
    spent = machine.read().since(opened)
    others_s = windows.others_s(spent)
    mean_ms = sum(counted) / len(counted)
    read = counters.layers(device)
    found = layers.timed(layers.executed(compiled, work), read, work)
    return {
        "latency_ms": sum(without) / len(without),
        "latency_counted_ms": mean_ms,
        "inferences": len(counted),
        "others_cpu_pct": None
        if others_s is None
        else 100 * others_s / (seconds * (psutil.cpu_count() or 1)),
        "flops": work.total,
        "attributed": layers.attributed(found, work.flops),
        "layers": [layers.as_json(one) for one in found],
    }


class _LayerTimes:
    """Mean times of the layers, in microseconds by name.

    Args:
        request: A request that has run once.
        means: Whether the counters are means of all inferences so far.
        streams: Of the compiled model; None where it does not tell.
    """

    def __init__(self, request: Any, *, means: bool, streams: int | None) -> None:
        self._request, self._means = request, means
        self._told: dict[str, Any] = {}
        self._sums: dict[str, float] = {}
        self._inferences = 0
        self._first = self._read() if means and streams == 1 else None

    def inferred(self) -> None:
        """Note an inference that ended."""
        self._inferences += 1
        if not self._means:
            for name, taken_us in self._read().items():
                self._sums[name] = self._sums.get(name, 0.0) + taken_us

    def layers(self, device: str | None) -> list[layers.Layer]:
        """Return every layer that ran, with its mean time."""
        return [
            layers.Layer(
                name=name,
                type=self._told[name].node_type,
                precision=layers.precision_of(self._told[name].exec_type),
                primitive=self._told[name].exec_type,
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
        found: dict[str, float] = {}
        for one in self._request.profiling_info:
            if one.status == one.Status.EXECUTED:
                name = layers.without_part(one.node_name)
                self._told[name] = one
                found[name] = found.get(name, 0.0) + one.real_time.total_seconds() * 1e6
        return found


def _streams(compiled: Any) -> int | None:
    if "NUM_STREAMS" not in compiled.get_property("SUPPORTED_PROPERTIES"):
        return None
    told = compiled.get_property("NUM_STREAMS")
    return int(told) if isinstance(told, int) else None


def _latencies(request: Any, seconds: float, inferred: Callable[[], None]) -> list[float]:
    until, infer = time.perf_counter() + seconds, loops.inferring(request)
    taken: list[float] = []
    while len(taken) < _LEAST or time.perf_counter() < until:
        infer()
        taken.append(request.latency)
        inferred()
    return taken
