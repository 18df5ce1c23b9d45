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
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from ovtool.measure.session import Job, Opened, RawRound, TrialFailedError
from ovtool.results import Note, Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COMMAND = (sys.executable, "-m", "ovtool.measure.worker")
_STDERR_LINES = 3


@dataclass(frozen=True, slots=True)
class ProcessRunner:
    """Measures for real, each trial in a process of its own.

    Args:
        timeout_s: Longest time that compiling, or one round, may take.
        seed: Of the random inputs.
    """

    timeout_s: float = 300.0
    seed: int = 0

    def open(self, job: Job) -> ProcessSession:
        """Start a process, compile and warm up.

        Raises:
            TrialFailedError: It cannot be compiled or run, died, or took too long.
        """
        return ProcessSession(job, self.timeout_s, self.seed)


class ProcessSession:
    """A measuring process between its commands."""

    def __init__(self, job: Job, timeout_s: float, seed: int) -> None:
        self._timeout_s = timeout_s
        self._names = list(job.names)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = _start(self._stderr)
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            answer = self._ask(
                "open",
                xml=str(job.xml),
                device=job.trial.device,
                batch=job.trial.batch,
                requests=job.trial.requests,
                shapes=job.shapes,
                data_shapes=job.data_shapes,
                batch_axes=job.batch_axes,
                names=self._names,
                properties=dict(job.properties),
                inputs=str(job.inputs) if job.inputs else None,
                seed=seed,
            )
            self.opened = _opened(answer, job)
        except BaseException:
            self.close()
            raise

    def measure(self, seconds: float) -> RawRound:
        """Infer for about so long; see :class:`ovtool.measure.session.Session`."""
        answer = self._ask("measure", seconds=seconds)
        return RawRound(
            windows=tuple(Window(**w) for w in answer["windows"]),
            latencies_ms=tuple(tuple(w) for w in answer["latencies_ms"]),
            energy_j=answer.get("energy_j"),
            energy_unknown=answer.get("energy_unknown", ""),
            peak_rss_mib=answer["peak_rss_mib"],
        )

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Infer samples of one file into another; see :class:`ovtool.measure.session.Session`."""
        self._ask("infer", inputs=str(inputs), outputs=str(outputs), names=self._names)

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

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # it died: the missing answer tells, with the reason
            self._send({"do": do, **arguments})
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
                raise TrialFailedError(_readable(answer["error"]))
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
            name = signal.Signals(-code).name
            how = f"{name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
        self._stderr.seek(0)
        last = self._stderr.read().decode("utf-8", "replace").split("\n")[-_STDERR_LINES - 1 :]
        said = " | ".join(text.strip() for text in last if text.strip())
        return f"its process died ({do}): {how}{': ' + said if said else ''}"


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


def _opened(answer: Mapping[str, Any], job: Job) -> Opened:
    names = (
        "compile_cold_ms", "compile_cached_ms", "first_inference_ms",
        "streams", "requests", "threads",
    )  # fmt: skip
    notes = []
    if told := answer.get("inputs"):
        shown = ", ".join(f"{name}: {values}" for name, values in told.items())
        notes.append(Note("random-inputs", "measured on random inputs", shown))
    if answer["compile_cached_ms"] is None:
        notes.append(Note("no-cache", "the device wrote no model cache: no cached compile time"))
    layers = answer["layers"]
    if layers:
        shares = ", ".join(f"{n} {p}" for p, n in sorted(layers.items(), key=lambda i: -i[1]))
        notes.append(Note("executed-layers", "precision of the layers that compute", shares))
    elif layers is None:
        notes.append(Note("no-runtime-graph", "the device does not show its executed graph"))
    wanted = job.trial.device.partition(".")[0]
    ran_on = answer["execution_devices"]
    if ran_on and not any(str(d).startswith(wanted) for d in ran_on):
        notes.append(Note("ran-elsewhere", f"{job.trial.device} ran on {', '.join(ran_on)}"))
    return Opened(
        figures={n: float(answer[n]) for n in names if answer.get(n) is not None},
        executed_precision=executed_precision(answer["precision"], layers),
        properties=job.properties,
        notes=tuple(notes),
    )


def executed_precision(hint: str | None, layers: Mapping[str, int] | None) -> str | None:
    """Name what a compiled model runs in: its precision, with ``i8+`` where layers run in INT8.

    Args:
        hint: ``INFERENCE_PRECISION_HINT`` as read back, or None.
        layers: Computing layers by executed precision, or None where the device does not show.
    """
    integer = sum(n for p, n in (layers or {}).items() if p in ("i8", "u8"))
    if integer and hint:
        return f"i8+{hint}"
    return hint


def _readable(error: str) -> str:
    """Return a plugin's exception as one line, without the places in its source code."""
    lines = [line.strip() for line in error.splitlines()]
    kept = [
        line
        for line in lines
        if line and not line.startswith(("Exception from src", "Check '", "While validating node"))
    ]
    return " ".join(kept or lines)[:500]
