"""Worker processes that die, hang or send invalid replies: each costs one trial, with a reason."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from ovtool.benchmark import process
from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.devices import plugin_errors
from tests.benchmark.conftest import children
from tests.benchmark.replies import OPENED, ROUND
from tests.benchmark.scripted import jobs

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
pytestmark = pytest.mark.usefixtures("no_process_left")


@pytest.fixture
def worker(monkeypatch):
    """Replaces the worker by a program, in which ``answer(...)`` reads a request and replies."""

    def use(program, timeout_s=20.0):
        start = (
            "import json, os, signal, sys, time\n"
            "def answer(value):\n"
            "    request = json.loads(sys.stdin.readline())\n"
            "    if request['method'] == 'close':\n"
            "        sys.exit()\n"
            "    print(json.dumps(value), flush=True)\n"
            "    return request\n"
            f"opened, measured = {({'ok': OPENED}, {'ok': ROUND})!r}\n"
            "print(json.dumps({'ok': {}}), flush=True)\n"
        )
        code = start + textwrap.dedent(program)
        monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", code))
        return ProcessRunner(timeout_s=timeout_s)

    return use


@pytest.fixture
def job(tmp_path):
    return jobs(tmp_path, "a")[0]


def failure_of(call, *arguments):
    """The reason of a trial, and the worker's failure behind it."""
    with pytest.raises(TrialFailedError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.__cause__


def test_worker_that_dies_on_open_fails_the_trial(worker, job):
    program = "print('no driver', file=sys.stderr); sys.exit(3)"
    reason, error = failure_of(worker(program).open, job)
    assert (error.failure, error.method, error.exit_code) == ("died", "open", 3)
    assert reason.endswith("exit code 3: no driver")


@pytest.mark.parametrize("method", ["measure", "profile"])
def test_worker_that_dies_in_a_session_fails_the_trial(worker, job, method):
    session = worker("answer(opened); sys.stdin.readline(); sys.exit(3)").open(job)
    with contextlib.closing(session):
        reason, error = failure_of(getattr(session, method), 0.1)
    assert (error.failure, error.method, error.exit_code) == ("died", method, 3)
    assert method in reason


@pytest.mark.parametrize(
    ("field", "value"), [("steady", None), ("layers", 3), ("compile_ms", "soon"), ("threads", [])]
)
def test_open_reply_of_another_form_is_invalid(worker, job, field, value):
    reply = OPENED | {field: value}
    if value is None:
        del reply["first_inference_ms"]
    runner = worker(f"answer({{'ok': {reply!r}}}); time.sleep(600)")
    _, error = failure_of(runner.open, job)
    assert (error.failure, error.method) == ("invalid_reply", "open")


@pytest.mark.parametrize(
    "change", [{"windows": [{}]}, {"stretches": [[1]]}, {"latencies_ms": 3}, {"peak_rss_mib": 0}]
)
def test_round_of_another_form_is_invalid(worker, job, change):
    reply = {k: v for k, v in (ROUND | change).items() if v != 0}
    session = worker(f"answer(opened); answer({{'ok': {reply!r}}}); time.sleep(600)").open(job)
    with contextlib.closing(session):
        _, error = failure_of(session.measure, 0.1)
    assert (error.failure, error.method) == ("invalid_reply", "measure")


def test_prepared_workers_are_used_and_the_rest_are_stopped(worker, job):
    runner = worker("answer(opened); answer(measured); answer(None)")
    runner.prepare([job] * 3)
    started = children()
    assert len(started) == 3
    session = runner.open(job)
    with contextlib.closing(session):
        assert session.measure(0.1).windows[0].inferences == 10
        assert children() <= started, "no other worker was started"
    runner.prepare([job] * 2)
    runner.close()
    assert not children() & started


def test_failed_start_is_the_reason(monkeypatch, job):
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", "import nothing_like_it"))
    runner = ProcessRunner(timeout_s=20)
    runner.prepare([job])
    reason, error = failure_of(runner.open, job)
    assert (error.failure, error.method) == ("died", "start")
    assert "nothing_like_it" in reason


@pytest.mark.slow
def test_worker_that_hangs_while_it_measures_is_killed_after_the_time_limit(worker, job):
    session = worker("answer(opened); time.sleep(600)", timeout_s=5).open(job)
    with contextlib.closing(session):
        reason, error = failure_of(session.measure, 0.1)
    assert (error.failure, error.method) == ("timeout", "measure")
    assert "5 s" in reason


def test_plugin_error_is_the_reason_without_source_locations(worker, job):
    text = (
        "RuntimeError: Exception from src/inference/src/core.cpp:1:\n"
        "Exception from src/plugins/gpu.cpp:2:\nCheck 'x' failed at gpu.cpp:3:\nno memory left\n\n"
    )
    reason, _ = failure_of(worker(f"answer({{'error': {text!r}}}); answer(None)").open, job)
    assert reason.endswith("no memory left")
    assert "src/" not in reason


def test_known_plugin_error_is_explained(worker, job):
    error = "RuntimeError: Exception from src/x.cpp:1:\nMissing upper bound for one or more nodes."
    reason, _ = failure_of(worker(f"answer({{'error': {error!r}}})").open, job)
    assert reason == plugin_errors.explain(error).line


def test_interrupt_while_compiling_leaves_no_process(worker, job, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    runner = worker("answer(None)")
    monkeypatch.setattr(process.ChildProcess, "request", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.open(job)


def test_rest_of_a_group_goes_on_when_one_worker_dies(worker, tmp_path):
    runner = worker(
        """
        xml = answer(opened)["xml"]
        for _ in range(3 if "bad" in xml else 99):
            answer(measured)
        """
    )
    group = jobs(tmp_path, "good", "bad", "fine")
    good, bad, fine = measure_group(group, runner, MeasurementSettings(rounds=5), "env")
    assert (good.status, bad.status, fine.status) == ("ok", "failed", "ok")
    assert "exit code 0" in bad.reason
    assert len(good.rounds) == len(fine.rounds) == 5


@pytest.mark.slow
@posix
def test_real_worker_that_is_killed_while_it_measures(opened, dense):
    session = opened(dense)
    threading.Timer(0.3, os.kill, (session._worker.pid, signal.SIGKILL)).start()
    reason, error = failure_of(session.measure, 60)
    assert (error.failure, error.method, error.exit_code) == ("died", "measure", -9)
    assert "SIGKILL" in reason
    session.close()


@pytest.mark.slow
@posix
def test_real_worker_ends_when_its_parent_is_killed(dense):
    """SIGKILL leaves no time to tidy up: the worker notices that its input closed."""
    program = f"""
        from ovtool.benchmark.jobs import build_job
        from ovtool.benchmark.process import ProcessRunner
        from ovtool.core.trial import Trial
        from ovtool.core.variant import Variant

        variant = Variant.load({str(dense.folder)!r})
        trial = Trial(variant.id, variant.name, "CPU", 1)
        session = ProcessRunner().open(build_job(trial, variant, {{}}))
        print(session._worker.pid, flush=True)
        session.measure(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    process = psutil.Process(int(parent.stdout.readline()))
    assert "ovtool.benchmark.worker" in process.cmdline()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while is_running(process) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(process)


def is_running(process):
    """Whether a process runs; a zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
