"""Workers that die, hang or send invalid replies, and programs that run to their end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from ovtool.system import child_process
from ovtool.system.child_process import ChildProcess, WorkerError, run_program
from ovtool.system.host import Unknown

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
PREAMBLE = """
import json, os, signal, sys, time
def answer(reply):
    request = json.loads(sys.stdin.readline())
    if request["method"] == "close":
        sys.exit()
    print(json.dumps(reply), flush=True)
    return request
print(json.dumps({"ok": {}}), flush=True)
"""
SERVED = """
import errno
from ovtool.core.errors import InputError
from ovtool.system import child_process

class Worker:
    def add(self, request):
        print("adding")
        return {"sum": sum(request["numbers"])}

    def fail(self, request):
        raise ValueError("no such thing\\non two lines")

    def fill(self, request):
        raise OSError(errno.ENOSPC, "No space left on device", "/data/results.bin")

    def reject(self, request):
        raise InputError("a wrong shape", "use another shape")

    def wait(self, request):
        import time
        time.sleep(600)

child_process.serve(Worker)
"""


@pytest.fixture
def start():
    """Starts a worker program, and closes it after the test."""
    with contextlib.ExitStack() as stack:

        def start_program(program, timeout_s=20.0, preamble=PREAMBLE, environment=None):
            command = (sys.executable, "-c", preamble + textwrap.dedent(program))
            worker = ChildProcess(command, timeout_s, environment)
            return stack.enter_context(contextlib.closing(worker))

        yield start_program


def failure_of(worker, method="open"):
    with pytest.raises(WorkerError) as caught:
        worker.request(method)
    assert caught.value.method == method
    assert method in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


DEATHS = [
    pytest.param("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV, "SIGSEGV", marks=posix),
    pytest.param("os.kill(os.getpid(), signal.SIGABRT)", -signal.SIGABRT, "SIGABRT", marks=posix),
    pytest.param("os.kill(os.getpid(), 9)", -9, "SIGKILL", marks=posix),
    ("sys.exit(3)", 3, "exit code 3"),
    ("print('a\\nb\\n\\nc\\nd', file=sys.stderr); sys.exit(3)", 3, "exit code 3: c | d"),
    ("raise RuntimeError('no driver')", 1, "RuntimeError: no driver"),
    ("os._exit(0)", 0, "exit code 0"),
]  # fmt: skip


@pytest.mark.parametrize(("end", "exit_code", "cause"), DEATHS)
def test_death_is_explained_by_signal_exit_code_and_stderr(start, end, exit_code, cause):
    error = failure_of(start(end))
    assert (error.failure, error.exit_code) == ("died", exit_code)
    assert cause in str(error)


def test_death_at_second_request_is_explained(start):
    worker = start("answer({'ok': {'a': 1}}); sys.stdin.readline(); sys.exit(4)")
    assert worker.request("open") == {"a": 1}
    error = failure_of(worker, "measure")
    assert (error.failure, error.exit_code) == ("died", 4)


@posix
@pytest.mark.parametrize(
    ("kills", "cause"),
    [
        ((3, 4), "(killed by the kernel: out of memory)"),
        ((3, 3), "SIGKILL"),
        ((Unknown("no"), 3), "(out of memory?)"),
    ],
)
def test_out_of_memory_kill_is_distinguished(start, monkeypatch, kills, cause):
    counts = iter(kills)
    monkeypatch.setattr(child_process.Host, "oom_kills", lambda _: next(counts))
    error = failure_of(start("os.kill(os.getpid(), signal.SIGKILL)"))
    assert str(error).endswith(cause)


def test_failed_start_is_raised_by_each_request(start):
    worker = start("import nothing_like_it", preamble="")
    worker.wait_until_ready()
    for _ in range(2):
        with pytest.raises(WorkerError, match="nothing_like_it") as caught:
            worker.request("open")
        assert (caught.value.failure, caught.value.method) == ("died", "start")


@pytest.mark.slow
def test_hanging_worker_is_killed_after_the_time_limit(start):
    worker = start("time.sleep(600)", timeout_s=0.5)
    worker._require_ready()
    error = failure_of(worker)
    assert error.failure == "timeout"
    assert "0.5 s" in str(error)
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.slow
def test_worker_that_closes_its_output_is_killed(start):
    worker = start("os.close(1); time.sleep(600)")
    assert failure_of(worker).failure == "hung"
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.parametrize("text", ["nonsense", "[1]", "null", '{"ok": 3}', "{}", '"error"', ""])
def test_worker_with_invalid_reply_is_killed(start, text):
    worker = start(f"print({text!r}, flush=True); time.sleep(600)")
    error = failure_of(worker)
    assert error.failure == "invalid_reply"
    assert text in str(error)
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, AttributeError])
def test_reply_of_another_form_is_invalid(start, error):
    worker = start("answer({'ok': {}}); time.sleep(600)")
    worker.request("open")

    def read():
        raise error("size")

    with pytest.raises(WorkerError, match="size") as caught:
        worker.parse("open", read)
    assert caught.value.failure == "invalid_reply"
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.slow
def test_close_kills_worker_that_does_not_end(start):
    worker = start("answer({'ok': {}}); time.sleep(600)")
    worker.request("open")
    worker.close()
    worker.close()
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.slow
@posix
def test_killing_a_worker_kills_its_children(start):
    child = "import subprocess; c = subprocess.Popen([sys.executable, '-c', 'input()'],"
    child += " stdin=subprocess.PIPE); answer({'ok': {'pid': c.pid}}); time.sleep(600)"
    worker = start(child)
    pid = worker.request("open")["pid"]
    worker.close()
    wait_until_ended(pid)


@posix
def test_worker_has_a_process_group_of_its_own(start):
    """Ctrl-C reaches the whole foreground group; the parent decides what it means."""
    worker = start("answer({'ok': {}}); answer(None)")
    worker.request("open")
    assert os.getpgid(worker.pid) != os.getpgid(0)


def test_environment_is_extended(start):
    worker = start(
        "answer({'ok': {'a': os.environ['A'], 'path': 'PATH' in os.environ}}); answer(None)",
        environment={"A": "b"},
    )
    assert worker.request("open") == {"a": "b", "path": True}


@pytest.fixture
def served(start, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    return start(SERVED, preamble="")


def test_served_worker_answers_and_its_output_is_kept_apart(served):
    assert served.request("add", numbers=[1, 2]) == {"sum": 3}
    served.stop()
    assert "adding" in served.read_stderr()


def test_served_worker_explains_errors_of_the_operating_system(served):
    with pytest.raises(WorkerError) as caught:
        served.request("fill")
    assert "/data/results.bin" in str(caught.value)
    assert "disk is full" in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_served_worker_reports_wrong_input_with_its_hint(served):
    with pytest.raises(WorkerError, match=r"^a wrong shape; use another shape$"):
        served.request("reject")
    assert served.request("add", numbers=[1, 2]) == {"sum": 3}


def test_served_worker_reports_errors_and_goes_on(served):
    with pytest.raises(WorkerError) as caught:
        served.request("fail")
    assert caught.value.failure == "error"
    assert str(caught.value) == "ValueError: no such thing\non two lines"
    assert served.request("add", numbers=[]) == {"sum": 0}


@pytest.mark.slow
@posix
def test_served_worker_ends_when_its_parent_is_killed():
    program = f"""
        import sys
        from ovtool.system.child_process import ChildProcess

        worker = ChildProcess((sys.executable, "-c", {SERVED!r}), 60)
        worker.request("add", numbers=[1])
        print(worker.pid, flush=True)
        worker.request("wait")
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until_ended(pid)


def wait_until_ended(pid):
    until = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def run(tmp_path):
    def run_code(code, timeout_s=20.0):
        log = tmp_path / "log"
        command = [sys.executable, "-u", "-c", f"import os, sys, time\n{code}"]
        exit_code = run_program(
            command, log, timeout_s=timeout_s, environment={"ADDED": "yes"}, folder=tmp_path
        )
        return exit_code, log.read_text()

    return run_code


def test_program_writes_both_streams_to_the_log(run):
    code = "print('out'); print('error', file=sys.stderr); sys.exit(5)"
    exit_code, log = run(code)
    assert exit_code == 5
    assert sorted(log.split()) == ["error", "out"]


def test_program_has_environment_folder_and_no_input(run, tmp_path):
    code = "import json; print(json.dumps([os.environ['ADDED'], 'PATH' in os.environ, os.getcwd(),"
    _, log = run(f"{code} sys.stdin.read()]))")
    assert json.loads(log) == ["yes", True, str(tmp_path), ""]


@pytest.mark.slow
def test_program_is_killed_with_its_children_after_the_time_limit(run):
    code = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\ntime.sleep(600)"
    )
    started = time.monotonic()
    exit_code, log = run(code, timeout_s=3.0)
    assert time.monotonic() - started < 60
    assert exit_code is None
    wait_until_ended(int(log))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_worker_in_a_blocked_library_ends_with_its_parent():
    """The library holds the lock of the interpreter, so that no thread of the worker runs."""
    worker = """
import ctypes, os
from ovtool.system import child_process
class Worker:
    def block(self, request):
        os.write(2, b"blocked")
        ctypes.PyDLL(None).sleep(600)
child_process.serve(Worker)
"""
    program = f"""
import sys, threading, time
from ovtool.system.child_process import ChildProcess
worker = ChildProcess([sys.executable, "-c", {worker!r}], 600)
worker.wait_until_ready()
threading.Thread(target=worker.request, args=("block",), daemon=True).start()
while worker.read_stderr() != "blocked":
    time.sleep(0.01)
print(worker.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the worker outlives its parent"
            time.sleep(0.01)
