"""Where the answer goes, and what happens when it cannot go there."""

import subprocess
import sys
from pathlib import Path

import pytest

LIST = [sys.executable, "-m", "ovtool.cli.main", "recipes", "list", "--json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_clear_line():
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(LIST, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.stderr == "error: cannot write the output: the disk is full\n"
    assert ran.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells a closed pipe otherwise")
def test_a_reader_that_leaves_is_no_error():
    pipe = subprocess.PIPE
    with subprocess.Popen(LIST, stdout=pipe, stderr=pipe, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
