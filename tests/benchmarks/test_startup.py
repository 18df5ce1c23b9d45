"""Time of ``ovtool --help``; ``make bench`` runs it."""

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
def test_help_is_shown_within_the_limit():
    command = [sys.executable, "-c", "from ovtool.cli.main import main; main()", "--help"]
    elapsed_s = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        elapsed_s.append(time.perf_counter() - started)
    median_s = statistics.median(elapsed_s[1:])  # the first run fills the disk cache
    print(f"\novtool --help: median {median_s:.3f} s of {TIMES}, least {min(elapsed_s):.3f} s")
    assert median_s <= LIMIT_S
