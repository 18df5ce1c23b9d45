"""Child processes: workers that answer requests in JSON lines, and programs that run to their end.

Every child has a process group of its own, so Ctrl-C in the terminal does not reach it, and a child
is killed together with the processes that it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import psutil

from ovtool.core import system_errors
from ovtool.core.errors import OvtoolError
from ovtool.system import memory_limit
from ovtool.system.host import Host, Unknown
from ovtool.system.supervisor import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

Failure = Literal["error", "died", "hung", "timeout", "invalid_reply"]
"""How a worker failed: it reported an error, ended, closed its output without ending, exceeded the
time limit, or sent a reply that is not understood."""

_HANDLED_ERRORS = (
    *(OvtoolError, RuntimeError, ValueError, TypeError, KeyError, OSError, MemoryError),
)
_EXIT_WAIT_S = 2.0
_STDERR_LINES = 3


class WorkerError(Exception):
    """A worker did not answer a request; the message is one line.

    ``exit_code`` is that of a worker that died; negative for a signal.
    """

    def __init__(
        self, failure: Failure, message: str, method: str, exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.failure, self.method, self.exit_code = failure, method, exit_code


class ChildProcess:
    """A worker process and the pipes to and from it.

    Its stderr goes to a temporary file.  The worker ends when its standard input closes, so it does
    not outlive this process.  ``timeout_s`` limits the start and each request, 0 is no limit;
    ``environment`` is added to the variables of this process.
    """

    def __init__(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._oom_kills = Host().oom_kills()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        pipe = subprocess.PIPE
        self._process = _start(
            command, environment or {}, stdin=pipe, stdout=pipe, stderr=self._stderr
        )
        self._replies: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ready = False
        self._start_error: WorkerError | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the worker has started; a failed start is raised by the first request."""
        try:
            self._require_ready()
        except WorkerError as error:
            self._start_error = error

    def request(
        self, method: str, *, timeout_s: float | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request and return the reply; ``timeout_s`` is the time limit of this request.

        Raises:
            WorkerError: The worker reported an error, died, sent an invalid reply, or exceeded the
                time limit.
        """
        self._require_ready()
        with contextlib.suppress(OSError, ValueError):  # a dead worker: the reply says why
            self._send({"method": method, **arguments})
        return self._await_reply(method, timeout_s)

    def parse(self, method: str, read: Callable[[], T]) -> T:
        """Return the result of ``read``, which interprets a reply.

        Raises:
            WorkerError: The reply has another form.
        """
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._invalid_reply(method, repr(error)) from error

    def stop(self) -> None:
        """Ask the worker to end, and kill it after 2 s."""
        with contextlib.suppress(OSError, ValueError):  # it died, or was stopped before
            self._send({"method": "close"})
        try:
            self._process.wait(timeout=_EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            kill_tree(self._process)

    def kill(self) -> None:
        """End the worker at once; :meth:`close` releases the pipes."""
        kill_tree(self._process)

    def read_stderr(self) -> str:
        """Return everything that a stopped worker wrote to stderr."""
        self._stderr.seek(0)
        return self._stderr.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Stop the worker and close the pipes; safe to call twice."""
        self.stop()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(OSError):  # a pipe that the worker closed
                if stream is not None:
                    stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        with contextlib.suppress(ValueError, OSError):  # closed during the read
            for line in self._process.stdout:
                self._replies.put(line.decode("utf-8", "replace"))
        self._replies.put(None)

    def _require_ready(self) -> None:
        if self._start_error is not None:
            raise self._start_error
        if not self._ready:
            self._await_reply("start")
            self._ready = True

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def _await_reply(self, method: str, timeout_s: float | None = None) -> dict[str, Any]:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            line = self._replies.get(timeout=timeout_s or None)
        except queue.Empty:
            kill_tree(self._process)
            message = f"no reply within {timeout_s:g} s ({method}); the worker was stopped"
            raise WorkerError("timeout", message, method) from None
        if line is None:
            self._replies.put(None)  # for the next request
            raise self._explain_death(method)
        try:
            reply = json.loads(line)
            if "error" in reply:
                raise WorkerError("error", str(reply["error"]), method)
            return dict(reply["ok"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._invalid_reply(method, repr(line[:80])) from error

    def _invalid_reply(self, method: str, details: str) -> WorkerError:
        kill_tree(self._process)
        message = f"the worker sent an invalid reply ({method}): {details}"
        return WorkerError("invalid_reply", message, method)

    def _explain_death(self, method: str) -> WorkerError:
        try:
            code = self._process.wait(timeout=_EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            kill_tree(self._process)
            message = f"the worker closed its output and stopped responding ({method})"
            return WorkerError("hung", message, method)
        cause = f"exit code {code}"
        if code < 0:
            cause = signal.Signals(-code).name
            cause += self._explain_kill() if cause == "SIGKILL" else ""
        last_lines = self.read_stderr().split("\n")[-_STDERR_LINES - 1 :]
        output = " | ".join(line.strip() for line in last_lines if line.strip())
        message = f"the worker died ({method}): {cause}{': ' + output if output else ''}"
        return WorkerError("died", message, method, code)

    def _explain_kill(self) -> str:
        """Return whether the kernel's out-of-memory counter explains a SIGKILL."""
        kills = Host().oom_kills()
        if isinstance(kills, Unknown) or isinstance(self._oom_kills, Unknown):
            return " (out of memory?)"
        return " (killed by the kernel: out of memory)" if kills > self._oom_kills else ""


def serve(create_worker: Callable[[], object]) -> None:
    """Answer requests until ``close`` or the end of standard input: the main loop of a worker.

    A request names a method of the worker, which takes the whole request and returns the reply.
    What plugins print to stdout goes to stderr, apart from the replies.  The ready message follows
    the creation of the worker.
    """
    end_with_parent()  # also while a library blocks the thread that reads requests
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    worker, requests = create_worker(), _read_requests()
    send({"ok": {}})
    while (request := json.loads(requests.get()))["method"] != "close":
        try:
            reply = {"ok": getattr(worker, request["method"])(request)}
        except _HANDLED_ERRORS as error:
            reply = {"error": _describe(error)}
        send(reply)
    _flush_c_streams()
    os._exit(0)  # skips the shutdown of plugins, which may hang


def _describe(error: Exception) -> str:
    if memory_limit.is_out_of_memory(error):
        return memory_limit.describe()[0]
    explained = error if isinstance(error, OvtoolError) else system_errors.explain(error)
    return f"{type(error).__name__}: {error}" if explained is None else explained.full_text


def _flush_c_streams() -> None:
    """Flush what plugins printed, which ``os._exit`` would drop."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).fflush(None)


def _read_requests() -> queue.SimpleQueue[str]:
    """Read requests in a thread, which ends the process when the parent closes the pipe or dies."""
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests


def run_program(
    command: Sequence[str],
    log: Path,
    *,
    timeout_s: float,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> int | None:
    """Run a program to its end, with all its output in the file ``log``, which is overwritten.

    A file rather than a pipe, since services that the program leaves behind would hold a pipe open.
    ``environment`` is added to the variables of this process.

    Returns:
        The exit code; None for a program that exceeded the time limit and was killed.
    """
    with log.open("wb") as stream:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": subprocess.STDOUT}
        process = _start(command, environment, cwd=folder, **pipes)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            kill_tree(process)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a running process and the processes that it started, and wait for its end."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _start(
    command: Sequence[str], environment: Mapping[str, str], **options: Any
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, with ``environment`` added."""
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    return subprocess.Popen(list(command), env={**os.environ, **environment}, **options)
