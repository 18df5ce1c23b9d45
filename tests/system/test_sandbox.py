"""The sandbox: files outside of the named folders cannot be changed, and there is no network."""

import json
import subprocess
import sys
import textwrap

import pytest

from ovtool.system import sandbox

needs_sandbox = pytest.mark.skipif(
    sandbox.reason_unconfined() is not None, reason=f"no sandbox: {sandbox.reason_unconfined()}"
)
PREAMBLE = """
import ctypes, json, os, socket, subprocess, sys
from pathlib import Path
from ovtool.system import sandbox
inside, outside = map(Path, sys.argv[1:])
sandbox.confine([inside, Path("/dev"), Path("/nowhere")])
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
library = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if library.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
"""


@pytest.fixture
def confined(tmp_path):
    """Runs attempts in a sandbox; returns the error numbers by name, 0 for success."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept")

    def run(**attempts):
        lines = [f"results[{name!r}] = attempt(lambda: {code})" for name, code in attempts.items()]
        program = "\n".join([PREAMBLE, "results = {}", *lines, "print(json.dumps(results))"])
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(inside), str(outside)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (outside / "kept").read_text() == "kept"
        assert [path.name for path in outside.iterdir()] == ["kept"]
        return json.loads(ran.stdout)

    return run


@needs_sandbox
def test_named_folders_can_be_written(confined):
    results = confined(
        write='(inside / "a").write_text("x")',
        folder='(inside / "b").mkdir()',
        move='(inside / "a").rename(inside / "b" / "a")',
        link='(inside / "c").symlink_to("b")',
        shorten='os.truncate(inside / "b" / "a", 0)',
        remove='(inside / "b" / "a").unlink()',
        null='Path("/dev/null").write_text("x")',
        local="socket.socket(socket.AF_UNIX)",
        pair="socket.socketpair()",
    )
    assert set(results.values()) == {0}, results


@needs_sandbox
def test_other_files_can_be_read_only(confined):
    results = confined(
        write='(outside / "new").write_text("x")',
        append='open(outside / "kept", "a")',
        shorten='os.truncate(outside / "kept", 0)',
        folder='(outside / "new").mkdir()',
        link='(outside / "new").symlink_to("kept")',
        remove='(outside / "kept").unlink()',
        move='(outside / "kept").rename(inside / "kept")',
        child="""subprocess.run(["sh", "-c", "echo x >> $0", str(outside / "kept")])""",
    )
    assert results.pop("child") == 0, "the child runs, and cannot write"
    assert all(results.values()), results
    assert confined(read='(outside / "kept").read_text()') == {"read": 0}


@needs_sandbox
def test_there_is_no_network(confined):
    results = confined(
        tcp="socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        udp="socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        ipv6="socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
        packet="socket.socket(17, socket.SOCK_RAW)",
        vsock="socket.socket(40, socket.SOCK_STREAM)",
        connect='socket.create_connection(("127.0.0.1", 9))',
    )
    assert set(results.values()) == {13}, results


@needs_sandbox
def test_other_interfaces_to_sockets_are_refused(confined):
    """``io_uring`` opens sockets without the system call, and so did the x32 interface."""
    results = confined(
        ring="call(425, 1, None)",
        x32="call(0x40000000 + 41, socket.AF_INET, socket.SOCK_STREAM, 0)",
    )
    assert set(results.values()) == {13}, results


def test_the_user_can_turn_it_off(monkeypatch):
    monkeypatch.setenv(sandbox.VARIABLE, "off")
    assert sandbox.VARIABLE in sandbox.reason_unconfined()
