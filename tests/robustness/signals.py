"""Signals at stepped moments: ``python -m tests.robustness.signals --signal KILL --count 300``.

The time of a command is measured first; the moments then cover it evenly.  A killed command leaves
nothing that the next one does not remove; a stopped one leaves nothing, and ends soon.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.robustness import attack, inputs, powerloss
from tests.robustness.attack import Outcome
from tests.robustness.forkserver import Child, ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator

GONE_S = 10.0
"""Time in which the processes of a killed command end."""


class RealChild(Child):
    """``python -m ovtool``, with the imports that a fork has behind it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        for name in ("tmp", "cache"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        places = {"TMPDIR": str(folder / "tmp"), "XDG_CACHE_HOME": str(folder / "cache")}
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ovtool", *arguments],
                env=os.environ | places,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid, self.folder, self.status = self.process.pid, folder, None

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the status, or None after the time limit."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.status = self.process.wait(seconds)
        return self.status


@dataclass
class Signals:
    """Sends signals to commands.

    Args:
        folder: Gets a folder for each command.
        server: Starts commands; None starts real processes.
    """

    folder: Path
    server: ForkServer | None
    delays_s: list[float] = field(default_factory=list)
    """Times from the signal to the end."""
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.inputs = inputs.build(self.folder / "inputs")

    def _start(self, name: str) -> tuple[Child, Path]:
        self._numbers += 1
        folder = self.folder / f"{self._numbers}-{name}"
        out = folder / "work" / "out"
        out.parent.mkdir(parents=True)
        inputs.VERBS[name].before(self.inputs, out)
        arguments = inputs.VERBS[name].arguments(self.inputs, out)
        if self.server is None:
            return RealChild(arguments, folder), out
        return self.server.start(arguments, folder, supervised=True), out

    def duration_s(self, name: str) -> float:
        """Return the time of a command that nothing disturbs."""
        started = time.monotonic()
        child, _ = self._start(name)
        assert child.wait(attack.DEADLINE_S) == 0, child.err
        shutil.rmtree(child.folder)
        return time.monotonic() - started

    def send(self, name: str, number: int, after_s: float, again_s: float | None = None) -> Outcome:
        """Send a signal to the whole command, as a terminal does; ``again_s`` later a second."""
        child, out = self._start(name)
        time.sleep(after_s)
        processes = _processes(child.pid)
        started = time.monotonic()
        self._signal(child, number)
        if again_s is not None:
            time.sleep(again_s)
            self._signal(child, number)
        status = child.wait(attack.DEADLINE_S)
        self.delays_s.append(time.monotonic() - started)
        _, alive = psutil.wait_procs(processes, GONE_S)
        problems = list(self._problems(name, child, status, out, number))
        problems += [f"process left: {p.pid}" for p in alive]
        if status is None or alive:
            child.kill_all()
        reached = status != 0
        text = f"{signal.Signals(number).name} after {after_s:.2f} s"
        outcome = Outcome(name, text, status, tuple(problems), child.err[-300:], reached)
        shutil.rmtree(child.folder)
        return outcome

    @staticmethod
    def _signal(child: Child, number: int) -> None:
        if number == signal.SIGINT:  # Ctrl-C reaches the processes of the terminal
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        else:
            child.kill(number)

    def _problems(
        self, name: str, child: Child, status: int | None, out: Path, number: int
    ) -> Iterator[str]:
        if status is None:
            yield "hang"
        elif status not in {0, -number, 128 + number}:
            yield f"exit {status}"
        yield from (f"prints {word!r}" for word in attack.TRACES if word in child.err)
        folders = (child.folder / "tmp", out.parent)
        if number != signal.SIGKILL and status != -number and (left := inputs.leftovers(*folders)):
            yield f"leaves {', '.join(path.name for path in left[:3])}"
        inputs.clean_as_next_command(*folders)
        if left := inputs.leftovers(*folders):
            yield f"leaves for good {', '.join(path.name for path in left[:3])}"
        acknowledged = child.folder / powerloss.ACKNOWLEDGED
        told = acknowledged.read_text().split() if acknowledged.exists() else []
        try:
            inputs.VERBS[name].check(out)
            if name == "sweep":
                powerloss.check_sweep(out.parent, self.inputs, frozenset(told))
        except Exception as error:  # noqa: BLE001 - every error is a finding
            yield f"half state: {type(error).__name__}: {error}"


def _processes(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def stepped(
    signals: Signals, names: list[str], number: int, count: int, again_s: float | None = None
) -> Iterator[Outcome]:
    """Yield the outcomes of ``count`` signals to each command, at moments from begin to end."""
    for name in names:
        duration = signals.duration_s(name)
        print(f"{name}: {duration:.2f} s", flush=True)
        for index in range(count):
            yield signals.send(name, number, duration * (index + 0.5) / count, again_s)


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signal", default="KILL", help="KILL, INT, TERM or HUP")
    parser.add_argument("--count", type=int, default=10, help="for each command")
    parser.add_argument("--twice", type=float, help="seconds until a second signal")
    parser.add_argument("--verb", default="sweep,run,compress,report", help=", ".join(inputs.VERBS))
    parser.add_argument("--real", action="store_true", help="processes with their imports")
    parser.add_argument("--log", default="signals.jsonl", help="file of outcomes")
    options = parser.parse_args()
    names = list(inputs.VERBS) if options.verb == "all" else options.verb.split(",")
    number = signal.Signals[f"SIG{options.signal}"]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None if options.real else stack.enter_context(ForkServer())
        signals = Signals(folder, server)
        outcomes = stepped(signals, names, number, options.count, options.twice)
        print(attack.summary(attack.record(outcomes, Path(options.log))))
        delays = sorted(signals.delays_s)
        slow = sum(delay > 2 for delay in delays)
        print(
            f"time to end: median {statistics.median(delays):.2f} s, 90th percentile"
            f" {delays[int(0.9 * len(delays))]:.2f} s, largest {delays[-1]:.2f} s; {slow} over 2 s"
        )


if __name__ == "__main__":
    main()
