"""Loss of power at every point of a command: ``python -m tests.robustness.powerloss sweep``.

The writes of the command are recorded once.  At every point, each state that the disk may have is
written out and must be valid.  Needs strace.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.robustness import attack, disk, inputs
from tests.robustness.forkserver import Child, ForkServer
from tests.robustness.writelog import OPTIONS, Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACKNOWLEDGED = "tmp/acknowledged"
"""File where the server of commands writes the ids of trials that a sweep has recorded."""


@dataclass
class Recorded:
    """A command that has run: the folder before and after it, and the log of its writes."""

    folder: Path
    name: str
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "strace"

    @property
    def before(self) -> Path:
        """A copy of the folder of the output, from before."""
        return self.folder / "before"

    def states(self) -> Iterator[tuple[str, disk.Tree, frozenset[str]]]:
        """Yield each distinct state: the point, the files, the acknowledged trials.

        Raises:
            AssertionError: The replay of all writes differs from what the command wrote.
        """
        work = self.folder / "work"
        real = disk._tree(disk._read(work), lambda n: n.names, lambda n: bytes(n.data))
        current = self.folder / "current"
        work.rename(current)
        self.before.rename(work)
        replay = Replay(work, self.folder / ACKNOWLEDGED)
        seen: set[tuple[str, frozenset[str]]] = set()
        before = ""
        for number, call in enumerate(replay.run(self.log), 1):
            if call == before == "write":  # the first write stands for those that follow
                continue
            before = call
            acknowledged = frozenset(replay.said.split())
            for tree in replay.disk.after_power_loss():
                key = disk.digest(tree), acknowledged
                if key not in seen:
                    seen.add(key)
                    yield f"{number} {call}", tree, acknowledged
        assert replay.disk.live() == real, "the log misses a write"
        for tree in replay.disk.after_power_loss():
            yield "end", tree, frozenset(replay.said.split())


def available() -> str:
    """Return why the writes of a command cannot be recorded; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-qq", "-o", "/dev/null", "true"]
    ran = subprocess.run(probe, capture_output=True, check=False, timeout=30)
    return "strace may not trace here" if ran.returncode else ""


def _trace(child: Child, *options: str) -> None:
    """Attach strace to a command that waits, continue the command, and wait for both."""
    log = child.folder / "strace"
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", str(log), *options, "-p", str(child.pid)],
        stderr=subprocess.DEVNULL,
    )
    status = Path(f"/proc/{child.pid}/status")
    while "\nTracerPid:\t0\n" in status.read_text() and tracer.poll() is None:
        time.sleep(0.002)
    child.kill(signal.SIGCONT)
    child.wait(attack.DEADLINE_S)
    if child.status is None:
        child.kill_all()
    tracer.wait(30)


def record(server: ForkServer, source: Path, name: str, folder: Path) -> Recorded:
    """Run a command of :data:`tests.robustness.inputs.VERBS` and record its writes."""
    verb, out = inputs.VERBS[name], folder / "work" / "out"
    out.parent.mkdir(parents=True)
    verb.before(source, out)
    shutil.copytree(out.parent, folder / "before")
    child = server.start(verb.arguments(source, out), folder, stopped=True)
    _trace(child, *OPTIONS)
    assert child.status == 0, child.err
    return Recorded(folder, name)


def check_sweep(folder: Path, inputs_folder: Path, acknowledged: frozenset[str]) -> None:
    """Check that a sweep folder has every acknowledged trial, and can be read and resumed."""
    from ovtool import api
    from ovtool.benchmark.fake import FakeRunner
    from ovtool.core.sweep_folder import SweepFolder
    from ovtool.sweep import measurer

    out = folder / "out"
    before = {m.trial.id for m in SweepFolder.create(out).measurements()}
    assert acknowledged <= before, f"lost {len(acknowledged - before)} acknowledged trials"
    if before:
        assert api.choose([out]).winner
    real, measurer.ProcessRunner = measurer.ProcessRunner, lambda **_: FakeRunner(lambda *_: 5.0)
    try:
        settings = {"rounds": 3, "round_s": 0.02, "max_seconds": 0.1, "starts": False}
        spec = api.SweepSpec(batches=[1, 2], hints=["latency", "throughput"], **settings)
        result = api.sweep([inputs_folder / "variant"], out=out, spec=spec)
    finally:
        measurer.ProcessRunner = real
    assert result.reused == len(before)
    after = [m.trial.id for m in SweepFolder(out).measurements()]
    assert sorted(after) == sorted(t.id for t in SweepFolder(out).plan.trials)


def check_output(name: str) -> Callable[[Path, Path, frozenset[str]], None]:
    """Return a check that the output of a command is in its old or its new state."""

    def check(folder: Path, _: Path, __: frozenset[str]) -> None:
        inputs.VERBS[name].check(folder / "out")

    return check


def find_invalid(recorded: Recorded, source: Path, step: int = 1) -> tuple[int, list[str]]:
    """Check every ``step``-th state; return how many, and what is wrong with the bad ones."""
    check = check_sweep if recorded.name == "sweep" else check_output(recorded.name)
    tried, bad = 0, []
    for number, (point, tree, acknowledged) in enumerate(recorded.states()):
        if number % step and point != "end":
            continue
        folder = recorded.folder / f"state-{number}"
        disk.write(tree, folder)
        tried += 1
        try:
            if point == "end":
                assert (folder / "out").exists(), "the command has ended, its output is lost"
            check(folder, source, acknowledged)
        except Exception as error:  # noqa: BLE001 - every error is a finding
            bad.append(f"{point}: {type(error).__name__}: {error}")
        shutil.rmtree(folder)
    return tried, bad


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verbs", nargs="+", help=f"of {', '.join(inputs.VERBS)}")
    parser.add_argument("--step", type=int, default=1, help="every n-th state")
    options = parser.parse_args()
    if reason := available():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as temporary, ForkServer() as server:
        folder = Path(temporary)
        source = inputs.build(folder / "inputs")
        for name in options.verbs:
            recorded = record(server, source, name, folder / name)
            tried, bad = find_invalid(recorded, source, options.step)
            for text, times in Counter(bad).items():
                print(f"BAD {times}x {text}")
            print(f"{name}: {tried} states, {len(bad)} bad", flush=True)


if __name__ == "__main__":
    main()
