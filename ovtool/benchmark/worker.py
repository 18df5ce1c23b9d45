"""The measuring process: ``python -m ovtool.benchmark.worker``.

It says in one JSON line that it is ready, then reads one JSON command a line from its input
(``open``, ``measure``, ``profile``, ``layers``, ``save_cache``, ``infer``, ``close``) and answers
each with one JSON line.  It dies when its standard input closes, so nothing outlives the sweep that
started it.
It imports neither torch nor pandas: their threads would spin beside OpenVINO's.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov  # noqa: TID253 - this is the leaf that uses it

from ovtool.benchmark import layer_timing as profiling
from ovtool.benchmark import loops
from ovtool.core.device_names import is_virtual
from ovtool.core.units import mib
from ovtool.datasets import synthetic
from ovtool.graph import runtime_layers as layers
from ovtool.graph.flops import Work, work
from ovtool.system import child_process
from ovtool.system.counters import Counters
from ovtool.system.energy import Meter
from ovtool.system.host import Host, Unknown

WARM_UP_WINDOW_S = 0.1
WARM_UP_LIMIT_S = 1.5
STEADY_PCT = 3.0


class Worker:
    """The state between commands: one compiled model and its requests."""

    def __init__(self) -> None:
        self.core = ov.Core()
        self.host = Host()
        self.start_rss_bytes = self.host.rss_bytes()
        self.compiled: Any = None
        self.queue: Any = None
        self.counters: Any = None
        self.meter: Any = None
        self.command: dict[str, Any] = {}
        self.ranges: list[synthetic.ValueRange] = []
        self.ran_on: list[str] = []
        self.requests = 1
        self.rounds = 0
        self.work = Work({}, {})

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Compile, fill the inputs, run once, warm every request up."""
        self.command = command
        device = command["device"]
        self.core.get_versions(device)  # loads the plugins, which is no part of compiling
        model = self._model()
        self.work = work(model)
        properties = dict(command["properties"])
        properties["CACHE_DIR"] = command["cache"] or ""
        started = time.perf_counter_ns()
        self.compiled = self.core.compile_model(model, device, properties)
        answer: dict[str, Any] = {"compile_ms": (time.perf_counter_ns() - started) / 1e6}
        self.requests = command["requests"] or int(
            self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        )
        self.ran_on = self._execution_devices()
        self.queue = ov.AsyncInferQueue(self.compiled, self.requests)
        inputs = self._fill()
        started = time.perf_counter_ns()
        loops.inferring(self.queue[0])()
        answer["first_inference_ms"] = (time.perf_counter_ns() - started) / 1e6
        for request in self.queue:
            loops.inferring(request)()
        self.counters = Counters()
        worked = layers.only_device(self.compiled) if is_virtual(device) else None
        self.meter = Meter.for_device(Path("/"), worked or device)
        if command["warm_up"]:
            answer |= self._warm_up()
        return answer | {"inputs": inputs} | self._described()

    def _model(self) -> Any:
        model = self.core.read_model(self.command["xml"])
        self.ranges = list(synthetic.input_ranges(model).values())  # before shapes are folded in
        shapes = self.command["shapes"]
        model.reshape({i: ov.PartialShape(shape) for i, shape in enumerate(shapes)})
        return model

    def _fill(self) -> dict[str, str]:
        """Fill every request; return which random values the inputs take, if they are random."""
        command = self.command
        data = np.load(command["inputs"]) if command["inputs"] else None
        generator = np.random.default_rng(command["seed"])
        for request in self.queue:
            for index, port in enumerate(self.compiled.inputs):
                shape, dtype = command["data_shapes"][index], port.element_type.to_dtype()
                if data is None:
                    array = synthetic.generate(self.ranges[index], shape, dtype, generator)
                else:
                    array = data[command["names"][index]]
                _fill(request, index, port, array)
        if data is not None:
            return {}
        return {n: r.text for n, r in zip(command["names"], self.ranges, strict=True)}

    def save_cache(self, command: dict[str, Any]) -> dict[str, Any]:
        """Compile once more, into a model cache for another process to compile from."""
        folder = Path(command["folder"])
        properties = self.command["properties"] | {"CACHE_DIR": str(folder)}
        self.core.compile_model(self._model(), self.command["device"], properties)
        written = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
        return {"blob_mib": mib(sum(written)) if written else None}

    def _described(self) -> dict[str, Any]:
        known = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))

        behind = self._behind()

        def read(name: str) -> Any:
            return self.compiled.get_property(name) if name in known else behind.get(name)

        hint = read("INFERENCE_PRECISION_HINT")
        try:  # not every plugin lists it
            loaded = bool(self.compiled.get_property("LOADED_FROM_CACHE"))
        except RuntimeError:
            loaded = None
        quota = self.host.cgroup_cpus()
        return {
            "usable_cpus": self.host.usable_cpus(),
            "quota_cpus": None if isinstance(quota, Unknown) else quota,
            "precision": hint.get_type_name() if hint is not None else None,
            "layers": layers.summary(layers.executed(self.compiled, self.work), self.work),
            "flops": self.work.total,
            "streams": _whole(read("NUM_STREAMS")),
            "threads": _whole(read("INFERENCE_NUM_THREADS")),
            "pinned": _whole(read("ENABLE_CPU_PINNING")),
            "requests": self.requests,
            "loaded_from_cache": loaded,
            "execution_devices": self.ran_on,
            "placement": self._placement(),
        }

    def _behind(self) -> dict[str, Any]:
        """Return the properties of the one device behind a virtual one; empty where not one."""
        try:
            told = self.compiled.get_property("DEVICE_PROPERTIES")
        except RuntimeError:  # a device that stands for itself
            return {}
        return dict(next(iter(told.values()))) if len(told) == 1 else {}

    def _execution_devices(self) -> list[str]:
        if "EXECUTION_DEVICES" not in self.compiled.get_property("SUPPORTED_PROPERTIES"):
            return []
        told = self.compiled.get_property("EXECUTION_DEVICES")
        return [told] if isinstance(told, str) else [str(name) for name in told]

    def _placement(self) -> dict[str, int] | None:
        """Return how many operations HETERO puts on each device; None for any other device."""
        device = self.command["device"]
        if not device.startswith("HETERO"):
            return None
        offered = self.core.query_model(self._model(), device)
        return dict(Counter(str(name) for name in offered.values()).most_common())

    def _warm_up(self) -> dict[str, Any]:
        """Infer until the speed of three windows in a row no longer drifts.

        By wall time or, on a machine that others use too, by CPU time.
        """
        started = time.perf_counter()
        windows: list[dict[str, Any]] = []
        steady = False
        while not steady and time.perf_counter() - started < WARM_UP_LIMIT_S:
            windows += self._run(WARM_UP_WINDOW_S).windows
            steady = _steady([w["seconds"] / w["inferences"] for w in windows[-3:]]) or _steady(
                [(w["cpu_s"] or 0.0) / w["inferences"] for w in windows[-3:]]
            )
        return {"warm_up_s": time.perf_counter() - started, "steady": steady}

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """Measure a round."""
        self.rounds += 1
        before, started = self._energy(), time.perf_counter()
        recorded = self._run(command["seconds"], command["rate"])
        seconds, after = time.perf_counter() - started, self._energy()
        answer = recorded.to_json()
        now = self._execution_devices()
        if now != self.ran_on:  # AUTO moves on when a device fails
            was = ", ".join(self.ran_on)
            raise RuntimeError(f"it moved from {was} to {', '.join(now)} while it was measured")
        if isinstance(before, Unknown) or isinstance(after, Unknown):
            unknown = before if isinstance(before, Unknown) else after
            answer["energy_unknown"] = unknown.because
        else:
            answer["energy"] = {
                "joules": after.since(before),
                "seconds": seconds,
                "inferences": recorded.completed,
                "source": self.meter.source,
            }
        peak = self.host.peak_rss_bytes()
        if isinstance(peak, Unknown):
            return answer | {"peak_rss_mib": None, "rss_growth_mib": None}
        grown = mib(peak - self.start_rss_bytes)
        return answer | {"peak_rss_mib": mib(peak), "rss_growth_mib": grown}

    def _energy(self) -> Any:
        return self.meter if isinstance(self.meter, Unknown) else self.meter.read()

    def profile(self, command: dict[str, Any]) -> dict[str, Any]:
        """Time each layer, by a second compilation that counts."""
        counting = self.command["properties"] | {"PERF_COUNT": "YES"}
        counted = self.core.compile_model(self._model(), self.command["device"], counting)
        return profiling.profile(
            self.queue[0], counted, self.work, command["seconds"], self.counters
        )

    def layers(self, command: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - it takes nothing
        """Tell what is executed, layer by layer, without running it."""
        found = layers.executed(self.compiled, self.work)
        return {"layers": None if found is None else [layers.as_json(one) for one in found]}

    def _run(self, seconds: float, rate: float | None = None) -> loops.Recorded:
        if rate is not None:
            seed = self.command["seed"] + self.rounds
            return loops.arriving(self.queue, rate, seconds, self.counters, seed)
        if self.requests == 1:
            return loops.one_at_a_time(self.queue[0], seconds, self.counters)
        return loops.all_busy(self.queue, self.requests, seconds, self.counters)

    def infer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Infer samples, stacked along axis 0 of each array, in order and by the batch.

        The last request is filled up with copies of the last sample, whose outputs are dropped.
        """
        data, names = np.load(command["inputs"]), command["names"]
        batch, axes = self.command["batch"], self.command["batch_axes"]
        arrays = [data[name] for name in names]
        count = len(arrays[0])
        results: list[list[Any]] = [[] for _ in self.compiled.outputs]
        request = self.compiled.create_infer_request()
        for start in range(0, count, batch):
            rows = np.minimum(np.arange(start, start + batch), count - 1)
            for index, array in enumerate(arrays):
                axis = axes[index]
                one = array[start] if axis is None else np.moveaxis(array[rows], 0, axis)
                _fill(request, index, self.compiled.inputs[index], one)
            loops.inferring(request)()
            for index, collected in enumerate(results):
                collected.append(self._rows(request.get_output_tensor(index), count - start))
        np.savez(command["outputs"], *[np.concatenate(arrays) for arrays in results])
        return {}

    def _rows(self, tensor: Any, left: int) -> Any:
        """Return an output's real samples as rows; one without a batch dimension is a row."""
        array = np.array(tensor.data)
        if array.ndim == 0 or array.shape[0] != self.command["batch"]:
            return array[None]
        return array[:left]


def _steady(values: list[float]) -> bool:
    """Whether three values in a row lie within a few per cent of one another."""
    return len(values) == 3 and 0 < max(values) <= min(values) * (1 + STEADY_PCT / 100)


def _fill(request: Any, index: int, port: Any, array: Any) -> None:
    """Give a request an input; one of open dimensions has a tensor only once it is given one."""
    if port.partial_shape.is_dynamic:
        request.set_input_tensor(index, ov.Tensor(array.astype(port.element_type.to_dtype())))
    else:
        request.get_input_tensor(index).data[:] = array


def _whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None  # AUTO and the like give a list


if __name__ == "__main__":
    child_process.serve(Worker)
