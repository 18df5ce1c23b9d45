"""Sweeps with worker processes that crash, hang, are killed or send invalid replies."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ovtool import api
from ovtool.benchmark import process
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from tests.helpers.graphs import fully_connected, save
from tests.sweep.faults import FAULTS, WHEN

QUICK = {
    "target_pct": 50,
    "round_s": 0.02,
    "rounds": 3,
    "max_seconds": 0.2,
    "timeout_s": 6,
    "starts": True,
}
REASONS = {
    "segfault": "SIGSEGV",
    "kill": "SIGKILL",
    "hang": "6 s",
    "garbage": "KeyError",
}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dense") / "dense", fully_connected())


def plan(trials, faults, seed):
    rng = random.Random(seed)
    bad = rng.sample(range(1, trials + 1), faults)
    return {str(batch): (FAULTS[i % len(FAULTS)], rng.choice(WHEN)) for i, batch in enumerate(bad)}


def sweep_with(monkeypatch, dense, out, trials, faults):
    command = (sys.executable, "-m", "tests.sweep.faults", json.dumps(faults))
    monkeypatch.setattr(process, "_COMMAND", command)
    monkeypatch.chdir(Path(__file__).parents[2])
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    spec = SweepSpec(**QUICK, batches=tuple(range(1, trials + 1)), hints=["latency"])
    try:
        return api.sweep([dense], out=out, spec=spec)
    finally:
        assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


def check(folder, faults, trials):
    rows = list(SweepFolder(folder).measurements())
    assert sorted(m.trial.batch for m in rows) == list(range(1, trials + 1))
    for row in rows:
        what, when = faults.get(str(row.trial.batch), (None, None))
        if what is None or when == "save_cache":  # after the rounds
            assert row.status == "ok", row.reason
            reason = {n.id: n.evidence for n in row.notes}.get("no-cached-start")
            assert (reason is not None) == (what is not None)
        else:
            assert row.status == "failed"
            reason = row.reason
        if what is not None:
            assert REASONS[what] in reason
            assert "\n" not in reason


@pytest.mark.slow
def test_a_faulty_worker_costs_one_row(monkeypatch, dense, tmp_path):
    faults = plan(12, 8, seed=1)
    assert {what for what, _ in faults.values()} == set(FAULTS)
    done = sweep_with(monkeypatch, dense, tmp_path / "sweep", 12, faults)
    check(tmp_path / "sweep", faults, 12)
    assert done.failed == sum(when != "save_cache" for _, when in faults.values())


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_a_hundred_trials_with_a_third_of_faulty_workers(monkeypatch, dense, tmp_path):
    faults = plan(100, 32, seed=2)
    done = sweep_with(monkeypatch, dense, tmp_path / "sweep", 100, faults)
    check(tmp_path / "sweep", faults, 100)
    print(
        f"faults: of 100 trials {done.measured} measured once, {done.failed} failed as one row"
        f" each ({', '.join(FAULTS)}), no process left"
    )


@pytest.mark.slow
def test_a_full_disk_keeps_finished_rows(dense, tmp_path):
    """The journal fills a file system of 96 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(disk)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted")
    try:
        spec = SweepSpec(**QUICK, batches=tuple(range(1, 40)), hints=["latency"])
        with pytest.raises(InputError, match=r"journal\.jsonl"):
            api.sweep([dense], out=disk / "sweep", spec=spec)
        rows = list(SweepFolder(disk / "sweep").measurements())
        assert rows
        assert [m.trial.batch for m in rows] == list(range(1, len(rows) + 1))
        journal = (disk / "sweep/journal.jsonl").read_bytes()
        assert journal.endswith(b"\n")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
