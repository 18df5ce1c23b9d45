"""How long the command line takes to show its help; ``make bench`` runs it."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 0.25
TIMES = 10


@pytest.mark.benchmark
def test_help_is_there_in_a_quarter_of_a_second():
    command = [sys.executable, "-c", "from ovtool.cli.main import main; main()", "--help"]
    taken = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        taken.append(time.perf_counter() - started)
    median_s = statistics.median(taken[1:])  # the first one fills the caches of the disk
    print(f"\novtool --help: median {median_s:.3f} s of {TIMES}, least {min(taken):.3f} s")
    assert median_s <= LIMIT_S
