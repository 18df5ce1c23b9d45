"""A killed or stopped sweep leaves whole files, and the same command finishes it."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from ovtool.core.sweep_folder import JOURNAL, SweepFolder

BATCHES = 5
DEADLINE_S = 240


def start(small, out):
    arguments = ["--batch", ",".join(map(str, range(1, BATCHES + 1))), "--hint", "latency"]
    arguments += ["--rounds", "3", "--max-seconds", "0.3", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "ovtool", "sweep", str(small.folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition, process):
    """Wait until a condition holds while the sweep runs; return its value."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert process.poll() is None, f"ended too soon: {process.communicate()}"
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
    return value


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
def test_an_interrupted_sweep_is_resumed(small, tmp_path, number):
    out = tmp_path / "sweep"
    journal = out / JOURNAL
    first = start(small, out)
    until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2, first)
    workers = until(psutil.Process(first.pid).children, first)
    first.send_signal(number) if number != 9 else first.kill()
    out_text, err_text = first.communicate(timeout=DEADLINE_S)
    assert out_text == ""
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert err_text.splitlines()[-1].startswith("stopped")
    assert "Traceback" not in err_text
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "a worker outlives the sweep"
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    finished = kept.count(b"\n")
    assert 2 <= finished < BATCHES

    second = start(small, out)
    out_text, err_text = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, err_text
    assert f"{BATCHES} trials, {finished} " in err_text
    assert f"{BATCHES - finished} measured, {finished} " in out_text
    assert journal.read_bytes().startswith(kept), "finished measurements stay unchanged"
    sweep = SweepFolder(out)
    measured = [m.trial.id for m in sweep.measurements()]
    assert sorted(measured) == sorted(t.id for t in sweep.plan.trials), "each trial once"
    assert not [p.name for p in out.iterdir() if ".tmp" in p.name]
