"""The outcome of a command does not depend on who reads its output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import sweeps

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of Linux")

OVTOOL = f"{sys.executable} -m ovtool"


def run(script, **environment):
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    measured = [sweeps.measure(trial) for trial in sweeps.trials()]
    return sweeps.make(tmp_path_factory.mktemp("streams") / "s", measured)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["true", "head -1"])
@pytest.mark.parametrize(("limit", "status"), [("1e9", 1), ("1e-9", 0)])
def test_a_closed_pipe_keeps_the_exit_code(folder, reader, limit, status):
    command = f"{OVTOOL} choose {folder} --min-throughput-fps {limit}"
    expected = run(command)
    assert expected.returncode == status
    ran = run(f"{command} 2>&1 | {reader}; exit ${{PIPESTATUS[0]}}")
    assert ran.returncode == status
    assert b"Traceback" not in ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_discard_the_output(closed):
    ran = run(f"{OVTOOL} methods {closed}")
    assert ran.returncode == 0
    assert b"Traceback" not in ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_terminal_is_supported(encoding):
    ran = run(f"{OVTOOL} sweep --help", PYTHONIOENCODING=encoding)
    assert ran.returncode == 0
    assert ran.stdout.decode(encoding)
    assert ran.stderr == b""


@pytest.mark.slow
def test_a_path_that_is_not_utf_8_is_an_error_of_one_line(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.onnx")
    ran = subprocess.run(
        [sys.executable, "-m", "ovtool", "convert", path, "--out", str(tmp_path / "v")],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 2
    assert b"udcff.onnx" in ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_an_error(tmp_path):
    ran = run(f"{OVTOOL} methods > /dev/full")
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 2
    ran = run(f"{OVTOOL} choose {tmp_path / 'none'} 2> /dev/full")
    assert (ran.returncode, ran.stdout) == (2, b"")


def test_the_second_signal_ends_at_once(tmp_path):
    program = (
        "import os, signal, sys, time\n"
        "from ovtool.cli import main\n"
        "def verb(**_):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleanup', flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)\n"
        "main.app = verb\n"
        "main.main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=50
    )
    assert ran.returncode == 143
    assert ran.stdout == b"cleanup\n"
