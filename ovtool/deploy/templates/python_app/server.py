"""KServe v2 server over HTTP: ``python -m NAME.server``; metrics for Prometheus at ``/metrics``.

Tensors are JSON or binary (the extension of Triton).  A request has the shapes of ``config.json``.
SIGTERM ends it after the requests in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .model import Array, Arrays, Model

NAME = str(__package__).rpartition(".")[2]
HEADER = "Inference-Header-Content-Length"
TYPES = {
    "bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip
JSON_BYTES = 32
"""Most bytes of a number in JSON that a request may have."""
OPEN_BYTES = 64 << 20
"""Largest request of a model with open dimensions."""


class RequestError(Exception):
    """A request that is refused, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The endpoints of a model.

    Args:
        model: The model.
        max_waiting: Requests that wait for the model; further ones are answered with 503.
        read_s: Time that a client has to send a request.
        max_bytes: Largest request; by default what the inputs need.
    """

    def __init__(
        self, model: Model, max_waiting: int = 64, read_s: float = 10.0, max_bytes: int = 0
    ) -> None:
        self.model, self.read_s = model, read_s
        self.ports: list[dict[str, Any]] = model.config["inputs"]
        self.max_bytes = max_bytes or self._largest_request()
        self.limit = model.requests + max_waiting
        self.limiter = anyio.CapacityLimiter(model.requests)
        self.in_flight = 0
        self.answers: Counter[int] = Counter()
        self.seconds = 0.0
        self.ending = False

    def app(self) -> Starlette:
        """Return the application."""
        base = f"/v2/models/{NAME}"
        return Starlette(
            routes=[
                Route("/v2", self.describe_server),
                Route("/v2/health/live", self.live),
                Route("/v2/health/ready", self.ready),
                Route(base, self.describe_model),
                Route(f"{base}/ready", self.ready),
                Route(f"{base}/infer", self.infer, methods=["POST"]),
                Route("/metrics", self.metrics),
            ],
            lifespan=self.lifespan,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the model after the last request."""
        try:
            yield
        finally:
            self.ending = True
            self.model.close()

    async def live(self, _: Request) -> Response:
        """Answer that the process lives."""
        return Response()

    async def ready(self, _: Request) -> Response:
        """Answer whether the server takes requests."""
        return Response(status_code=503 if self.ending or self.in_flight >= self.limit else 200)

    async def describe_server(self, _: Request) -> Response:
        """Answer the name of the server."""
        extensions = ["binary_tensor_data"]
        return JSONResponse({"name": NAME, "version": "1", "extensions": extensions})

    async def describe_model(self, _: Request) -> Response:
        """Answer the inputs and outputs of the model."""
        inputs = [
            {"name": p["name"], "datatype": TYPES[p["type"]], "shape": p["shape"]}
            for p in self.ports
        ]
        types = [port.element_type.to_dtype().name for port in self.model.compiled.outputs]
        outputs = [
            {"name": p["name"], "datatype": TYPES[dtype], "shape": p["shape"]}
            for p, dtype in zip(self.model.config["outputs"], types, strict=True)
        ]
        body = {"name": NAME, "versions": ["1"], "platform": "openvino"}
        return JSONResponse(body | {"inputs": inputs, "outputs": outputs})

    async def metrics(self, _: Request) -> Response:
        """Answer the counters."""
        lines = [
            "# TYPE requests_total counter",
            *(f'requests_total{{code="{c}"}} {n}' for c, n in sorted(self.answers.items())),
            "# TYPE inference_seconds_total counter",
            f"inference_seconds_total {self.seconds:.6f}",
            "# TYPE requests_in_flight gauge",
            f"requests_in_flight {self.in_flight}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def infer(self, request: Request) -> Response:
        """Answer an inference."""
        self.in_flight += 1
        try:
            response = await self._answer(request)
        except RequestError as error:
            response = JSONResponse({"error": str(error)}, error.status)
        finally:
            self.in_flight -= 1
        self.answers[response.status_code] += 1
        return response

    async def _answer(self, request: Request) -> Response:
        if self.in_flight > self.limit:
            raise RequestError(503, f"more than {self.limit} requests are waiting")
        body = await self._read(request)
        length = request.headers.get(HEADER)
        return await anyio.to_thread.run_sync(self._run, body, length, limiter=self.limiter)

    def _run(self, body: bytes, header_length: str | None) -> Response:
        """Answer the body of a request, in a thread."""
        header, tensors = split_body(body, header_length)
        inputs = self._parse_inputs(header, tensors)
        start = time.perf_counter()
        try:
            outputs = self.model.infer(inputs)
        except ValueError as error:
            raise RequestError(400, str(error)) from error
        except RuntimeError as error:
            raise RequestError(500, str(error)) from error
        self.seconds += time.perf_counter() - start
        return build_response(header, outputs)

    async def _read(self, request: Request) -> bytes:
        """Return the body of a request, within its limits of size and time."""
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_bytes:
            raise RequestError(413, f"the request has more than {self.max_bytes} bytes")
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.read_s):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > self.max_bytes:
                        message = f"the request has more than {self.max_bytes} bytes"
                        raise RequestError(413, message)
        except TimeoutError as error:
            raise RequestError(408, f"the request took more than {self.read_s:g} s") from error
        except ClientDisconnect as error:
            raise RequestError(499, "the client closed the connection") from error
        return b"".join(parts)

    def _parse_inputs(self, header: Mapping[str, Any], tensors: bytes) -> Arrays:
        """Return the inputs of a request by name."""
        known = {port["name"]: port for port in self.ports}
        inputs: Arrays = {}
        position = 0
        listed = header.get("inputs")
        if not isinstance(listed, list):
            raise RequestError(400, "inputs must be a list")
        for entry in listed:
            if not isinstance(entry, dict) or entry.get("name") not in known:
                raise RequestError(400, f"inputs must be: {', '.join(known)}")
            port = known[entry["name"]]
            size = binary_size(entry)
            raw = None if size is None else tensors[position : position + size]
            position += size or 0
            inputs[port["name"]] = parse_tensor(entry, port, raw)
        if position != len(tensors):
            raise RequestError(400, f"{len(tensors)} bytes of tensors, expected {position}")
        return inputs

    def _largest_request(self) -> int:
        if any(size < 0 for port in self.ports for size in port["shape"]):
            return OPEN_BYTES
        values: int = sum(math.prod(port["shape"]) for port in self.ports)
        return 65_536 + JSON_BYTES * values


def split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the binary tensors of a request."""
    size = len(body)
    if header_length is not None:
        if not header_length.isdigit() or int(header_length) > size:
            raise RequestError(400, f"{HEADER} must be at most {size}")
        size = int(header_length)
    try:
        header = json.loads(body[:size])
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the request is not JSON") from error
    if not isinstance(header, dict):
        raise RequestError(400, "the request is not a JSON object")
    return header, body[size:]


def binary_size(entry: Mapping[str, Any]) -> int | None:
    """Return the size of the binary data of an input; None if it is JSON."""
    parameters = entry.get("parameters", {})
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise RequestError(400, "binary_data_size must be a number of bytes")
    return None if size is None else int(size)


def parse_tensor(entry: Mapping[str, Any], port: Mapping[str, Any], raw: bytes | None) -> Array:
    """Return the array of an input; ``raw`` is its binary data."""
    name, want, shape = port["name"], TYPES[port["type"]], entry.get("shape")
    if entry.get("datatype") != want:
        raise RequestError(400, f"input {name} has datatype {entry.get('datatype')}, not {want}")
    fits = isinstance(shape, list) and len(shape) == len(port["shape"])
    if not fits or not all(
        type(have) is int and have >= 0 and size in (-1, have)
        for have, size in zip(shape or [], port["shape"], strict=True)
    ):
        raise RequestError(400, f"input {name} must have shape {port['shape']}")
    dtype, count = np.dtype(port["type"]), math.prod(shape or [])
    try:
        if raw is not None:
            return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        values = np.asarray(entry.get("data"))
        if values.size != count or values.dtype.kind not in "biuf":
            raise RequestError(400, f"input {name} must have {count} numbers")
        if dtype.kind in "iu" and not in_range(values, dtype):
            raise RequestError(400, f"input {name} has values beyond {want}")
        return values.astype(dtype).reshape(shape)
    except (OverflowError, TypeError, ValueError) as error:
        raise RequestError(400, f"input {name} is not {count} values of {want}") from error


def in_range(values: Array, dtype: np.dtype[Any]) -> bool:
    """Whether values are integers of a type."""
    limits = np.iinfo(dtype)
    whole = values.dtype.kind in "biu" or bool((values == np.floor(values)).all())
    return whole and (not values.size or limits.min <= values.min() <= values.max() <= limits.max)


def build_response(header: Mapping[str, Any], outputs: Arrays) -> Response:
    """Return the answer of an inference, binary where the request wants it."""
    listed = header.get("outputs")
    named = {e.get("name"): e for e in listed if isinstance(e, dict)} if listed else {}
    parameters = header.get("parameters")
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    entries, parts = [], []
    for name, array in outputs.items():
        if listed and name not in named:
            continue
        values = np.ascontiguousarray(array)
        entry: dict[str, Any] = {
            "name": name, "datatype": TYPES[values.dtype.name], "shape": list(values.shape),
        }  # fmt: skip
        wanted = named.get(name, {}).get("parameters")
        chosen = wanted.get("binary_data", binary) if isinstance(wanted, dict) else binary
        if chosen:
            parts.append(values.tobytes())
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        entries.append(entry)
    body: dict[str, Any] = {"model_name": NAME, "model_version": "1", "outputs": entries}
    if isinstance(header.get("id"), str):
        body["id"] = header["id"]
    if not parts:
        return JSONResponse(json_numbers(body))
    content = json.dumps(json_numbers(body)).encode()
    headers = {HEADER: str(len(content))}
    return Response(
        content + b"".join(parts), headers=headers, media_type="application/octet-stream"
    )


def json_numbers(value: Any) -> Any:
    """Return a value without infinity and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: json_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [json_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """Run the server until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog=f"python -m {NAME}.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--uds", help="Unix socket, in place of host and port")
    parser.add_argument("--device", help="OpenVINO device; default: the measured one")
    parser.add_argument("--max-waiting", type=int, default=64, help="requests that wait")
    parser.add_argument("--read-s", type=float, default=10.0, help="time to send a request")
    options = parser.parse_args()
    server = Server(Model(options.device), options.max_waiting, options.read_s)
    uvicorn.run(
        server.app(),
        host=options.host,
        port=options.port,
        uds=options.uds,
        log_level="warning",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=60,
    )


if __name__ == "__main__":
    main()
