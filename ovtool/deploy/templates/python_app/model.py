"""The compiled model: synchronous, asynchronous and batched inference."""

from __future__ import annotations

import itertools
import json
import queue
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import openvino as ov
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Inputs = Array | Mapping[str, Array]
"""The only input of a model, or an array for each input by its name."""

FOLDER = Path(__file__).parent


class Model:
    """A model, compiled for the device and with the properties that were measured.

    Its methods may be called from several threads.  Close it, or use it in a ``with`` block, to
    end its threads.

    Args:
        device: Another OpenVINO device, such as ``GPU``; by default the measured one.

    Attributes:
        batch: Samples in one request.
        requests: Requests that run at a time.
        labels: Names of the classes in the order of the outputs; empty if they are not known.
    """

    def __init__(self, device: str | None = None) -> None:
        self.config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
        self.device: str = device or self.config["device"]
        self.batch: int = self.config["batch"]
        self.requests: int = self.config["requests"]
        names = FOLDER / "labels.txt"
        self.labels = names.read_text(encoding="utf-8").splitlines() if names.exists() else []
        core = ov.Core()
        self.compiled = core.compile_model(
            core.read_model(FOLDER / "model.xml"), self.device, self.config["properties"]
        )
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(self.requests):
            self._idle.put(self.compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(self.requests)

    def __enter__(self) -> Self:
        """Return the model."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the model."""
        self.close()

    def close(self) -> None:
        """Wait for the running requests, and end the threads."""
        self._threads.shutdown()

    def infer(self, inputs: Inputs) -> Arrays:
        """Run one request of ``batch`` samples; return the outputs by name.

        Raises:
            ValueError: An input is missing, or has another shape or type.
        """
        arrays = self._check(inputs)  # before a request is taken
        return self._run(self._idle.get(), arrays)

    def submit(self, inputs: Inputs) -> Future[Arrays]:
        """Start one request; ``result()`` of what is returned waits for its outputs.

        Waits while all requests are busy.  ``asyncio.wrap_future`` makes the result awaitable.

        Raises:
            ValueError: An input is missing, or has another shape or type.
        """
        arrays = {index: array.copy() for index, array in self._check(inputs).items()}
        return self._threads.submit(self._run, self._idle.get(), arrays)

    def infer_samples(self, samples: Iterable[Inputs]) -> Iterator[Arrays]:
        """Yield the outputs of samples in order, with full batches and all requests busy.

        Samples and outputs have no batch dimension.  The last batch is padded by its last sample.

        Raises:
            ValueError: An input is missing, or has another shape or type.
        """
        pending: deque[tuple[int, Future[Arrays]]] = deque()
        iterator = iter(samples)
        while group := list(itertools.islice(iterator, self.batch)):
            pending.append((len(group), self.submit(self._stack(group))))
            if len(pending) > self.requests:
                yield from self._unstack(*pending.popleft())
        while pending:
            yield from self._unstack(*pending.popleft())

    def describe(self) -> dict[str, Any]:
        """Return what was compiled: device, properties as the device reports them, shapes."""
        reported = set(self.compiled.get_property("SUPPORTED_PROPERTIES"))
        properties = {
            name: property_text(self.compiled.get_property(name)) if name in reported else None
            for name in self.config["properties"]
        }
        return {
            "device": self.device,
            "properties": properties,
            "requests": self.requests,
            "inputs": {p["name"]: p["shape"] for p in self.config["inputs"]},
            "outputs": {p["name"]: p["shape"] for p in self.config["outputs"]},
        }

    def _run(self, request: ov.InferRequest, arrays: Mapping[int, Array]) -> Arrays:
        try:
            request.infer(dict(arrays), share_inputs=True, share_outputs=True)
            return {
                port["name"]: request.get_output_tensor(index).data.copy()
                for index, port in enumerate(self.config["outputs"])
            }
        finally:
            self._idle.put(request)

    def _check(self, inputs: Inputs) -> dict[int, Array]:
        """Return the inputs by position, in the types of the model."""
        return {
            index: _check_array(array, port, port["shape"])
            for index, (array, port) in enumerate(self._by_port(inputs))
        }

    def _by_port(self, inputs: Inputs) -> Iterator[tuple[Array, dict[str, Any]]]:
        ports = self.config["inputs"]
        if not isinstance(inputs, Mapping):
            if len(ports) > 1:
                names = ", ".join(port["name"] for port in ports)
                message = f"the model has several inputs: give a dictionary with {names}"
                raise ValueError(message)
            inputs = {ports[0]["name"]: inputs}
        for port in ports:
            if port["name"] not in inputs:
                message = f"input {port['name']} is missing; given: {', '.join(inputs)}"
                raise ValueError(message)
            yield np.asarray(inputs[port["name"]]), port

    def _stack(self, group: Sequence[Inputs]) -> Arrays:
        """Return samples as the inputs of one request, padded to a full batch."""
        padded = [*group, *itertools.repeat(group[-1], self.batch - len(group))]
        columns = zip(*(self._by_port(sample) for sample in padded), strict=True)
        stacked: Arrays = {}
        for column in columns:
            port = column[0][1]
            axis = port["batch_axis"]
            shape = [size for index, size in enumerate(port["shape"]) if index != axis]
            arrays = [_check_array(array, port, shape) for array, _ in column]
            stacked[port["name"]] = arrays[0] if axis is None else np.stack(arrays, axis)
        return stacked

    def _unstack(self, count: int, future: Future[Arrays]) -> Iterator[Arrays]:
        """Yield the outputs of the samples of one request."""
        rows = {}
        for port in self.config["outputs"]:
            output, axis = future.result()[port["name"]], port["batch_axis"]
            if axis is None or output.shape[axis] % self.batch:  # the same for all samples
                rows[port["name"]] = [output] * self.batch
                continue
            shape = list(output.shape)
            several = [self.batch, output.shape[axis] // self.batch]
            shape[axis : axis + 1] = several if several[1] > 1 else [self.batch]
            rows[port["name"]] = list(np.moveaxis(output.reshape(shape), axis, 0))
        for index in range(count):
            yield {name: values[index] for name, values in rows.items()}


def property_text(value: Any) -> str:
    """Return the value of a property as text, in the form in which it is set."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if hasattr(value, "get_type_name"):  # an element type
        return str(value.get_type_name())
    return str(getattr(value, "name", value))  # an enumeration, or a plain value


def _check_array(array: Array, port: Mapping[str, Any], shape: Sequence[int]) -> Array:
    """Return an array in the type of an input, if its shape fits; -1 is any size."""
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        message = f"input {port['name']} has shape {list(array.shape)}, expected {list(shape)}"
        raise ValueError(message)
    if not np.can_cast(array.dtype, port["type"], "same_kind"):
        message = f"input {port['name']} has type {array.dtype}, expected {port['type']}"
        raise ValueError(message)
    return np.ascontiguousarray(array, port["type"])
