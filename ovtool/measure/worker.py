"""The measuring process: ``python -m ovtool.measure.worker``.

It reads one JSON command a line from its standard input (``open``, ``measure``, ``infer``,
``profile``, ``close``) and answers each with one JSON line.  It dies when its standard input
closes, so nothing outlives the sweep that started it, however that ended.  It imports neither torch
nor pandas: their threads would spin beside OpenVINO's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov  # noqa: TID253 - this is the leaf that uses it

from ovtool.flops import Work, work
from ovtool.host import EnergyCounter, Host, Unknown
from ovtool.measure import layers, profiling
from ovtool.units import NS_PER_S, mib

WINDOW_S = 0.1
WARM_UP_LIMIT_S = 1.0
STEADY_PCT = 3.0


class Worker:
    """The state between commands: one compiled model and its requests."""

    def __init__(self) -> None:
        self.core = ov.Core()
        self.host = Host()
        self.compiled: Any = None
        self.queue: Any = None
        self.requests = 1
        self.batch_axes: list[int | None] = []
        self.batch = 1
        self.work = Work({}, {})

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Compile cold and cached, fill the inputs, run once, warm every request up."""
        device, properties = command["device"], command["properties"]
        self.batch, self.batch_axes = command["batch"], command["batch_axes"]
        self.core.get_versions(device)  # loads the plugins, which is no part of compiling
        model = self._read(command)
        self.work = work(model)
        answer = self._compile(model, device, properties)
        self.requests = command["requests"] or int(
            self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        )
        self.queue = ov.AsyncInferQueue(self.compiled, self.requests)
        data = np.load(command["inputs"]) if command["inputs"] else None
        generator = np.random.default_rng(command["seed"])
        for request in self.queue:
            for index, port in enumerate(self.compiled.inputs):
                name = command["names"][index]
                array = data[name] if data is not None else _random(port, generator)
                request.get_input_tensor(index).data[:] = array
        started = time.perf_counter_ns()
        self.queue[0].infer()
        answer["first_inference_ms"] = (time.perf_counter_ns() - started) / 1e6
        for request in self.queue:
            request.infer()
        answer |= self._described() | {"warm_up_s": self._warm_up()}
        return answer

    def _read(self, command: dict[str, Any]) -> Any:
        model = self.core.read_model(command["xml"])
        model.reshape({i: ov.PartialShape(shape) for i, shape in enumerate(command["shapes"])})
        return model

    def _compile(self, model: Any, device: str, properties: dict[str, str]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="ovtool-cache-") as folder:
            fresh = properties | {"CACHE_DIR": folder}
            started = time.perf_counter_ns()
            self.compiled = self.core.compile_model(model, device, fresh)
            cold_ms = (time.perf_counter_ns() - started) / 1e6
            cached_ms = None
            if any(Path(folder).iterdir()):
                started = time.perf_counter_ns()
                again = self.core.compile_model(model, device, fresh)
                cached_ms = (time.perf_counter_ns() - started) / 1e6
                del again
            return {"compile_cold_ms": cold_ms, "compile_cached_ms": cached_ms}

    def _described(self) -> dict[str, Any]:
        known = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))

        def read(name: str) -> Any:
            return self.compiled.get_property(name) if name in known else None

        hint = read("INFERENCE_PRECISION_HINT")
        return {
            "precision": hint.get_type_name() if hint is not None else None,
            "layers": layers.summary(layers.executed(self.compiled, self.work), self.work),
            "flops": self.work.total,
            "streams": _whole(read("NUM_STREAMS")),
            "threads": _whole(read("INFERENCE_NUM_THREADS")),
            "requests": self.requests,
            "execution_devices": [str(d) for d in read("EXECUTION_DEVICES") or []],
        }

    def _warm_up(self) -> float:
        """Infer until the mean latency of two windows in a row stops drifting."""
        started = time.perf_counter()
        means: list[float] = []
        while time.perf_counter() - started < WARM_UP_LIMIT_S:
            means.append(float(np.mean(np.concatenate(self._run(WINDOW_S)["latencies_ms"]))))
            last = means[-3:]
            if len(last) == 3 and (max(last) - min(last)) / min(last) * 100 < STEADY_PCT:
                break
        return time.perf_counter() - started

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """Measure a round."""
        before = self.host.energy()
        answer = self._run(command["seconds"])
        after = self.host.energy()
        if isinstance(before, EnergyCounter) and isinstance(after, EnergyCounter):
            answer["energy_j"] = after.since(before)
        else:
            answer["energy_unknown"] = before.because if isinstance(before, Unknown) else "lost"
        peak = self.host.peak_rss_bytes()
        answer["peak_rss_mib"] = None if isinstance(peak, Unknown) else mib(peak)
        return answer

    def profile(self, command: dict[str, Any]) -> dict[str, Any]:
        """Time each layer, by a second compilation that counts."""
        counting = command["properties"] | {"PERF_COUNT": "YES"}
        counted = self.core.compile_model(self._read(command), command["device"], counting)
        return profiling.profile(self.queue[0], counted, self.work, command["seconds"])

    def _run(self, seconds: float) -> dict[str, Any]:
        """Keep every request busy, and cut the completions into windows.

        A window runs from one completion to another, so that a long inference is a window of its
        own and no fraction of one is lost at an edge.  The first 5 % of the time, and at least
        one use of each request, is the lead-in: it pays for what others left in the caches.
        """
        single = self.requests == 1
        request, queue = self.queue[0], self.queue
        lead_in = 1 if single else self.requests + 1  # the first ones only start a request
        windows: list[dict[str, Any]] = []
        latencies: list[list[float]] = []
        current: list[float] = []
        window_ns, now = int(WINDOW_S * NS_PER_S), time.perf_counter_ns()
        lead_until, stop = now + int(seconds * NS_PER_S / 20), now + int(seconds * NS_PER_S)
        done, opened, counters = 0, 0, (0.0, 0.0, 0.0)
        while not windows or now < stop:
            if single:
                request.infer()
                latency = request.latency
            else:
                latency = queue[queue.get_idle_request_id()].latency
                queue.start_async()
            now = time.perf_counter_ns()
            if not opened:
                done += 1
                if done >= lead_in and now >= lead_until:
                    opened, counters = now, self._counters()
                continue
            current.append(latency)
            if now - opened >= window_ns or now >= stop:
                read = self._counters()
                windows.append(_window(current, now - opened, counters, read))
                latencies.append(current)
                opened, counters, current = now, read, []
        if not single:
            queue.wait_all()
        return {"windows": windows, "latencies_ms": latencies}

    def _counters(self) -> tuple[float, float, float]:
        machine = self.host.cpu_times()
        return time.process_time(), machine.busy_s, machine.steal_s

    def infer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Infer samples, stacked along axis 0 of each array, in order and by the batch.

        The last request is filled up with copies of the last sample, whose outputs are dropped.
        """
        data, names = np.load(command["inputs"]), command["names"]
        arrays = [data[name] for name in names]
        count = len(arrays[0])
        results: list[list[Any]] = [[] for _ in self.compiled.outputs]
        request = self.compiled.create_infer_request()
        for start in range(0, count, self.batch):
            rows = np.minimum(np.arange(start, start + self.batch), count - 1)
            for index, array in enumerate(arrays):
                axis = self.batch_axes[index]
                one = array[start] if axis is None else np.moveaxis(array[rows], 0, axis)
                request.get_input_tensor(index).data[:] = one
            request.infer()
            for index, collected in enumerate(results):
                collected.append(self._rows(request.get_output_tensor(index), count - start))
        np.savez(command["outputs"], *[np.concatenate(arrays) for arrays in results])
        return {}

    def _rows(self, tensor: Any, left: int) -> Any:
        """Return an output's real samples as rows; one without a batch dimension is a row."""
        array = np.array(tensor.data)
        if array.ndim == 0 or array.shape[0] != self.batch:
            return array[None]
        return array[:left]


def _window(
    latencies: list[float], ns: int, before: tuple[float, ...], after: tuple[float, ...]
) -> dict[str, Any]:
    cpu, busy, steal = (b - a for a, b in zip(before, after, strict=True))
    return {
        "seconds": ns / NS_PER_S,
        "inferences": len(latencies),
        "latency_mean_ms": sum(latencies) / len(latencies),
        "latency_max_ms": max(latencies),
        "cpu_s": cpu,
        "busy_s": busy,
        "steal_s": steal,
    }


def _random(port: Any, generator: np.random.Generator) -> Any:
    """Return seeded input of a port's shape and type: N(0, 1), small whole numbers, or booleans."""
    shape, dtype = tuple(port.shape), port.element_type.to_dtype()
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        return generator.integers(0, 100, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def _whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None  # AUTO and the like give a list


def _commands() -> SimpleQueue[str]:
    """Read commands in a thread, and end the process when there can be no more of them."""
    commands: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return commands


def main() -> None:
    """Answer commands until told to close."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what plugins print goes to the error stream, not between the answers
    worker, commands = Worker(), _commands()
    while True:
        command = json.loads(commands.get())
        if command["do"] == "close":
            break
        try:
            answer = {"ok": getattr(worker, command["do"])(command)}
        except (RuntimeError, ValueError, TypeError, KeyError, OSError, MemoryError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # skips the plugins' tear-down: there is nothing left to lose


if __name__ == "__main__":
    main()
