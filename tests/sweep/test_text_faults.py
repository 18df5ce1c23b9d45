"""Sweeps of text generators with workers that crash, hang, are killed or send invalid replies."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ovtool import api
from ovtool.benchmark import process
from ovtool.core.sweep_folder import JOURNAL, SweepFolder
from ovtool.models.convert import convert
from ovtool.sweep import run
from tests.cli.test_interrupted import DEADLINE_S, until
from tests.helpers.decoders import write_openvino_folder
from tests.sweep.test_faults import REASONS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PLAN = {"rounds": 3, "round_s": 0.05, "max_seconds": 0.5, "timeout_s": 20, "starts": False}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    return convert(write_openvino_folder(folder / "source"), out=folder / "decoder")


def command(faults):
    return (sys.executable, "-m", "tests.sweep.text_faults", json.dumps(faults))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_faulty_worker_costs_one_row(generator, monkeypatch, tmp_path):
    faults = {
        "2": ("segfault", "open"),
        "3": ("hang", "measure"),
        "5": ("kill", "measure"),
        "6": ("garbage", "open"),
    }
    monkeypatch.setattr(run, "require_packages", lambda *_: None)
    monkeypatch.setattr(process, "_TEXT_COMMAND", command(faults))
    monkeypatch.chdir(ROOT)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    numbers = [1, 2, 3, 4, 5, 6, 7]
    done = api.sweep(
        [generator], out=tmp_path / "s", prompt_lengths=[8], output_lengths=[4],
        concurrency=numbers, **PLAN,
    )  # fmt: skip
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before
    assert (done.measured, done.failed) == (3, 4)
    rows = {m.trial.generation.concurrency: m for m in SweepFolder(tmp_path / "s").measurements()}
    assert sorted(rows) == numbers
    for number, row in rows.items():
        what, _ = faults.get(str(number), (None, None))
        assert row.status == ("failed" if what else "ok"), row.reason
        if what:
            assert (REASONS | {"hang": "20 s"})[what] in row.reason
            assert "\n" not in row.reason


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT")
def test_ctrl_c_ends_a_sweep_of_text_generators_and_its_worker(generator, tmp_path):
    faulty = command({"2": ("hang", "measure")})
    program = (
        "import runpy, sys\n"
        "from ovtool.benchmark import process\n"
        "from ovtool.sweep import run\n"
        "run.require_packages = lambda *_: None\n"
        f"process._TEXT_COMMAND = {faulty!r}\n"
        f"sys.argv[1:] = ['sweep', {str(generator.folder)!r}, '--concurrency', '1,2,3', '--rounds',"
        " '3', '--max-seconds', '0.5', '--prompt-length', '8', '--output-length', '4', '--out',"
        f" {str(tmp_path / 's')!r}]\n"
        "runpy.run_module('ovtool', run_name='__main__')\n"
    )
    sweeping = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    journal = tmp_path / "s" / JOURNAL

    def second_worker():
        if not journal.exists() or not journal.read_bytes().count(b"\n"):
            return []
        found = psutil.Process(sweeping.pid).children(recursive=True)
        return [p for p in found if "tests.sweep.text_faults" in p.cmdline()]

    workers = until(second_worker, sweeping)
    sweeping.send_signal(signal.SIGINT)
    out_text, err_text = sweeping.communicate(timeout=DEADLINE_S)
    assert (sweeping.returncode, out_text) == (130, ""), err_text
    assert err_text.splitlines()[-1].startswith("stopped")
    assert "Traceback" not in err_text
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "a worker outlives the sweep"
    kept = list(SweepFolder(tmp_path / "s").measurements())
    assert [m.trial.generation.concurrency for m in kept] == [1]
