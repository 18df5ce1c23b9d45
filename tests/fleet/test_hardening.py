"""Addresses, and what Dask in a fleet refuses to load or to answer."""

import contextlib
import pickle
import socket
import ssl
import struct
import subprocess
import sys

import psutil
import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.fleet import hardening
from ovtool.fleet.certificates import create_certificates
from ovtool.fleet.hardening import require_address
from tests.fleet.conftest import HAS_DASK, needs_dask


@pytest.mark.parametrize(
    ("given", "encrypted", "used"),
    [
        ("127.0.0.1:8786", False, "tcp://127.0.0.1:8786"),
        ("tcp://localhost:1", False, "tcp://localhost:1"),
        ("[::1]:9", False, "tcp://[::1]:9"),
        ("10.0.0.5:8786", True, "tls://10.0.0.5:8786"),
        ("tls://box:8786", True, "tls://box:8786"),
    ],
)
def test_addresses_are_completed(given, encrypted, used):
    assert require_address(given, encrypted=encrypted) == used


@pytest.mark.parametrize(
    ("given", "encrypted"),
    [
        ("10.0.0.5:8786", False),
        ("0.0.0.0:8786", False),
        ("tcp://localhost.evil.org:1", False),
        ("127.0.0.1.evil.org:1", False),
        ("tls://127.0.0.1:1", False),
        ("tcp://10.0.0.5:1", True),
        ("ws://127.0.0.1:1", False),
        ("127.0.0.1", False),
        ("127.0.0.1:99999", False),
        (":8786", False),
        ("://127.0.0.1:1", False),
        ("127.0.0.1:x", False),
    ],
)
def test_plain_connections_are_for_loopback_only(given, encrypted):
    with pytest.raises(InputError):
        require_address(given, encrypted=encrypted)


@pytest.mark.skipif(HAS_DASK, reason="the extra fleet is installed")
def test_without_the_extra_the_error_has_the_line_to_run():
    with pytest.raises(MissingDependencyError, match="distributed") as caught:
        hardening.require_dask()
    assert "ovtool[fleet]" in caught.value.hint


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@needs_dask
def test_a_pickle_names_nothing_but_measuring(capsys):
    from distributed.protocol import deserialize, serialize
    from distributed.protocol.pickle import loads

    from ovtool.fleet.host import handle

    header, frames = serialize(Evil())
    with hardening.hardened():
        assert loads(pickle.dumps(handle)) is handle
        for other in (print, socket.socket, hardening.require_address, Evil()):
            with pytest.raises(hardening.RefusedError):
                loads(pickle.dumps(other))
        with pytest.raises(hardening.RefusedError):
            deserialize(header, frames)
    assert capsys.readouterr().out == ""
    assert loads(pickle.dumps(print)) is print


ATTACKS = """
import os, sys
from distributed import Client, WorkerPlugin

target, folder = sys.argv[1:]


def attack(name):
    open(os.path.join(folder, name), "w").close()


class Plugin(WorkerPlugin):
    def setup(self, worker):
        attack("plugin")


with open(os.path.join(folder, "evil.py"), "w") as stream:
    stream.write("open(__file__ + '.ran', 'w').close()")
client = Client(target, set_as_default=False, timeout=20)
for name, attempt in {
    "run": lambda: client.run(attack, "run"),
    "scheduler": lambda: client.run_on_scheduler(attack, "scheduler"),
    "upload": lambda: client.upload_file(os.path.join(folder, "evil.py")),
    "plugin": lambda: client.register_plugin(Plugin()),
    "submit": lambda: client.submit(attack, "submit", workers=["a"]).result(timeout=5),
}.items():
    try:
        print(name, attempt())
    except BaseException as error:
        print(name, "refused", type(error).__name__)
os._exit(0)
"""


@pytest.mark.slow
@needs_dask
def test_a_peer_can_neither_run_code_nor_write_files(start_fleet, tmp_path):
    fleet = start_fleet()
    fleet.join("a")
    folder = tmp_path / "attacks"
    folder.mkdir()
    command = [sys.executable, "-c", ATTACKS, fleet.address, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = ran.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [name, "refused"] for name in ("run", "scheduler", "upload", "plugin", "submit")
    ]
    assert [p.name for p in folder.iterdir()] == ["evil.py"]
    assert [w.name for w in fleet.scheduler.workers.values()] == ["a"]


def listening(before=()):
    """Return the ports of this process that listen, without earlier ones."""
    connections = psutil.Process().net_connections(kind="inet")
    ports = {c.laddr.port: c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return {port: ip for port, ip in ports.items() if port not in before}


def answer(port, context, content):
    """Return what a peer gets that sends content; None where the connection is refused."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            contextlib.ExitStack() as stack,
        ):
            peer = plain
            if context is not None:
                peer = stack.enter_context(context.wrap_socket(plain, server_hostname="x"))
            peer.settimeout(10)
            peer.sendall(content)
            return peer.recv(1 << 16)
    except (OSError, TimeoutError):
        return None


@pytest.mark.slow
@needs_dask
def test_scheduler_and_worker_have_one_port_each_and_answer_no_stranger(start_fleet, tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    create_certificates(own)
    create_certificates(other)
    before = listening()
    fleet = start_fleet(own)
    fleet.join("a")
    ports = listening(before)
    worker = next(iter(fleet.scheduler.workers))
    assert set(ports) == {int(a.rpartition(":")[2]) for a in (fleet.address, worker)}
    assert set(ports.values()) == {"127.0.0.1"}

    def context(folder):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        if folder is not None:
            made.load_cert_chain(folder / "client.pem", folder / "client-key.pem")
        return made

    hello = struct.pack("<QQ", 8, 0)
    for port in ports:
        assert answer(port, context(own), hello)  # the handshake of Dask
        for stranger in (None, context(None), context(other)):
            assert not answer(port, stranger, hello)
            assert not answer(port, stranger, b"GET / HTTP/1.1\r\n\r\n")
    assert [w.name for w in fleet.scheduler.workers.values()] == ["a"]


@needs_dask
@pytest.mark.parametrize("size", [hardening.FRAME_BYTES + 1, 1 << 60])
def test_a_forged_frame_closes_its_connection_only(start_fleet, size):
    fleet = start_fleet()
    fleet.join("a")
    port = int(fleet.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(struct.pack("<Q", size) + b"x" * 64)
        peer.settimeout(20)
        while peer.recv(1 << 16):
            pass
    assert [w.name for w in fleet.scheduler.workers.values()] == ["a"]
