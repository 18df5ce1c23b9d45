"""A small process that supervises the command line, which runs in its child.

A library that crashes, or that never returns to Python, ends the child alone.  The supervisor
prints the error, ends all processes of the command and removes their temporary files.  If the
command can do without the step (:func:`ovtool.core.steps.attempt`), it starts the command again.
The supervisor imports next to nothing, so that a command starts as fast as without it.  Elsewhere
than on Linux the command runs in the first process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from ovtool.core import steps

if TYPE_CHECKING:
    from ovtool.core.steps import Board, Step

GRACE_S = 1.5
"""Time in which a stopped command may end by itself."""
BAD_INPUT = 2
"""Exit code of a command whose input crashed or blocked a library."""
_SAME_SIGNAL_S = 0.2
"""Time in which a repeated signal is the same one, sent to the process and to its group."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_STOPS = ("SIGINT", "SIGTERM", "SIGHUP")

End = Literal["stopped", "timeout", "crashed"]


def reason_unsupervised() -> str | None:
    """Return why commands run without a supervisor on this system; None if they have one."""
    return None if sys.platform == "linux" else f"not implemented for {sys.platform}"


def supervise() -> None:
    """Continue in a child process; the first process waits for it, and ends with its exit code.

    Where that is not possible, continue in this process.  Call it before threads start.
    """
    if reason_unsupervised() is not None:
        return
    signals = _watched_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    parent = os.getpid()
    try:
        board = steps.Board()
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of the child become children of this process
        gc.freeze()  # the memory stays shared while the child collects garbage
        code = None
        while code is None:
            child = os.fork()
            if child == 0:
                end_with_parent(parent)
                steps.board = board
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                return
            code = Supervisor(child, board, signals).wait()
    except OSError:  # the limit of processes or memory
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return
    os._exit(code)


def end_without_start(reason: str, hint: str) -> NoReturn:
    """End a command that cannot start, with one error."""
    with contextlib.suppress(MemoryError):
        _print(f"error: ovtool cannot start: {reason}", f"hint: {hint}")
        if steps.board is not None:
            steps.board.status = BAD_INPUT
    os._exit(BAD_INPUT)


def end_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when the thread that started it ends (Linux).

    Args:
        parent: The process that must live; by default the current parent.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid() if parent is None else parent
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _watched_signals() -> set[signal.Signals]:
    """Return the signals that the supervisor waits for; ``nohup`` leaves SIGHUP ignored."""
    stops = {signal.Signals[name] for name in (*_STOPS, "SIGTSTP")}
    handled = {number for number in stops if signal.getsignal(number) != signal.SIG_IGN}
    return handled | {signal.SIGCHLD, signal.SIGCONT}


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


class Supervisor:
    """Waits for a child, passes signals on, and ends a child that does not end itself."""

    def __init__(self, child: int, board: Board, signals: set[signal.Signals]) -> None:
        self.child, self.board, self.signals = child, board, signals
        self.wait_status: int | None = None
        self.stop: int | None = None
        self._stopped_s = self._resumed_s = 0.0

    def wait(self) -> int | None:
        """Wait for the end of the child; return the exit code, or None to start it again."""
        expired: Step | None = None
        while self.wait_status is None:
            received = signal.sigtimedwait(self.signals, self._timeout_s())
            if received is not None:
                self._handle(received.si_signo)
            elif self.stop is not None:
                self._kill()
            elif self._remaining_s(step := self.board.step) <= 0:
                expired = step
                self._kill()
        return self._finish(self.wait_status, expired)

    def _timeout_s(self) -> float:
        """Return the time until the child is killed, at most an hour."""
        if self.stop is not None:
            return max(0.0, self._stopped_s + GRACE_S - time.monotonic())
        # A later step may have a shorter limit than the current one: look every second.
        return max(0.0, min(1.0, self._remaining_s(self.board.step)))

    def _remaining_s(self, step: Step) -> float:
        if not step.limit_s:
            return 3600.0
        return max(step.started_s, self._resumed_s) + step.limit_s - time.monotonic()

    def _handle(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGTSTP:  # Ctrl-Z
            self._send(number)
            os.kill(os.getpid(), signal.SIGSTOP)
        elif number == signal.SIGCONT:
            self._resumed_s = time.monotonic()
            self._send(number)
        elif self.stop is None:
            self.stop, self._stopped_s = number, time.monotonic()
            self._send(number)
        elif time.monotonic() - self._stopped_s > _SAME_SIGNAL_S:
            self._kill()

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child, number)

    def _kill(self) -> None:
        self._send(signal.SIGKILL)
        while self.wait_status is None:
            _, self.wait_status = os.waitpid(self.child, 0)

    def _reap(self) -> None:
        """Collect the child, and orphans that it left."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self.child:
                    self.wait_status = ended[1]

    def _finish(self, wait_status: int, expired: Step | None) -> int | None:
        """Return the exit code, or None if the command can do without the step that failed.

        Clean up and print an error if the child did not end itself.
        """
        code, done = os.waitstatus_to_exitcode(wait_status), self.board.status
        if code >= 0 and done is not None:
            if self.stop is not None:  # the signal may have met the removal of a temporary file
                self._remove_temporary_files()
            return code
        kill_children()
        _restore_terminal()
        self._remove_temporary_files()
        if done is not None:
            return done  # a plugin crashed or hung while its process ended
        if self.stop is not None or (code < 0 and signal.Signals(-code).name in _STOPS):
            kept = [text for text in self.board.read("kept").split("\0") if text]
            _print(steps.stopped_line(kept))
            return 128 + (self.stop or -code)
        error, hint = _explain(self.board.step if expired is None else expired, code, expired)
        if self.board.fail_attempt(error):
            return None
        _print(f"error: {error}", f"hint: {hint}")
        return BAD_INPUT

    def _remove_temporary_files(self) -> None:
        folders = self.board.folders
        if folders:
            from ovtool.core import temporary

            for folder in folders:
                temporary.remove_abandoned(Path(folder))


def _explain(step: Step, code: int, expired: Step | None) -> tuple[str, str]:
    """Return the error and the hint of a child that a signal or a library ended."""
    doing = f"{step.text}: " if step.text else ""
    if expired is not None:
        return (
            f"{doing}no result within {step.limit_s:g} s, the command was ended",
            f"if the model needs more time, set {steps.STEP_TIMEOUT} (seconds, 0: no limit)",
        )
    if code == -signal.SIGKILL:
        return (
            f"{doing}the process was killed (SIGKILL); out of memory?",
            "use a smaller model or batch, or a machine with more memory",
        )
    if code >= 0:
        return (
            f"{doing}a library ended the process (exit code {code})",
            "too little memory (ulimit -v, OVTOOL_MEMORY_LIMIT), or a bug of the library",
        )
    return (
        f"{doing}a library crashed ({signal.Signals(-code).name})",
        "a damaged file, a bug of the library, or the memory limit (OVTOOL_MEMORY_LIMIT)",
    )


def kill_children() -> None:
    """Kill all children of this process, and theirs, which become its children; wait for them."""
    with contextlib.suppress(OSError):
        while children := _children():
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, 0)


def _children() -> list[int]:
    pid = os.getpid()
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _restore_terminal() -> None:
    """Remove a progress bar and show the cursor again."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\r\x1b[2K\x1b[?25h")


def _print(*lines: str) -> None:
    from ovtool.core.escaping import quote_controls

    with contextlib.suppress(OSError):
        for line in lines:
            os.write(2, f"{quote_controls(line)}\n".encode("utf-8", "backslashreplace"))
