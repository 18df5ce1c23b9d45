"""Fail, or kill at, the n-th system call of a kind: ``python -m tests.robustness.syscalls --all``.

The command is a fork that has imported everything, so a call belongs to the command and not to
Python's imports.  Calls are counted in the main thread, from the reading of the arguments to the
exit.  Needs strace.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.robustness import attack, inputs
from tests.robustness.attack import Ground, Outcome
from tests.robustness.forkserver import Child, ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "open": ("openat", ("EMFILE", "EIO")),
    "read": ("read,pread64", ("EIO",)),
    "write": ("write,pwrite64,writev", ("ENOSPC", "EIO")),
    "fsync": ("fsync,fdatasync", ("EIO",)),
    "rename": ("rename,renameat,renameat2", ("EIO",)),
    "unlink": ("unlink,unlinkat,rmdir", ("EIO",)),
    "mkdir": ("mkdir,mkdirat", ("ENOSPC",)),
    "truncate": ("ftruncate,truncate", ("EIO",)),
    "stat": ("stat,lstat,fstat,newfstatat,statx,access,faccessat,faccessat2", ("EIO",)),
    "list": ("getdents64", ("EIO",)),
    "lock": ("flock", ("ENOLCK",)),
    "seek": ("lseek", ("EIO",)),
    "close": ("close", ("EIO",)),
    "link": ("readlink,readlinkat,symlink,link,chmod,fchmod,fchmodat", ("EPERM",)),
    "pipe": ("pipe2,socketpair,dup,dup2,dup3", ("EMFILE",)),
    "fork": ("clone,clone3,fork,vfork", ("EAGAIN",)),
}
"""System calls by kind, and the errors to inject."""
STATE = ("write", "fsync", "rename", "unlink", "mkdir", "truncate", "lock")
"""Kinds that change what is on the disk."""
KILL = "KILL"


def available() -> str:
    """Return why system calls cannot be injected; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]
    ran = subprocess.run(probe, capture_output=True, check=False, timeout=30)
    return "strace may not trace here" if ran.returncode else ""


def traced(child: Child, *options: str) -> None:
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


def count(ground: Ground, name: str, kind: str) -> int:
    """Return how many system calls of a kind a command makes."""
    calls = 0

    def strike(child: Child) -> bool:
        nonlocal calls
        traced(child, "-e", f"trace={KINDS[kind][0]}", "-e", "signal=none")
        calls = sum("(" in line for line in (child.folder / "strace").open())
        return True

    ground.attack(name, "count", strike)
    return calls


def fail(ground: Ground, name: str, kind: str, error: str, place: int) -> Outcome:
    """Run a command whose system call number ``place`` of a kind fails; or kills, for ``KILL``."""
    what = f"signal={error}" if error == KILL else f"error={error}"
    calls = KINDS[kind][0]

    def strike(child: Child) -> bool:
        rule = f"inject={calls}:{what}:when={place}"
        traced(child, "-e", f"trace={calls}", "-e", rule, "-e", "signal=none")
        return error == KILL or "(INJECTED)" in (child.folder / "strace").read_text()

    expected = attack.EXPECTED | ({-signal.SIGKILL} if error == KILL else set())
    return ground.attack(name, f"{kind} {place} {error}", strike, expected=expected)


def stepped(
    ground: Ground, names: list[str], kinds: list[str], step: int, *, kill: bool = False
) -> Iterator[Outcome]:
    """Yield the outcomes of every ``step``-th system call of each command and kind."""
    for name in names:
        for kind in kinds:
            total = count(ground, name, kind)
            errors = (KILL,) if kill else KINDS[kind][1]
            print(f"{name} {kind}: {total} calls", flush=True)
            for error in errors:
                run = partial(fail, ground, name, kind, error)
                yield from map(run, range(1, total + 1, step))


def main() -> None:
    """Run attacks by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every verb, every kind, every call")
    parser.add_argument("--verb", default="choose", help=f"of {', '.join(inputs.VERBS)}")
    parser.add_argument("--kind", default=",".join(STATE), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--step", type=int, default=1, help="every n-th call")
    parser.add_argument("--kill", action="store_true", help="SIGKILL at the call instead")
    parser.add_argument("--log", default="syscalls.jsonl", help="file of outcomes")
    options = parser.parse_args()
    if reason := available():
        raise SystemExit(reason)
    names = list(inputs.VERBS) if options.all else options.verb.split(",")
    kinds = list(KINDS) if options.all else options.kind.split(",")
    with tempfile.TemporaryDirectory() as folder, ForkServer() as server:
        ground = Ground(Path(folder), server)
        outcomes = stepped(ground, names, kinds, options.step, kill=options.kill)
        print(attack.summary(attack.record(outcomes, Path(options.log))))


if __name__ == "__main__":
    main()
