"""Trial compiles: whatever compiles is asked in a process of its own, and answers in one form.

So a compiler that crashes or hangs costs one answer.  All that it prints goes to a file: services
that Wine starts would hold a pipe open.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from ovtool.devices import plugin_errors
from ovtool.devices.plugin_errors import Explained, Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BLOB, LOG = "compiled.blob", "compile.log"
COMPILE_S = 600.0
"""Longest time that one trial compile may take."""
TOLD = {"OV_NPU_LOG_LEVEL": "LOG_INFO"}
"""Environment in which the NPU's compiler prints its estimate."""
_ESTIMATE = re.compile(r"Estimated inference latency:\s*([0-9.]+)\s*(us|ms|s)\b")
_SPLIT = "The model was reshaped to batch size 1 on the plugin side"
"""What the NPU's plugin says where it compiles a batch for one sample, to run it sample by sample,
as it does unless ``NPU_BATCH_MODE`` is ``COMPILER``."""
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial compile came to.

    Args:
        compiled: Whether there is a compiled model.
        error: What was said where there is none, in one line.
        blob_bytes: Size of the compiled model; None where it cannot be exported.
        compile_s: What compiling took.
        estimate_ms: The compiler's own estimate of the latency: nothing was run.
        execution_devices: What the compiled model says it would run on.
        version: Of the OpenVINO that compiled.
        timed_out: Whether it was ended because it took too long.
        of_one_sample: Whether a batch was split: size, time and estimate are of one sample.
    """

    compiled: bool
    error: str = ""
    blob_bytes: int | None = None
    compile_s: float | None = None
    estimate_ms: float | None = None
    execution_devices: str = ""
    version: str = ""
    timed_out: bool = False
    of_one_sample: bool = False


class Compiler(Protocol):
    """What trial compiles are asked of, between entering and leaving its context."""

    @property
    def by(self) -> str:
        """What compiles, in words."""

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model; what is made lies beside it."""

    def __enter__(self) -> Self:
        """Get ready."""

    def __exit__(self, *_: object) -> None:
        """End everything that was started."""


@dataclass(frozen=True, slots=True)
class LocalCompiler:
    """OpenVINO's plugin on this machine.

    Args:
        device: As OpenVINO calls it.
        by: What compiles, in words.
        always: Properties that it is always told.
        timeout_s: Longest time of one compile.
    """

    device: str
    by: str = "the plugin on this machine"
    always: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = COMPILE_S

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model in a process of its own."""
        blob = xml.with_name(BLOB)
        told = {"CACHE_DIR": "", **properties, **self.always}
        program = [sys.executable, "-m", "ovtool.compile_check.compile_worker"]
        words = [*program, str(xml), str(blob), self.device, *flat(told)]
        log = xml.with_name(LOG)
        code = run_program(words, log, timeout_s=self.timeout_s, environment=TOLD)
        return read_outcome(log, blob, code, self.timeout_s)

    def __enter__(self) -> Self:
        """Nothing is to be made ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left running."""


def flat(properties: Mapping[str, str]) -> list[str]:
    """Return properties as the words of a command."""
    return [word for pair in properties.items() for word in pair]


def run_program(
    words: Sequence[str],
    log: Path,
    *,
    timeout_s: float,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> int | None:
    """Run a program to its end, all that it prints into a file.

    Args:
        words: The program and its arguments.
        log: Written anew.
        timeout_s: After so long it is ended.
        environment: Added to this process's.
        folder: Where it runs; None for here.

    Returns:
        Its exit code; None where it was ended because it took too long.
    """
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(os.environ) | dict(environment),
            cwd=folder,
            **own_group,
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and what it started."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_outcome(log: Path, blob: Path, code: int | None, timeout_s: float) -> Outcome:
    """Read what a program that compiles has answered.

    Args:
        log: What it printed.
        blob: The file it made, if it did; it is removed.
        code: Its exit code; None where it was ended because it took too long.
        timeout_s: How long that was.
    """
    text = log.read_text("utf-8", "replace")
    told = dict(line[1:].partition(" ")[::2] for line in text.splitlines() if line[:1] == "@")
    size = blob.stat().st_size if blob.is_file() else None
    blob.unlink(missing_ok=True)
    version = told.get("version", "").strip()
    if code == 0 and "compile_s" in told:
        estimates = [float(value) * _MS[unit] for value, unit in _ESTIMATE.findall(text)]
        return Outcome(
            compiled=True,
            blob_bytes=size,
            compile_s=float(told["compile_s"]),
            estimate_ms=estimates[-1] if estimates else None,
            execution_devices=told.get("execution_devices", "").strip(),
            version=version,
            of_one_sample=_SPLIT in text,
        )
    if code is None:
        error = f"it did not end within {timeout_s:g} s"
        return Outcome(compiled=False, error=error, version=version, timed_out=True)
    error = told.get("error", "").strip() or f"the compiler died (exit code {code}){_last(text)}"
    return Outcome(compiled=False, error=error, version=version)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[:1] != "@"]
    return f": {lines[-1][:200]}" if lines else ""


INSTALL = "ovtool devices --install-npu-compiler"
_REPLACE = "replace the operations named, or run them on another device (HETERO:NPU,CPU)"
_MORE = (
    Known(
        r"did not end within",
        "the compile took too long and was ended",
        "try a smaller model or batch",
    ),
    Known(
        r"the compiler died",
        "the compiler itself died",
        "report it to its makers with the model, or replace the operations named",
        operations=True,
    ),
    Known(
        r"[Uu]nsupported|not supported|[Uu]nknown operation|isn't supported",
        "the compiler does not support something in the model",
        _REPLACE,
        operations=True,
    ),
)
"""Beyond what every plugin says: too general for the failure of a trial."""
_OTHER = Explained("the compiler rejects the model", _REPLACE, operations=True)


def explain(said: str) -> Explained:
    """Return what an error means; the text may be several lines."""
    return plugin_errors.explain(said, _MORE) or _OTHER


def condense(said: str) -> str:
    """Return what was said without the places in its source code, in at most 300 characters."""
    noise = re.compile(r"^(Exception from src|Check '|While validating|\s*$)")
    parts = [part.strip() for part in re.split(r"\s*\|\s*|\n", said) if not noise.match(part)]
    text = re.sub(r"Exception from src\S+:\d+:\s*", "", " ".join(parts))
    return text if len(text) <= 300 else f"{text[:297]}..."
