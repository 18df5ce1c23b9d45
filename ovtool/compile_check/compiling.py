"""Trial compiles in child processes, and what compiler errors mean.

``python -m ovtool.compile_check.compiling`` is the worker process of a trial compile.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from ovtool.devices import plugin_errors
from ovtool.devices.plugin_errors import Explanation, KnownError
from ovtool.system.child_process import ChildProcess, WorkerError, serve

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOB, LOG = "compiled.blob", "compile.log"
COMPILE_S = 600.0
"""Default time limit of a trial compile."""
LOG_ENVIRONMENT = {"OV_NPU_LOG_LEVEL": "LOG_INFO"}
"""Environment in which the NPU compiler logs its latency estimate."""
INSTALL = "ovtool devices --install-npu-compiler"

Failure = Literal["rejected", "died", "timeout"]

_COMMAND = (sys.executable, "-P", "-m", "ovtool.compile_check.compiling")
_ESTIMATE = re.compile(r"Estimated inference latency:\s*([0-9.]+)\s*(us|ms|s)\b")
_MS_PER_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SPLIT_BATCH = "The model was reshaped to batch size 1 on the plugin side"
"""The NPU plugin logs this where it compiles a batch for one sample and runs it sample by sample,
its default unless ``NPU_BATCH_MODE`` is ``COMPILER``."""

_REPLACE = "replace the operations listed, or run them on another device (HETERO:NPU,CPU)"
_EXPLANATIONS = {
    "timeout": Explanation(
        "compile-timeout", "compiling exceeded the time limit", "try a smaller model or batch"
    ),
    "died": Explanation(
        "compiler-died",
        "the compiler crashed",
        "report the crash to the compiler's developers with the model, or replace the operations"
        " listed",
        operations=True,
    ),
}
_REJECTED = Explanation(
    "compiler-rejects", "the compiler rejects the model", _REPLACE, operations=True
)
_COMPILER_ERRORS = (
    KnownError(
        "unsupported",
        r"[Uu]nsupported|not supported|[Uu]nknown operation|isn't supported",
        "the compiler does not support part of the model",
        _REPLACE,
        operations=True,
    ),
)
"""Errors beyond those of :data:`ovtool.devices.plugin_errors.KNOWN_ERRORS`; too general a pattern
for the failure of a trial."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a trial compile; None is unknown.

    Args:
        failure: How compiling failed; None where the model compiles.
        error: The compiler's error, on one line.
        estimate_ms: The compiler's own latency estimate; nothing was run.
        execution_devices: Devices that the compiled model would run on.
        version: OpenVINO version of the compiler.
        of_one_sample: Whether the plugin splits batches: size, time and estimate are of one sample.
    """

    failure: Failure | None = None
    error: str = ""
    blob_bytes: int | None = None
    compile_s: float | None = None
    estimate_ms: float | None = None
    execution_devices: str = ""
    version: str = ""
    of_one_sample: bool = False

    @property
    def compiled(self) -> bool:
        """Whether the model compiles."""
        return self.failure is None


class Compiler(Protocol):
    """Compiles models within its context."""

    @property
    def by(self) -> str:
        """Description of the compiler for reports."""

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model; output files go to the model's folder."""

    def __enter__(self) -> Self:
        """Prepare the compiler."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything that the compiler started."""


@dataclass(frozen=True, slots=True)
class LocalCompiler(Compiler):
    """OpenVINO's plugin on this machine; every compile has the properties ``always``."""

    device: str
    by: str = "the plugin on this machine"
    always: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = COMPILE_S

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model in a worker process."""
        import openvino as ov

        blob, version = xml.with_name(BLOB), ov.get_version()
        with closing(ChildProcess(_COMMAND, self.timeout_s, LOG_ENVIRONMENT)) as worker:
            try:
                reply = worker.request(
                    "compile",
                    xml=str(xml),
                    blob=str(blob),
                    device=self.device,
                    properties={"CACHE_DIR": "", **properties, **self.always},
                )
            except WorkerError as error:
                blob.unlink(missing_ok=True)
                failure: Failure = "timeout" if error.failure == "timeout" else "died"
                return Outcome(failure, str(error), version=version)
            worker.stop()
            log = worker.read_stderr()
        if "rejection" in reply:
            error_line = " | ".join(reply["rejection"].strip().split("\n"))
            return Outcome("rejected", error_line, version=version)
        devices = str(reply["execution_devices"])
        return _compiled(log, blob, float(reply["compile_s"]), devices, version)

    def __exit__(self, *_: object) -> None:
        """Do nothing: each compile has its own worker."""


class CompileWorker:
    """Compiles a model, and exports it where the plugin can."""

    def compile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the time and the devices; ``rejection`` is the error of a model that fails."""
        import openvino as ov

        device = request["device"]
        try:
            core = ov.Core()
            model = core.read_model(request["xml"])
            core.get_versions(device)  # loads the plugin, which is not part of compiling
            started = time.perf_counter()
            compiled = core.compile_model(model, device, request["properties"])
            compile_s = time.perf_counter() - started
            devices = " ".join(compiled.get_property("EXECUTION_DEVICES"))
        except RuntimeError as error:
            return {"rejection": str(error)}
        with suppress(RuntimeError):  # the model compiles; not every plugin exports it
            Path(request["blob"]).write_bytes(compiled.export_model().getvalue())
        return {"compile_s": round(compile_s, 3), "execution_devices": devices}


def read_outcome(log: Path, blob: Path, exit_code: int | None, timeout_s: float) -> Outcome:
    """Read the outcome of a program such as ``npu/ovnpu.c``, which prints ``@key value`` lines.

    The file of the compiled model is removed.  ``exit_code`` is None after the time limit.
    """
    text = log.read_text("utf-8", "replace")
    lines = text.splitlines()
    values = dict(line[1:].partition(" ")[::2] for line in lines if line[:1] == "@")
    version = values.get("version", "").strip()
    if exit_code == 0 and "compile_s" in values:
        devices = values.get("execution_devices", "").strip()
        return _compiled(text, blob, float(values["compile_s"]), devices, version)
    blob.unlink(missing_ok=True)
    if exit_code is None:
        return Outcome("timeout", f"not finished within {timeout_s:g} s", version=version)
    if error := values.get("error", "").strip():
        return Outcome("rejected", error, version=version)
    output = [line.strip() for line in lines if line.strip() and line[:1] != "@"]
    last = f": {output[-1][:200]}" if output else ""
    return Outcome("died", f"the compiler died (exit code {exit_code}){last}", version=version)


def _compiled(log: str, blob: Path, compile_s: float, devices: str, version: str) -> Outcome:
    size = blob.stat().st_size if blob.is_file() else None
    blob.unlink(missing_ok=True)
    estimates = [float(value) * _MS_PER_UNIT[unit] for value, unit in _ESTIMATE.findall(log)]
    return Outcome(
        blob_bytes=size,
        compile_s=compile_s,
        estimate_ms=estimates[-1] if estimates else None,
        execution_devices=devices,
        version=version,
        of_one_sample=_SPLIT_BATCH in log,
    )


def explain(outcome: Outcome) -> Explanation:
    """Return the meaning of a failed compile, and the remedy."""
    if outcome.failure in _EXPLANATIONS:
        return _EXPLANATIONS[outcome.failure]
    return plugin_errors.explain(outcome.error, _COMPILER_ERRORS) or _REJECTED


if __name__ == "__main__":
    serve(CompileWorker)
