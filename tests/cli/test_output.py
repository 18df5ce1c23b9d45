"""Where the answer goes, and what happens when it cannot go there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_what_libraries_say_goes_to_the_log_alone(ovtool, small, tmp_path):
    log = tmp_path / "new" / "ovtool.log"
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3, 16, 16), np.float32))
    arguments = ["compress", small.folder, "int8", "--data", tmp_path / "x.npz"]
    ran = ovtool("--log", log, *arguments, "--out", tmp_path / "int8")
    assert ran.status == 0
    assert "Statistics collection" in log.read_text(encoding="utf-8")
    assert "Statistics collection" not in ran.out + ran.err
    again = ovtool("--log", tmp_path, *arguments, "--out", tmp_path / "int8")
    assert again.errors == [f"error: cannot write {tmp_path}: a folder is in the way"]
