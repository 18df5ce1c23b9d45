"""The supervisor of the command line: crashes, hangs and signals of its child are one error."""

import os
import pty
import selectors
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from ovtool.core import steps
from ovtool.system import supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

PREAMBLE = """
import os, signal, sys, time
from ovtool.system import supervisor
supervisor.supervise()
from pathlib import Path
from ovtool.core import files, temporary, steps
def hang():
    # What a library does that never returns to Python: signals have no effect.
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
    print("hanging", os.getpid(), flush=True)
    while True:
        time.sleep(60)
"""
DEADLINE_S = 60


def command(program, settings=""):
    preamble = PREAMBLE.replace("supervisor.supervise()", f"{settings}\nsupervisor.supervise()")
    return [sys.executable, "-c", preamble + textwrap.dedent(program)]


def run(program, **environment):
    return subprocess.run(
        command(program),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def start():
    """Starts a supervised program, and ends it after the test."""
    started = []

    def start_program(program, settings="", **environment):
        process = subprocess.Popen(
            command(program, settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            process_group=0,  # an orphaned group, as of a background job, ignores Ctrl-Z
        )
        started.append(process)
        return process

    yield start_program
    for process in started:
        process.kill()
        process.communicate()


def hanging_pid(process):
    """Wait until the child hangs; return its process id."""
    line = process.stdout.readline().split()
    assert line[:1] == ["hanging"], process.communicate()
    return int(line[1])


def assert_gone(*pids):
    deadline = time.monotonic() + DEADLINE_S
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 1, 5, 70])
def test_the_exit_code_is_that_of_the_child(code):
    ran = run(f"print('answer'); steps.board.status = {code}; sys.exit({code})")
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "answer\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL"])
def test_a_crash_is_an_error_that_names_the_step(name):
    ran = run(f"""
        with steps.limited("reading model-7.xml"):
            os.kill(os.getpid(), signal.{name})
    """)
    assert ran.returncode == 2
    error, hint = ran.stderr.splitlines()
    assert error.startswith("error: ")
    assert "reading model-7.xml" in error
    assert name in error
    assert hint.startswith("hint: ")


def test_a_library_that_ends_the_process_is_an_error():
    ran = run("""
        with steps.limited("reading model-7.xml"):
            os._exit(1)
    """)
    assert ran.returncode == 2
    (error, _) = ran.stderr.splitlines()
    assert error.startswith("error: reading model-7.xml: ")


def test_a_real_segmentation_fault_is_an_error():
    ran = run("import ctypes; ctypes.string_at(1)")
    assert ran.returncode == 2
    assert "SIGSEGV" in ran.stderr.splitlines()[-2]


def test_control_characters_of_a_step_are_quoted():
    ran = run("""
        steps.report("reading \\x1b]0;title\\x07")
        os.abort()
    """)
    assert "\x1b" not in ran.stderr
    assert "\\x1b" in ran.stderr


@pytest.mark.slow
def test_a_hang_is_an_error_that_names_the_step_and_the_limit():
    program = """
        with steps.limited("compiling model-7.xml"):
            hang()
    """
    ran = run(program, OVTOOL_STEP_TIMEOUT="1")
    assert ran.returncode == 2
    error, hint = ran.stderr.splitlines()
    assert "compiling model-7.xml" in error
    assert "1 s" in error
    assert steps.STEP_TIMEOUT in hint
    assert_gone(int(ran.stdout.split()[1]))


@pytest.mark.slow
def test_progress_renews_the_time_limit():
    ran = run(
        """
        with steps.limited("long"):
            for _ in range(20):
                steps.report()
                time.sleep(0.1)
        print("done")
        steps.board.status = 0
        """,
        OVTOOL_STEP_TIMEOUT="1.5",
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_child_that_ignores_signals_is_killed_when_the_command_is_stopped(start, name, tmp_path):
    process = start(
        f"""
        files.mark_kept(Path({str(tmp_path)!r}), "a variant")
        hang()
        """
    )
    child = hanging_pid(process)
    started_s = time.monotonic()
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.Signals[name]
    # SECURITY.md promises 2 s; more here, for a busy machine.
    assert supervisor.GRACE_S < 2
    assert time.monotonic() - started_s < supervisor.GRACE_S + 5
    (line,) = errors.splitlines()
    assert line.startswith("stopped")
    assert str(tmp_path) in line, "the last results are named"
    assert_gone(child)


def test_a_second_signal_ends_a_command_at_once(start):
    settings = "supervisor.GRACE_S, supervisor._SAME_SIGNAL_S = 600, 0"
    process = start("hang()", settings=settings)
    child = hanging_pid(process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)  # equal signals that are pending are one
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.returncode == 143
    assert_gone(child)


def test_a_child_that_ends_itself_is_not_killed(start):
    process = start("""
        def stop(number, frame):
            print("cleaned", flush=True)
            steps.board.status = 128 + number
            sys.exit(128 + number)
        signal.signal(signal.SIGTERM, stop)
        print("ready", flush=True)
        time.sleep(600)
    """)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, errors) == (143, "cleaned\n", "")


def test_a_signal_before_the_child_has_handlers_stops_the_command(start):
    process = start('print("ready", flush=True); time.sleep(600)')
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 143
    assert errors.startswith("stopped")


@pytest.mark.slow
def test_the_child_ends_with_a_killed_supervisor(start):
    process = start("hang()")
    child = hanging_pid(process)
    process.kill()
    process.wait()
    assert_gone(child)


def test_processes_of_a_crashed_child_are_ended(tmp_path):
    ran = run("""
        import subprocess
        loop = "import subprocess, sys, time;"
        loop += "print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
        worker = subprocess.Popen(
            [sys.executable, "-c", loop], start_new_session=True, stdout=subprocess.PIPE
        )
        print(worker.pid, int(worker.stdout.readline()), flush=True)
        os.abort()
    """)
    assert ran.returncode == 2
    assert_gone(*map(int, ran.stdout.split()))


def test_temporary_files_of_a_crashed_child_are_removed(tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "tmp"
    out.mkdir()
    scratch.mkdir()
    ran = run(
        f"""
        with files.new_folder(Path({str(out / "variant")!r})) as folder:
            (folder / "model.xml").write_text("half")
            with temporary.scratch_folder("sweep") as scratch:
                (scratch / "data").write_text("half")
                print(scratch, flush=True)
                os.abort()
        """,
        TMPDIR=str(scratch),
    )
    assert ran.returncode == 2
    assert Path(ran.stdout.strip()).is_relative_to(scratch)
    assert not any(out.iterdir())
    assert not any(scratch.iterdir())


def test_a_crash_after_the_end_keeps_the_exit_code():
    ran = run("steps.board.status = 4; os.abort()")
    assert (ran.returncode, ran.stderr) == (4, "")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["os.abort()", "hang()"])
def test_a_command_goes_on_without_an_attempt_that_ends_its_process(fault):
    ran = run(
        f"""
        for name in ("first", "second", "third"):
            if reason := steps.failure_of(name):
                print(name, "failed:", reason)
                continue
            with steps.attempt(name), steps.limited(f"making {{name}}"):
                if name != "second":
                    {fault}
            print(name, "made")
        steps.board.status = 0
        """,
        OVTOOL_STEP_TIMEOUT="0.5",
    )
    first, second, third = ran.stdout.splitlines()[-3:]
    assert (ran.returncode, ran.stderr, second) == (0, "", "second made")
    assert first.startswith("first failed: making first: ")
    assert third.startswith("third failed: making third: ")
    assert ("SIGABRT" if "abort" in fault else "0.5 s") in first


@pytest.mark.slow
def test_a_signal_stops_a_command_in_an_attempt(start):
    process = start("""
        with steps.attempt("first"):
            hang()
    """)
    child = hanging_pid(process)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (143, "")
    assert errors.startswith("stopped")
    assert_gone(child)


def test_more_failures_than_fit_end_the_command():
    board = steps.Board()
    names = [f"variant {index} {'x' * 3000}" for index in range(20)]
    for name in names:
        board.write("attempt", name)
        if not board.fail_attempt("a library crashed"):
            break
    assert board.failure_of(names[0]) == "a library crashed"
    assert board.failure_of(name) == ""
    board.write("attempt", "")
    assert not board.fail_attempt("outside of an attempt")


@pytest.mark.slow
def test_a_stopped_job_continues(start):
    """Ctrl-Z stops both processes, and ``fg`` continues them."""
    process = start("""
        print(os.getpid(), flush=True)
        time.sleep(0.5)
        print("done", flush=True)
        steps.board.status = 0
    """)
    child = psutil.Process(int(process.stdout.readline()))
    parent = psutil.Process(process.pid)
    process.send_signal(signal.SIGTSTP)
    deadline = time.monotonic() + DEADLINE_S
    while {parent.status(), child.status()} != {psutil.STATUS_STOPPED}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, errors) == (0, "done\n", "")


def test_ctrl_c_on_a_terminal_stops_once():
    """The terminal sends the signal to both processes; the supervisor passes it on as well."""
    program = """
        def stop(number, frame):
            signal.signal(signal.SIGINT, lambda number, frame: print("again", flush=True))
            raise SystemExit(128 + number)
        signal.signal(signal.SIGINT, stop)
        try:
            print("ready", flush=True)
            time.sleep(600)
        finally:
            print("cleaned", flush=True)
            steps.board.status = 130
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command(program))
    text = b""
    sent = False
    ready = selectors.DefaultSelector()
    ready.register(terminal, selectors.EVENT_READ)
    while ready.select(DEADLINE_S):
        try:
            text += os.read(terminal, 1000)
        except OSError:  # the terminal is closed
            break
        if b"ready" in text and not sent:
            sent = True
            os.write(terminal, b"\x03")
    ready.close()
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"cleaned" in text
    assert os.waitstatus_to_exitcode(status) == 130


def test_a_board_survives_long_and_undecodable_text(tmp_path):
    board = steps.Board()
    board.step = steps.Step("x" * 10_000, 2.5, 7.0)
    board.status = 3
    assert board.step.text == "x" * 2044
    assert (board.step.started_s, board.step.limit_s, board.status) == (2.5, 7.0, 3)
    odd = Path(os.fsdecode(b"/tmp/\xff"))
    for _ in range(2):
        board.add_folder(odd)
        board.add_folder(tmp_path)
    assert board.folders == [str(odd), str(tmp_path)]
    for index in range(2000):
        board.add_folder(tmp_path / ("y" * 100) / str(index))
    assert all(Path(path).is_absolute() for path in board.folders)
    assert all(path.rpartition("/")[2].isdigit() for path in board.folders[2:]), "no cut path"
