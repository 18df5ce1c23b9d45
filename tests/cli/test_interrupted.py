"""A sweep that is killed or stopped: it ends whole, and the same command finishes it."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from ovtool.core.sweep_folder import JOURNAL, SweepFolder

BATCHES = 5
DEADLINE_S = 60


def start(small, out):
    arguments = ["--batch", ",".join(map(str, range(1, BATCHES + 1))), "--hint", "latency"]
    arguments += ["--rounds", "3", "--max-seconds", "0.3", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "ovtool.cli.main", "sweep", str(small.folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition, process):
    """Wait for something that a sweep does before it ends."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert process.poll() is None, f"it ended too soon: {process.communicate()}"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(9, id="SIGKILL"),
        pytest.param(
            signal.SIGINT,
            id="SIGINT",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT"),
        ),
    ],
)
def test_a_sweep_goes_on_where_it_was_ended(small, tmp_path, number):
    out = tmp_path / "sweep"
    journal = out / JOURNAL
    first = start(small, out)
    until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2, first)
    workers = until(psutil.Process(first.pid).children, first)
    first.send_signal(number) if number != 9 else first.kill()
    printed, told = first.communicate(timeout=DEADLINE_S)
    assert printed == ""
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert told.endswith(
            "stopped: what is finished is kept; the same command goes on from there\n"
        )
    assert "Traceback" not in told
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "a measuring process outlives the sweep"
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    finished = kept.count(b"\n")
    assert 2 <= finished < BATCHES

    second = start(small, out)
    printed, told = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, told
    assert f"{BATCHES} trials, {finished} finished before and reused" in told
    assert f"trials: {BATCHES - finished} measured, {finished} finished before" in printed
    assert journal.read_bytes().startswith(kept), "what was measured stays as it was"
    sweep = SweepFolder(out)
    measured = [m.trial.id for m in sweep.measurements()]
    assert sorted(measured) == sorted(t.id for t in sweep.plan.trials), "each trial once"
    scraps = [p.name for p in out.iterdir() if ".tmp" in p.name]
    assert not scraps
