"""The answer goes to stdout, all else to stderr; and what happens if stdout cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import sweeps

COMMAND = [sys.executable, "-m", "ovtool", "recipes", "show", "efficientnet-lite0"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_error_line():
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    error, hint = ran.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert ran.returncode == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a closed pipe differently")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "while writing"])
def test_a_closed_pipe_is_not_an_error(unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ran = subprocess.run(
            COMMAND,
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.slow
def test_warnings_go_to_stderr(ovtool, tmp_path):
    contended = [sweeps.contended(sweeps.measure(t)) for t in sweeps.trials(batches=(1,))]
    folder = sweeps.make(tmp_path / "s", contended, unavailable=[("NPU", "no driver")])
    ran = ovtool("choose", folder, "--explain")
    assert "warning: " not in ran.out
    assert "no driver" in ran.err
    assert all(line.startswith("warning: ") for line in ran.err.splitlines())
