"""One process a trial: a crash, a hang or a killed driver costs one row and no more."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ovtool.benchmark import worker_protocol as answers
from ovtool.benchmark.session import Job, RawRound, TrialFailedError
from ovtool.system.host import Host, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ovtool.benchmark.worker_protocol import Profiled
    from ovtool.graph.runtime_layers import Layer

T = TypeVar("T")

_COMMAND = (sys.executable, "-P", "-m", "ovtool.benchmark.worker")
_STDERR_LINES = 3


@dataclass(slots=True)
class ProcessRunner:
    """Measures for real, each trial in a process of its own.

    Args:
        timeout_s: Longest time that compiling, or one round, may take.
        seed: Of the random inputs.
    """

    timeout_s: float = 300.0
    seed: int = 0
    _ready: list[_Process] = field(default_factory=list)

    def prepare(self, count: int) -> None:
        """Start processes side by side; see :class:`ovtool.benchmark.session.Runner`."""
        self._ready += [_Process(self.timeout_s) for _ in range(count - len(self._ready))]
        for process in self._ready:
            process.wait_until_ready()

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> ProcessSession:
        """Compile in a process of its own; see :class:`ovtool.benchmark.session.Runner`.

        Raises:
            TrialFailedError: It cannot be compiled or run, died, or took too long.
        """
        process = self._ready.pop() if self._ready else _Process(self.timeout_s)
        return ProcessSession(job, process, self.seed, cache, warm_up)

    def close(self) -> None:
        """End the processes that were started and not used."""
        while self._ready:
            self._ready.pop().close()


class ProcessSession:
    """A measuring process between its commands."""

    def __init__(
        self, job: Job, process: _Process, seed: int, cache: Path | None, warm_up: bool
    ) -> None:
        self._process = process
        self._names = list(job.names)
        try:
            answer = process.ask(
                "open",
                batch=job.trial.batch,
                requests=job.trial.requests,
                shapes=job.shapes,
                data_shapes=job.data_shapes,
                xml=str(job.xml),
                device=job.trial.device,
                properties=dict(job.properties),
                batch_axes=job.batch_axes,
                names=self._names,
                inputs=str(job.inputs) if job.inputs else None,
                seed=seed,
                cache=str(cache) if cache else None,
                warm_up=warm_up,
            )
            self.opened = process.checked("open", lambda: answers.opened(answer, job))
        except BaseException:
            self.close()
            raise

    def measure(self, seconds: float, rate: float | None = None) -> RawRound:
        """Infer for about so long; see :class:`ovtool.benchmark.session.Session`."""
        answer = self._process.ask("measure", seconds=seconds, rate=rate)
        return self._process.checked("measure", lambda: answers.raw_round(answer))

    def save_cache(self, folder: Path) -> float | None:
        """Fill a model cache; see :class:`ovtool.benchmark.session.Session`."""
        answer = self._process.ask("save_cache", folder=str(folder))
        return self._process.checked("save_cache", lambda: _size_in(answer))

    def profile(self, seconds: float) -> Profiled:
        """Time each layer for about so long.

        Raises:
            TrialFailedError: As for :meth:`measure`.
        """
        answer = self._process.ask("profile", seconds=seconds)
        return self._process.checked("profile", lambda: answers.profiled(answer))

    def layers(self) -> tuple[Layer, ...] | None:
        """Return what is executed; see :class:`ovtool.benchmark.session.Session`."""
        answer = self._process.ask("layers")
        return self._process.checked("layers", lambda: answers.executed(answer))

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Infer samples of one file into another; see :class:`ovtool.benchmark.session.Session`."""
        self._process.ask("infer", inputs=str(inputs), outputs=str(outputs), names=self._names)

    def close(self) -> None:
        """Ask it to end, and see that it does."""
        self._process.close()


def _size_in(answer: dict[str, Any]) -> float | None:
    blob_mib = answer["blob_mib"]
    return None if blob_mib is None else float(blob_mib)


class _Process:
    """A worker and the lines to and from it."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._oom_kills = Host().oom_kills()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = _start(self._stderr)
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ready = False
        self._failure: TrialFailedError | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until it has imported what it needs; what went wrong is told when it is asked."""
        try:
            self._greeted()
        except TrialFailedError as error:
            self._failure = error

    def _greeted(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._ready:
            self._answer("start")
            self._ready = True

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            TrialFailedError: It reported an error, died, answered nonsense or took too long.
        """
        self._greeted()
        with contextlib.suppress(OSError, ValueError):  # it died: the missing answer tells why
            self._send({"do": do, **arguments})
        return self._answer(do)

    def checked(self, do: str, read: Callable[[], T]) -> T:
        """Return what ``read`` makes of an answer; one that it cannot read is nonsense.

        Raises:
            TrialFailedError: It cannot be read.
        """
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._process.kill()
            raise TrialFailedError(f"its process answered garbage ({do}): {error!r}") from error

    def close(self) -> None:
        """Ask it to end, and see that it does."""
        with contextlib.suppress(OSError, ValueError):  # it died, or was closed before
            self._send({"do": "close"})
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(OSError):  # a pipe whose other end died
                if pipe is not None:
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - Popen was asked for the pipe
        with contextlib.suppress(ValueError, OSError):  # closed while it was read
            for line in self._process.stdout:
                self._answers.put(line.decode("utf-8", "replace"))
        self._answers.put(None)

    def _send(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - Popen was asked for the pipe
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self, do: str) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            self._process.kill()
            raise TrialFailedError(
                f"no answer within {self._timeout_s:g} s ({do}); its process was ended"
            ) from None
        if line is None:
            raise TrialFailedError(self._death(do))
        try:
            answer = json.loads(line)
            if "error" in answer:
                raise TrialFailedError(answers.in_words(answer["error"]))
            return dict(answer["ok"])
        except (ValueError, KeyError, TypeError) as error:
            self._process.kill()
            raise TrialFailedError(f"its process answered garbage ({do}): {line[:80]!r}") from error

    def _death(self, do: str) -> str:
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return f"its process closed its output and hung ({do})"
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
            if how == "SIGKILL":
                how += self._killed_by()
        self._stderr.seek(0)
        last = self._stderr.read().decode("utf-8", "replace").split("\n")[-_STDERR_LINES - 1 :]
        said = " | ".join(text.strip() for text in last if text.strip())
        return f"its process died ({do}): {how}{': ' + said if said else ''}"

    def _killed_by(self) -> str:
        """Say whether the kernel killed it for memory, as far as its counter tells."""
        now = Host().oom_kills()
        if isinstance(now, Unknown) or isinstance(self._oom_kills, Unknown):
            return " (out of memory?)"
        return " (the kernel ended it: out of memory)" if now > self._oom_kills else ""


def _start(stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker out of reach of the terminal's Ctrl-C, which is ours to handle."""
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        **own_group,
    )
