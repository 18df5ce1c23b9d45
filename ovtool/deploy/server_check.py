"""The rung of a bundle's own server: it answers the stored samples, and ends when it is told to."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import temporary, units
from ovtool.core.errors import InputError
from ovtool.core.third_party import condense
from ovtool.deploy.python_program import SAMPLE_INPUTS, SAMPLE_OUTPUTS
from ovtool.deploy.stored_samples import largest_difference, read_arrays, read_outputs
from ovtool.deploy.targets.target import Rung
from ovtool.system.child_process import kill_tree

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.deploy.manifest import Manifest

_START_S, _ANSWER_S = 120.0, 60.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, which a sandbox without networks allows."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def check_server(folder: Path, manifest: Manifest) -> Rung:
    """Start the server of a bundle, compare its answers with the stored outputs, and stop it.

    Raises:
        InputError: It does not start, answers otherwise, or does not end.
    """
    if sys.platform == "win32":
        return Rung("server", None, "needs Unix sockets")
    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        return Rung("server", None, "starlette and uvicorn are not installed")
    with temporary.scratch_folder("server") as scratch:
        log, path = scratch / "server.log", scratch / "s"
        command = [
            *(sys.executable, "-P", "-B", "-X", f"pycache_prefix={scratch / 'pycache'}"),
            *("-m", f"{manifest.package}.server", "--uds", str(path)),
        ]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=stream,
                cwd=scratch,
                env={**os.environ, "PYTHONPATH": str(folder.absolute())},
                start_new_session=True,
            )
        try:
            _await_ready(process, str(path), log)
            count = _compare(folder, manifest, str(path))
            process.send_signal(signal.SIGTERM)
            process.wait(_ANSWER_S)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            raise InputError(
                f"the server of the bundle failed: {condense(str(error), 200)}"
            ) from error
        finally:
            kill_tree(process)
    answers = units.count_text(count, "request")
    return Rung("server", True, f"answered {answers} of an HTTP client, ended on SIGTERM")


def _await_ready(process: subprocess.Popen[bytes], path: str, log: Path) -> None:
    """Wait until the server is ready."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            _, _, message = log.read_text(encoding="utf-8", errors="replace").rpartition("Error: ")
            raise InputError(f"the server of the bundle ended: {condense(message, 200)}")
        try:
            if _request(path, "GET", "/v2/health/ready")[0] == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise InputError(f"the server of the bundle was not ready after {_START_S:g} s")


def _request(path: str, method: str, url: str, body: Any = None) -> tuple[int, bytes]:
    connection = UnixConnection(path, _ANSWER_S)
    try:
        connection.request(method, url, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _compare(folder: Path, manifest: Manifest, path: str) -> int:
    """Compare the answers with the stored outputs; return the number of requests."""
    arrays, batch = read_arrays(folder / SAMPLE_INPUTS), manifest.trial.batch
    names = [port.name for port in manifest.outputs]
    stored = read_outputs(folder / SAMPLE_OUTPUTS, names, manifest.samples.count)
    url = f"/v2/models/{manifest.package}"
    described = json.loads(_request(path, "GET", url)[1])
    types = {entry["name"]: entry["datatype"] for entry in described["inputs"]}
    for first in range(0, manifest.samples.count, batch):
        rows = [min(first + i, manifest.samples.count - 1) for i in range(batch)]
        inputs = []
        for port in manifest.inputs:
            values, axis = arrays[port.name], port.batch_axis
            request = values[first] if axis is None else np.stack([values[r] for r in rows], axis)
            inputs.append({
                "name": port.name, "datatype": types[port.name], "shape": list(request.shape),
                "data": request.ravel().tolist(),
            })  # fmt: skip
        status, answer = _request(path, "POST", f"{url}/infer", {"inputs": inputs})
        if status != http.HTTPStatus.OK:
            raise InputError(f"the server answers {status}: {condense(answer.decode(), 200)}")
        _compare_request(manifest, json.loads(answer), [[o[r] for r in rows] for o in stored])
    return -(-manifest.samples.count // batch)


def _compare_request(manifest: Manifest, answer: dict[str, Any], expected: list[Any]) -> None:
    """Compare one answer, where each sample has one row of its own."""
    made: list[Any] = []
    wanted: list[Any] = []
    for entry, port, rows in zip(answer["outputs"], manifest.outputs, expected, strict=True):
        values = np.asarray(entry["data"], float).reshape(entry["shape"])
        if port.batch_axis is not None and values.shape[port.batch_axis] == len(rows):
            made.append(list(np.moveaxis(values, port.batch_axis, 0)))
            wanted.append(rows)
    difference = largest_difference(made, wanted)
    if not difference <= manifest.samples.tolerance:
        raise InputError(f"the server answers other outputs: difference {difference:.2g}")
