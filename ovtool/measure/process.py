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

from ovtool import units
from ovtool.measure import layers
from ovtool.measure.session import Job, Opened, RawRound, TrialFailedError
from ovtool.results import Note, Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COMMAND = (sys.executable, "-m", "ovtool.measure.worker")
_STDERR_LINES = 3
ATTRIBUTED = 0.995
"""Share of a model's FLOPs below which it is said that some could not be given to a layer."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """What profiling a model came to.

    Args:
        layers: Those that ran, with their times.
        latency_ms: Mean of one request without counters.
        latency_counted_ms: The same with counters.
        inferences: Counted requests.
        flops: Of one request; None where they cannot be told.
        attributed: Share of the known FLOPs that some layer is known to do; None without any.
        others_cpu_pct: Share of the machine that others took meanwhile; None where not told.
    """

    layers: tuple[layers.Layer, ...]
    latency_ms: float
    latency_counted_ms: float
    inferences: int
    flops: int | None
    attributed: float | None
    others_cpu_pct: float | None


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
        self._model = {
            "xml": str(job.xml),
            "device": job.trial.device,
            "shapes": job.shapes,
            "properties": dict(job.properties),
        }
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = _start(self._stderr)
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            answer = self._ask(
                "open",
                **self._model,
                batch=job.trial.batch,
                requests=job.trial.requests,
                batch_axes=job.batch_axes,
                names=self._names,
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

    def profile(self, seconds: float) -> Profiled:
        """Time each layer for about so long.

        Raises:
            TrialFailedError: As for :meth:`measure`.
        """
        answer = self._ask("profile", **self._model, seconds=seconds)
        return Profiled(**answer | {"layers": tuple(map(layers.from_json, answer["layers"]))})

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
    if answer["compile_cached_ms"] is None:
        notes.append(Note("no-cache", "the device wrote no model cache: no cached compile time"))
    told = answer["layers"]
    notes += _layer_notes(told)
    if answer["flops"] is None:
        notes.append(
            Note("no-flops", "the arithmetic is not known: shapes or repeats depend on the data")
        )
    wanted = job.trial.device.partition(".")[0]
    ran_on = answer["execution_devices"]
    if ran_on and not any(str(d).startswith(wanted) for d in ran_on):
        notes.append(Note("ran-elsewhere", f"{job.trial.device} ran on {', '.join(ran_on)}"))
    figures = {n: float(answer[n]) for n in names if answer.get(n) is not None}
    return Opened(
        figures=figures | _arithmetic(told, answer["flops"], job.trial.batch),
        executed_precision=executed_precision(answer["precision"], told and told["layer_share"]),
        properties=job.properties,
        notes=tuple(notes),
    )


def _layer_notes(told: Mapping[str, Any] | None) -> list[Note]:
    """Say what the layers execute in, and what of an INT8 model does not run in INT8."""
    if told is None:
        return [Note("no-runtime-graph", "the device does not show its executed graph")]
    if not told["compute_layers"]:
        return []
    by_flops = told["flops_share"]
    shown = units.percentages(by_flops or told["layer_share"])
    notes = [
        Note(
            "executed-layers",
            "precision of the layers that compute",
            f"{shown} of {'FLOPs' if by_flops else 'layers'}",
        )
    ]
    back, share = told["fallbacks"], told["fallback_share"]
    if back:
        count = f"{len(back)} of {told['compute_layers']} layers"
        flops = "" if share is None else f", {units.text(100 * share)} % of FLOPs"
        more = ", ..." if len(back) > 3 else ""
        notes.append(
            Note(
                "fell-back",
                "layers of an INT8 model that run in floating point",
                f"{count}{flops}: {', '.join(back[:3])}{more}",
            )
        )
    if told["attributed"] is not None and told["attributed"] < ATTRIBUTED:
        notes.append(
            Note(
                "flops-unattributed",
                "the executed graph does not say which layers do all of the model's arithmetic:"
                " shares are of what it says",
                f"{100 * told['attributed']:.0f} % of FLOPs",
            )
        )
    return notes


def _arithmetic(told: Mapping[str, Any] | None, flops: int | None, batch: int) -> dict[str, float]:
    """Return the figures of the arithmetic: per sample, and by precision where it is shown."""
    found = {} if flops is None else {"gflops": flops / 1e9 / batch}
    by_flops = told["flops_share"] if told is not None else {}
    if by_flops:
        found |= {
            f"flops_{name}_pct": 100.0 * by_flops.get(name, 0.0)
            for name in ("i8", "bf16", "f16", "f32")
        }
    return found


def executed_precision(hint: str | None, shares: Mapping[str, float] | None) -> str | None:
    """Name what a compiled model runs in: its precision, with ``i8+`` where layers run in INT8.

    Args:
        hint: ``INFERENCE_PRECISION_HINT`` as read back, or None.
        shares: Of the computing layers by executed precision, or None where the device does not
            show.
    """
    if hint and (shares or {}).get("i8"):
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
