"""The worker process of a trial: ``python -m ovtool.benchmark.worker``.

Each public method of :class:`Worker` handles a request; see
:func:`ovtool.system.child_process.serve`.  The worker imports neither torch nor pandas, since their
threads would spin next to those of OpenVINO.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov  # noqa: TID253 - only this process imports it

from ovtool.benchmark import layer_timing, loops
from ovtool.benchmark.resources import Resources
from ovtool.core.device_names import is_virtual
from ovtool.core.units import mib
from ovtool.datasets import samples, synthetic
from ovtool.graph import runtime
from ovtool.graph.flops import OperationCost, compute_cost
from ovtool.graph.reference_run import read_tensor
from ovtool.system import child_process
from ovtool.system.counters import Counters
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WARM_UP_WINDOW_S = 0.1
WARM_UP_LIMIT_S = 1.5
STEADY_PCT = 3.0
_COMPARED = 3
"""Windows that the end of the warm-up is decided by."""
TIMED_RESETS = 20


class Worker:
    """One compiled model and its infer requests."""

    def __init__(self) -> None:
        self.core = ov.Core()
        self.resources = Resources()
        self.compiled: Any = None
        self.queue: Any = None
        self.counters: Any = None
        self.job: dict[str, Any] = {}
        self.ranges: list[synthetic.ValueRange] = []
        self.ran_on: list[str] = []
        self.requests = 1
        self.rounds = 0
        self.inference_s = 0.0
        """Time of the latest inferences, on average."""
        self.states = State()
        self.cost = OperationCost({}, {})

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compile, fill the inputs, run the first inference, warm up every request."""
        self.job = request
        device = request["device"]
        self.core.get_versions(device)  # loads the plugins, which is not part of compiling
        model = self._model()
        self.cost = compute_cost(model)
        properties = dict(request["properties"])
        properties["CACHE_DIR"] = request["cache"] or ""
        started = time.perf_counter_ns()
        self.compiled = self.core.compile_model(model, device, properties)
        reply: dict[str, Any] = {"compile_ms": (time.perf_counter_ns() - started) / 1e6}
        self.requests = request["requests"] or int(
            self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        )
        self.ran_on = self._execution_devices()
        self.queue = ov.AsyncInferQueue(self.compiled, self.requests)
        self.states = _read_state(self.queue[0], len(model.get_variables()))
        inputs = self._fill_requests()
        started = time.perf_counter_ns()
        self._make_infer(self.queue[0])()
        reply["first_inference_ms"] = (time.perf_counter_ns() - started) / 1e6
        self.inference_s = reply["first_inference_ms"] / 1e3
        self.counters = Counters()
        executing = runtime.find_single_device(self.compiled) if is_virtual(device) else None
        self.resources.open_meter(executing or device)
        if request["warm_up"]:
            for infer_request in list(self.queue)[1:]:
                self._make_infer(infer_request)()
            reply |= self._warm_up()
        if self.states.count:
            reply["state"] = {"count": self.states.count, "reset_ms": self._time_reset()}
        return reply | {"inputs": inputs} | self._describe()

    def _make_infer(self, infer_request: Any) -> Callable[[], object]:
        return loops.make_infer(infer_request, reset=self.states.resets)

    def _time_reset(self) -> float | None:
        """Return the median time of a reset after an inference; None without resets."""
        if not self.states.resets:
            return None
        infer, times_ms = loops.make_infer(self.queue[0]), []
        self.queue[0].reset_state()  # of the warm-up: a longer state may not fit the inputs
        for _ in range(1 if self.inference_s > WARM_UP_WINDOW_S / TIMED_RESETS else TIMED_RESETS):
            infer()
            started = time.perf_counter_ns()
            self.queue[0].reset_state()
            times_ms.append((time.perf_counter_ns() - started) / 1e6)
        return median(times_ms)

    def _model(self) -> Any:
        model = self.core.read_model(self.job["xml"])
        # The ranges are read before reshaping folds the shapes.
        self.ranges = list(synthetic.input_ranges(model).values())
        shapes = self.job["shapes"]
        model.reshape({i: ov.PartialShape(shape) for i, shape in enumerate(shapes)})
        return model

    def _fill_requests(self) -> dict[str, str]:
        """Fill every request; return descriptions of the random inputs."""
        job = self.job
        data = np.load(job["inputs"]) if job["inputs"] else None
        generator = np.random.default_rng(job["seed"])
        for request in self.queue:
            for index, port in enumerate(self.compiled.inputs):
                shape, dtype = job["data_shapes"][index], port.element_type.to_dtype()
                if data is None:
                    array = synthetic.generate(self.ranges[index], shape, dtype, generator)
                else:
                    array = data[job["names"][index]]
                _set_input(request, index, port, array)
        if data is not None:
            return {}
        return {name: values.text for name, values in zip(job["names"], self.ranges, strict=True)}

    def save_cache(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compile again, into a model cache for another process to load."""
        folder = Path(request["folder"])
        properties = self.job["properties"] | {"CACHE_DIR": str(folder)}
        self.core.compile_model(self._model(), self.job["device"], properties)
        written = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
        return {"blob_mib": mib(sum(written)) if written else None}

    def _describe(self) -> dict[str, Any]:
        known = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))
        behind = self._behind()

        def read(name: str) -> Any:
            return self.compiled.get_property(name) if name in known else behind.get(name)

        hint = read("INFERENCE_PRECISION_HINT")
        try:  # not every plugin lists it
            loaded = bool(self.compiled.get_property("LOADED_FROM_CACHE"))
        except RuntimeError:
            loaded = None
        quota = self.resources.host.cgroup_cpus()
        layers = runtime.read_layers(self.compiled, self.cost)
        return {
            "usable_cpus": self.resources.host.usable_cpus(),
            "quota_cpus": None if isinstance(quota, Unknown) else quota,
            "precision": hint.get_type_name() if hint is not None else None,
            "layers": runtime.summarize_layers(layers, self.cost),
            "flops": self.cost.total,
            "streams": _to_int(read("NUM_STREAMS")),
            "threads": _to_int(read("INFERENCE_NUM_THREADS")),
            "pinned": _to_int(read("ENABLE_CPU_PINNING")),
            "requests": self.requests,
            "loaded_from_cache": loaded,
            "execution_devices": self.ran_on,
            "placement": self._placement(),
        }

    def _behind(self) -> dict[str, Any]:
        """Return the properties of the single device behind a virtual one; else empty."""
        try:
            properties = self.compiled.get_property("DEVICE_PROPERTIES")
        except RuntimeError:  # not a virtual device
            return {}
        return dict(next(iter(properties.values()))) if len(properties) == 1 else {}

    def _execution_devices(self) -> list[str]:
        if "EXECUTION_DEVICES" not in self.compiled.get_property("SUPPORTED_PROPERTIES"):
            return []
        devices = self.compiled.get_property("EXECUTION_DEVICES")
        return [devices] if isinstance(devices, str) else [str(name) for name in devices]

    def _placement(self) -> dict[str, int] | None:
        """Return the number of operations per device of HETERO; None for other devices."""
        device = self.job["device"]
        if not device.startswith("HETERO"):
            return None
        assigned = self.core.query_model(self._model(), device)
        return dict(Counter(str(name) for name in assigned.values()).most_common())

    def _warm_up(self) -> dict[str, Any]:
        """Infer until the throughput of three consecutive windows is steady.

        Either wall time or, on a busy machine, CPU time decides.
        """
        started = time.perf_counter()
        windows: list[dict[str, Any]] = []
        steady = False
        while not steady and time.perf_counter() - started < WARM_UP_LIMIT_S:
            windows += self._run(WARM_UP_WINDOW_S).windows
            self.inference_s = windows[-1]["latency_mean_ms"] / 1e3
            steady = _steady(
                [w["seconds"] / w["inferences"] for w in windows[-_COMPARED:]]
            ) or _steady([(w["cpu_s"] or 0.0) / w["inferences"] for w in windows[-_COMPARED:]])
        unknown = len(windows) < _COMPARED
        return {"warm_up_s": time.perf_counter() - started, "steady": steady or unknown}

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Measure a round."""
        self.rounds += 1
        start = self.resources.start_round()
        recorded = self._run(request["seconds"], request["rate"])
        self.inference_s = recorded.windows[-1]["latency_mean_ms"] / 1e3
        usage = self.resources.end_round(start, recorded.completed)
        now = self._execution_devices()
        if now != self.ran_on:  # AUTO switches to another device when one fails
            previous = ", ".join(self.ran_on)
            raise RuntimeError(f"execution moved from {previous} to {', '.join(now)}")
        return recorded.to_json() | usage

    def profile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Time each layer, in a second compilation with performance counters."""
        properties = self.job["properties"] | {"PERF_COUNT": "YES"}
        counted = self.core.compile_model(self._model(), self.job["device"], properties)
        return layer_timing.profile_layers(
            self.queue[0],
            counted,
            self.cost,
            request["seconds"],
            self.counters,
            rounds=request["rounds"],
            reset=self.states.resets,
        )

    def layers(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - without arguments
        """Return the executed layers, without running them."""
        executed = runtime.read_layers(self.compiled, self.cost)
        return {"layers": None if executed is None else list(map(asdict, executed))}

    def _run(self, seconds: float, rate: float | None = None) -> loops.Recording:
        queue, counters, reset = self.queue, self.counters, self.states.resets
        if rate is not None:
            seed = self.job["seed"] + self.rounds
            return loops.run_open_loop(queue, rate, seconds, counters, seed, reset=reset)
        long = self.inference_s >= seconds
        if self.requests == 1:
            return loops.run_single(queue[0], seconds, counters, reset=reset, lead_in=not long)
        if long:
            return loops.run_once(queue, self.requests, counters, reset=reset)
        return loops.run_closed_loop(queue, self.requests, seconds, counters, reset=reset)

    def infer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Infer samples, stacked along axis 0 of each array, in order and in batches.

        Every batch starts from the initial state.  A batch holds consecutive samples that agree on
        the inputs without a batch dimension.  Copies of its last sample fill it; their outputs are
        dropped.  An output whose size differs between requests is written flat, with the shape of
        each request beside it.
        """
        data, names = np.load(request["inputs"]), request["names"]
        batch, axes = self.job["batch"], self.job["batch_axes"]
        output_axes = self.job["output_axes"]
        arrays = [data[name] for name in names]
        shared = [a for a, axis in zip(arrays, axes, strict=True) if axis is None]
        results: list[list[Any]] = [[] for _ in self.compiled.outputs]
        infer_request = None
        for rows in _split_batches(shared, len(arrays[0]), batch):
            places = np.minimum(np.arange(rows.start, rows.start + batch), rows.stop - 1)
            if infer_request is None or not self.states.known:  # a new request has a new state
                infer_request = self.compiled.create_infer_request()
            for index, array in enumerate(arrays):
                fed = samples.stack(names[index], array[places], axes[index])
                _set_input(infer_request, index, self.compiled.inputs[index], fed)
            self._make_infer(infer_request)()
            for index, collected in enumerate(results):
                output = read_tensor(infer_request.get_output_tensor(index))
                if index < len(output_axes):
                    each = samples.unstack(output, output_axes[index], batch)
                    collected.extend(each[: len(rows)])
                else:
                    collected.append(output)
        _write_outputs(Path(request["outputs"]), results)
        return {}


def _write_outputs(path: Path, results: list[list[Any]]) -> None:
    """Write the samples of each output; flat, with the shapes beside them, if these differ."""
    written: dict[str, Any] = {}
    for index, collected in enumerate(results):
        if len({sample.shape for sample in collected}) == 1:
            written[f"arr_{index}"] = np.stack(collected)
        else:
            written[f"arr_{index}"] = np.concatenate([sample.reshape(-1) for sample in collected])
            written[f"shapes_{index}"] = np.array([sample.shape for sample in collected], np.int64)
    np.savez(path, **written)


@dataclass(frozen=True, slots=True)
class State:
    """The state of a compiled model: its variables, and whether a request can be reset.

    ``known`` is False where the device does not show the state of a model with variables.
    """

    count: int = 0
    known: bool = True

    @property
    def resets(self) -> bool:
        """Whether each inference starts with a reset."""
        return self.known and self.count > 0


def _read_state(infer_request: Any, variables: int) -> State:
    try:
        count = len(infer_request.query_state())
        infer_request.reset_state()
    except RuntimeError:  # virtual devices may not implement it
        return State(variables, known=not variables)
    return State(count)


def _split_batches(shared: Sequence[Any], count: int, batch: int) -> Iterator[range]:
    """Yield at most ``batch`` consecutive samples with the same values of the shared inputs."""
    start = 0
    while start < count:
        stop = start + 1
        while stop < min(start + batch, count) and all(
            np.array_equal(array[stop], array[start]) for array in shared
        ):
            stop += 1
        yield range(start, stop)
        start = stop


def _steady(values: list[float]) -> bool:
    """Whether three consecutive values differ by at most :data:`STEADY_PCT`."""
    return len(values) == _COMPARED and 0 < max(values) <= min(values) * (1 + STEADY_PCT / 100)


def _set_input(request: Any, index: int, port: Any, array: Any) -> None:
    """Set an input of a request; an input with open dimensions needs a new tensor."""
    if port.partial_shape.is_dynamic:
        request.set_input_tensor(index, ov.Tensor(array.astype(port.element_type.to_dtype())))
    else:
        request.get_input_tensor(index).data[...] = array  # a scalar has no dimension to slice


def _to_int(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None  # AUTO returns a list


if __name__ == "__main__":
    child_process.serve(Worker)
