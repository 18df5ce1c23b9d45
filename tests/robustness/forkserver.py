"""Commands as forks of one process that has imported everything: a start takes milliseconds.

    with ForkServer() as server:
        child = server.start(["choose", "sweep"], folder)
        child.wait(30)

The server is a process of its own, ``python -m tests.robustness.forkserver``, because a test runner
has threads, which a fork would lose.  A command ends as a process does, with its exit handlers.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


@dataclass
class Child:
    """A running command; ``status`` is its exit code, or the negative number of a signal."""

    server: ForkServer
    pid: int
    folder: Path
    status: int | None = None

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the status, or None after the time limit."""
        if self.status is None:
            self.status = self.server.ask(wait=self.pid, seconds=seconds)
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the command alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def resume(self) -> bool:
        """Let a command begin that was started as stopped."""
        self.kill(signal.SIGCONT)
        return True

    def kill_all(self) -> None:
        """Kill the command and the processes of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def out(self) -> str:
        """What the command wrote to stdout."""
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def err(self) -> str:
        """What the command wrote to stderr."""
        return (self.folder / "stderr").read_text(errors="replace")


class ForkServer:
    """Starts commands.

    Args:
        fake: Whether sweeps measure with the fake runner instead of worker processes.
        environment: Environment variables of the server and its commands.
    """

    def __init__(self, *, fake: bool = True, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tests.robustness.forkserver", *(["--fake"] * fake)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self.pid = self._process.pid
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, **request: Any) -> Any:
        """Send a request to the server process, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def start(
        self,
        arguments: list[str],
        folder: Path,
        *,
        stopped: bool = False,
        supervised: bool = False,
    ) -> Child:
        """Start ``ovtool ARGUMENTS`` with temporary files, cache and output below a folder.

        Args:
            arguments: The command line after ``ovtool``.
            folder: Gets the folders ``tmp`` and ``cache``, and the files ``stdout``, ``stderr``.
            stopped: Whether the command waits for SIGCONT before it begins.
            supervised: Whether the command runs in a child of a supervisor, as it does for users.
        """
        for name in ("tmp", "cache"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        request = {"stopped": stopped, "supervised": supervised}
        pid = self.ask(arguments=arguments, folder=str(folder), **request)
        return Child(self, pid, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


# Without onnxruntime, whose threads do not survive a fork; those of OpenBLAS and jemalloc do.
_LIBRARIES = (
    *("altair", "encodings.ascii", "encodings.cp437", "encodings.utf_8_sig", "filecmp", "getpass"),
    *("jinja2", "nncf", "onnx", "openvino", "openvino._offline_transformations"),
    *("pandas", "PIL.Image", "pyarrow.csv", "pyarrow.pandas_compat", "pyarrow.parquet"),
    *("rich._emoji_codes", "ruamel.yaml", "scipy.special", "scipy.stats", "typer._adapters"),
    *("vl_convert",),
)
_MAIN = ("__main__", "worker")
"""Modules of ovtool that only run as programs."""


def _import_everything() -> None:
    import ovtool

    for name in _LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(ovtool.__path__, "ovtool."):
        if module.name.rpartition(".")[2] not in _MAIN:
            importlib.import_module(module.name)
    from PIL import Image

    Image.init()


def _use_fake_runner() -> None:
    from ovtool.benchmark.fake import FakeRunner
    from ovtool.sweep import measurer

    measurer.ProcessRunner = lambda **_: FakeRunner(lambda trial, _: 5.0 + trial.batch)


def _tell_acknowledged(path: Path) -> None:
    """Write the id of each trial to a file once the sweep has it on the disk."""
    from ovtool.core.sweep_folder import SweepFolder

    append = SweepFolder.append

    def told(self: SweepFolder, measurements: Any) -> None:
        measurements = list(measurements)
        append(self, measurements)
        with path.open("ab", buffering=0) as stream:
            stream.write("".join(f"{m.trial.id}\n" for m in measurements).encode())

    SweepFolder.append = told


def _become_command(request: dict[str, Any]) -> None:
    """Run a command in a fork; leave by SystemExit as the command does."""
    from ovtool.system.supervisor import supervise

    folder = Path(request["folder"])
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ |= {"TMPDIR": str(folder / "tmp"), "XDG_CACHE_HOME": str(folder / "cache")}
    tempfile.tempdir = None
    if request["stopped"]:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
    if request["supervised"]:
        supervise()
    _tell_acknowledged(folder / "tmp" / "acknowledged")
    from ovtool.cli.main import main
    from ovtool.cli.streams import protect_streams

    sys.argv = ["ovtool", *request["arguments"]]
    protect_streams()
    main()


def _wait(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def main() -> None:
    """Answer requests until stdin closes."""
    _import_everything()
    if "--fake" in sys.argv:
        _use_fake_runner()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer("ready")
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "wait" in request:
            answer(_wait(request["wait"], request["seconds"]))
        elif pid := os.fork():
            if request["stopped"]:
                os.waitpid(pid, os.WUNTRACED)
            answer(pid)
        else:
            answers.close()
            _become_command(request)


if __name__ == "__main__":
    main()
