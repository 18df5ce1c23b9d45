"""Times of a compiled model's layers, by the counters that ``PERF_COUNT`` turns on.

Where they are read: from ``InferRequest.profiling_info``.  The runtime graph's ``execTimeMcs`` has
the same times on a CPU, but counts the conversion of constants with them, which runs once and not
at each inference; and a plugin that hides its graph still fills the profiling information.

How they are averaged: a CPU's are the means of all inferences since compiling, in whole
microseconds, so the last reading is the answer.  Other plugins tell the last inference, so theirs
are read after each one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ovtool.measure import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovtool.flops import Work

_ROUNDS = 10
_LEAST = 3
"""Inferences of a round, however long they take."""


def profile(plain: Any, compiled: Any, work: Work, seconds: float) -> dict[str, Any]:
    """Time the layers, and the whole with and without counters in turn, so that drift cancels.

    One request is in flight at a time.

    Args:
        plain: A warm ``InferRequest`` of the model compiled without counters.
        compiled: The same model compiled with them.
        work: Of that model.
        seconds: To measure with counters; without them, half of it.
    """
    request = compiled.create_infer_request()
    for index in range(len(compiled.inputs)):
        request.get_input_tensor(index).data[:] = plain.get_input_tensor(index).data
    request.infer()
    counters = _Counters(request, running=_means(compiled))
    without: list[float] = []
    counted: list[float] = []
    for _ in range(_ROUNDS):
        without += _latencies(plain, seconds / _ROUNDS / 2, lambda: None)
        counted += _latencies(request, seconds / _ROUNDS, counters.inferred)
    read = counters.layers(layers.only_device(compiled))
    found = layers.timed(layers.executed(compiled, work), read, work)
    return {
        "latency_ms": sum(without) / len(without),
        "latency_counted_ms": sum(counted) / len(counted),
        "inferences": len(counted),
        "flops": work.total,
        "attributed": layers.attributed(found, work.flops),
        "layers": [layers.as_json(one) for one in found],
    }


class _Counters:
    """Sums of the layers' times, in microseconds by name."""

    def __init__(self, request: Any, *, running: bool) -> None:
        self._request, self._running = request, running
        self._readings = 0
        self._sums: dict[str, float] = {}
        self._last: dict[str, Any] = {}

    def inferred(self) -> None:
        """Note an inference that ended."""
        if not self._running:
            self._read()

    def layers(self, device: str | None) -> list[layers.Layer]:
        """Return every layer that ran, with its mean time."""
        if self._running:
            self._read()
        return [
            layers.Layer(
                name=name,
                type=self._last[name].node_type,
                precision=layers.precision_of(self._last[name].exec_type),
                primitive=self._last[name].exec_type,
                time_ms=total_us / self._readings / 1000,
                device=device,
            )
            for name, total_us in self._sums.items()
        ]

    def _read(self) -> None:
        self._readings += 1
        for one in self._request.profiling_info:
            if one.status == one.Status.EXECUTED:
                name = layers.without_part(one.node_name)
                self._last[name] = one
                taken_us = one.real_time.total_seconds() * 1e6
                self._sums[name] = self._sums.get(name, 0.0) + taken_us


def _means(compiled: Any) -> bool:
    """Whether the counters are means of all inferences so far."""
    return (layers.only_device(compiled) or "").startswith("CPU")


def _latencies(request: Any, seconds: float, inferred: Callable[[], None]) -> list[float]:
    until = time.perf_counter() + seconds
    taken: list[float] = []
    while len(taken) < _LEAST or time.perf_counter() < until:
        request.infer()
        taken.append(request.latency)
        inferred()
    return taken
