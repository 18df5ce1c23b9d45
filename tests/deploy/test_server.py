"""The KServe v2 server of a bundle, as a process on a port of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.deploy import deploy
from ovtool.deploy.bundle_files import check_files
from ovtool.deploy.manifest import read_manifest
from ovtool.deploy.server_check import check_server
from ovtool.deploy.targets.python import SERVER_PACKAGES
from tests.helpers.bundles import read_document, seal, write_document
from tests.helpers.server_load import run

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from ovtool.deploy.templates.python_app import server as template

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
PORT = {"name": "x", "type": "uint8", "shape": [2, 3]}


def entry(**changes):
    return {"name": "x", "datatype": "UINT8", "shape": [2, 3], "data": [0] * 6} | changes


@pytest.fixture(scope="module")
def bundle(deployed, tmp_path_factory):
    """The Python bundle with a server."""
    folder = shutil.copytree(deployed.bundle, tmp_path_factory.mktemp("server") / "bundle")
    document = read_document(folder)
    names = ("tiny_net/server.py", "requirements-server.txt")
    for name in names:
        (folder / name).touch()
    listed = document["files"] | dict.fromkeys(names)
    write_document(folder, document | {"server": True, "files": listed})
    seal(folder)
    check_files(folder)
    return folder


@pytest.fixture(scope="module")
def server(bundle):
    """The process of a server, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(bundle, port)
    yield process, port
    process.kill()
    process.wait()


def start(bundle, port):
    command = [sys.executable, "-B", "-m", "tiny_net.server", "--port", str(port), "--read-s", "3"]
    process = subprocess.Popen(command, cwd=bundle, env={**os.environ, "PYTHONPATH": ""})
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            if ask(port, "GET", "/v2/health/ready")[0] == 200:
                return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not start")


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read(), response.headers
    connection.close()
    return answer


def good(bundle):
    pixels = np.load(bundle / "samples/inputs.npz")["x"][:2]
    wanted = np.load(bundle / "samples/outputs.npz")["scores"][:2]
    listed = {"name": "x", "datatype": "UINT8", "shape": list(pixels.shape)}
    return pixels, wanted, listed


@pytest.mark.slow
def test_tensors_are_json_or_binary(bundle, server):
    _, port = server
    pixels, wanted, listed = good(bundle)
    url = "/v2/models/tiny_net/infer"
    body = {"id": "7", "inputs": [listed | {"data": pixels.tolist()}]}
    status, answer, _ = ask(port, "POST", url, json.dumps(body))
    answer = json.loads(answer)
    assert (status, answer["id"]) == (200, "7")
    (output,) = answer["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [2, 10])
    assert np.allclose(np.reshape(output["data"], (2, 10)), wanted, atol=1e-3)
    binary = listed | {"parameters": {"binary_data_size": pixels.nbytes}}
    outputs = [{"name": "scores", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [binary], "outputs": outputs}).encode()
    length = {template.HEADER: str(len(header))}
    status, answer, headers = ask(port, "POST", url, header + pixels.tobytes(), length)
    assert status == 200
    values = np.frombuffer(answer[int(headers[template.HEADER]) :], np.float32)
    assert np.allclose(values.reshape(2, 10), wanted, atol=1e-3)


@pytest.mark.slow
def test_health_description_and_metrics(server):
    _, port = server
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny_net/ready", "/v2"):
        assert ask(port, "GET", path)[0] == 200
    described = json.loads(ask(port, "GET", "/v2/models/tiny_net")[1])
    assert described["inputs"] == [{"name": "x", "datatype": "UINT8", "shape": [2, 16, 16, 3]}]
    assert described["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [2, 10]}]
    before = ask(port, "GET", "/metrics")[1].decode()
    assert ask(port, "POST", "/v2/models/tiny_net/infer", b"{")[0] == 400
    after = ask(port, "GET", "/metrics")[1].decode()

    def refused(text):
        lines = [line for line in text.splitlines() if line.startswith('requests_total{code="400"')]
        return int(lines[0].split()[-1]) if lines else 0

    assert refused(after) == refused(before) + 1
    assert "requests_in_flight 0" in after


@pytest.mark.slow
def test_good_and_bad_requests_of_many_clients(server):
    process, port = server
    figures = run(f"http://127.0.0.1:{port}/v2/models/tiny_net", 4, pid=process.pid)
    assert process.poll() is None
    assert figures["unexpected"] == {}
    assert figures["unclear"] == []
    assert {kind.split()[0] for kind in figures["by_kind"]} >= {"good", "binary", "shape", "json"}
    assert ask(port, "GET", "/v2/health/ready")[0] == 200


@pytest.mark.slow
def test_a_client_that_does_not_send_is_answered(server):
    _, port = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/v2/models/tiny_net/infer")
    connection.putheader("Content-Length", "100")
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, "error" in json.loads(response.read())) == (408, True)
    connection.close()


@pytest.mark.slow
def test_the_end_waits_for_requests_in_flight(bundle):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(bundle, port)
    pixels, _, listed = good(bundle)
    body = json.dumps({"inputs": [listed | {"data": pixels.ravel().tolist()}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/v2/models/tiny_net/infer")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:-10])
    while "requests_in_flight 1" not in ask(port, "GET", "/metrics")[1].decode():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    connection.send(body[-10:])
    assert connection.getresponse().status == 200
    connection.close()
    assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_the_rung_of_the_server(bundle):
    rung = check_server(bundle, read_manifest(bundle))
    assert (rung.name, rung.reached) == ("server", True)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [3, 2]}, {"shape": [6]}, {"shape": None}, {"shape": [2, True]}, {"shape": "23"},
        {"datatype": "FP32"}, {"datatype": None}, {"data": [0] * 5}, {"data": None},
        {"data": ["a"] * 6}, {"data": [256] * 6}, {"data": [-1] * 6}, {"data": [0.5] * 6},
        {"data": [[0], [1, 2]]}, {"data": [10**400] * 6}, {"data": {}}, {"shape": [2, 3, 1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_tensor_is_refused(changes):
    with pytest.raises(template.RequestError) as caught:
        template.parse_tensor(entry(**changes), PORT, None)
    assert caught.value.status == 400
    assert "x" in str(caught.value)


@pytest.mark.parametrize("size", [0, 5, 7])
def test_binary_data_of_another_size_is_refused(size):
    with pytest.raises(template.RequestError):
        template.parse_tensor(entry(), PORT, bytes(size))


@given(st.lists(st.integers(0, 255), min_size=6, max_size=6))
def test_numbers_and_bytes_are_the_same_tensor(values):
    made = template.parse_tensor(entry(data=values), PORT, None)
    assert made.tolist() == np.reshape(values, (2, 3)).tolist()
    assert np.array_equal(template.parse_tensor(entry(), PORT, bytes(values)), made)
    nested = np.reshape(values, (2, 3)).tolist()
    assert np.array_equal(template.parse_tensor(entry(data=nested), PORT, None), made)


@pytest.mark.slow
@given(st.binary(max_size=60), st.one_of(st.none(), st.text(max_size=4), st.integers().map(str)))
def test_any_body_is_split_or_refused(body, length):
    status = 400
    try:
        header, tensors = template.split_body(body, length)
    except template.RequestError as error:
        status = error.status
    else:
        assert isinstance(header, dict)
        assert body.endswith(tensors)
    assert status == 400


def test_infinity_is_null_in_json():
    values = {"a": [float("inf"), 1.5, float("nan")], "b": {"c": -float("inf")}}
    assert template.json_numbers(values) == {"a": [None, 1.5, None], "b": {"c": None}}


def test_without_the_packages_of_the_server_the_command_is_named(monkeypatch):
    monkeypatch.setattr(deploy.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError) as caught:
        deploy._require_server_packages()
    assert "serve" in str(caught.value.hint)
    assert "starlette" in SERVER_PACKAGES


def test_a_bundle_with_another_server_is_refused(bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "copy")
    path = folder / "tiny_net/server.py"
    path.write_bytes(path.read_bytes() + b"#\n")
    with pytest.raises(InputError, match=r"server\.py"):
        check_files(folder)
