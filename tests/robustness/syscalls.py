"""Fail, or kill at, the n-th system call of a kind: ``python -m tests.robustness.syscalls --all``.

The library ``failing_calls.c`` is preloaded into every process of a command: the supervisor, its
child, and workers.  It counts calls on files of the attacked folder, from the start of the command
to its end; the command is a fork that has imported everything.  Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.robustness import attack, inputs
from tests.robustness.attack import Ground, Outcome
from tests.robustness.forkserver import Child, ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "open": ("EMFILE", "EIO"),
    "read": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO",),
    "rename": ("EIO",),
    "unlink": ("EIO",),
    "mkdir": ("ENOSPC",),
    "truncate": ("EIO",),
    "stat": ("EIO",),
    "list": ("EIO",),
    "lock": ("ENOLCK",),
    "link": ("EPERM",),
    "pipe": ("EMFILE",),
    "fork": ("EAGAIN",),
    "map": ("ENOMEM",),
    "seek": ("EIO",),
}
"""Kinds of system calls in the order of the library, and the errors to inject."""
STATE = ("write", "fsync", "rename", "unlink", "mkdir", "truncate", "lock")
"""Kinds that change what is on the disk."""
KILL = "KILL"
PLACES, LENGTH = 1024, 256
"""Calls of a kind whose paths are kept, and the bytes of a path."""
_CHANGING = re.compile(r"[0-9a-f]{8,}|\d+")


class _Plan(ctypes.Structure):
    """Shared with the library, which has the same layout."""

    _fields_ = (
        *(
            (name, ctypes.c_int)
            for name in ("active", "server", "kind", "place", "error", "struck")
        ),
        ("calls", ctypes.c_int * 32),
        ("folder", ctypes.c_char * 4096),
        ("paths", ctypes.c_char * LENGTH * PLACES * len(KINDS)),
    )


def available() -> str:
    """Return why system calls cannot be failed; empty if they can."""
    if sys.platform != "linux":
        return "Linux only"
    return "" if shutil.which("cc") else "cc is not installed"


class CallInjector:
    """Runs commands that are preloaded with the library.

    Args:
        folder: Of the attacks.
        fake: Whether sweeps measure with the fake runner instead of worker processes.
    """

    def __init__(self, folder: Path, *, fake: bool = True) -> None:
        library, plan = folder / "failing_calls.so", folder / "plan"
        source = Path(__file__).with_name("failing_calls.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        plan.write_bytes(bytes(ctypes.sizeof(_Plan)))
        with plan.open("r+b") as stream:
            self.plan = _Plan.from_buffer(mmap.mmap(stream.fileno(), 0))
        preload = {"LD_PRELOAD": str(library), "FAILING_CALLS": str(plan)}
        self.server = ForkServer(fake=fake, environment=os.environ | preload)
        self.plan.server = self.server.pid
        self.plan.folder = str(folder).encode()
        self.ground = Ground(folder, self.server, supervised=True)

    def attack(self, name: str, kind: str, error: str, place: int) -> Outcome:
        """Run a command whose call number ``place`` of a kind fails; or kills, for ``KILL``."""
        plan = self.plan
        plan.kind, plan.place, plan.struck = list(KINDS).index(kind), place, 0
        plan.error = 0 if error == KILL else getattr(errno, error)
        ctypes.memset(plan.calls, 0, ctypes.sizeof(plan.calls))
        ctypes.memset(plan.paths, 0, ctypes.sizeof(plan.paths))

        def strike(child: Child) -> bool:
            plan.active = 1
            child.kill(signal.SIGCONT)
            child.wait(attack.DEADLINE_S)
            plan.active = 0
            return bool(plan.struck)

        expected = attack.EXPECTED | ({-signal.SIGKILL} if error == KILL else set())
        return self.ground.attack(name, f"{kind} {place} {error}", strike, expected=expected)

    def count(self, name: str) -> dict[str, int]:
        """Return how many system calls of each kind a command makes."""
        outcome = self.attack(name, "open", "EIO", -1)
        assert outcome.status == 0, outcome
        return dict(zip(KINDS, self.plan.calls, strict=False))

    def ends(self, kind: str) -> list[int]:
        """Return the first and last call of a kind on each file, of the command before.

        Files whose names differ in numbers count as one; so do calls without a path.
        """
        index = list(KINDS).index(kind)
        files: dict[str, list[int]] = {}
        for place in range(1, min(self.plan.calls[index], PLACES) + 1):
            path = self.plan.paths[index][place - 1].value.decode(errors="replace")
            files.setdefault(_CHANGING.sub("#", path), []).append(place)
        return sorted({place for places in files.values() for place in (places[0], places[-1])})


@contextlib.contextmanager
def injector(folder: Path, *, fake: bool = True) -> Iterator[CallInjector]:
    """Yield a :class:`CallInjector`, and end its server."""
    made = CallInjector(folder, fake=fake)
    with made.server:
        yield made


def stepped(
    injected: CallInjector, names: list[str], kinds: list[str], step: int, *, kill: bool = False
) -> Iterator[Outcome]:
    """Yield the outcomes of every ``step``-th system call of each command and kind.

    With step 0: of the first and last call on each file.
    """
    for name in names:
        totals = injected.count(name)
        places = {
            kind: range(1, totals[kind] + 1, step) if step else injected.ends(kind)
            for kind in kinds
        }
        print(f"{name}: {totals}, of which {sum(map(len, places.values()))} fail", flush=True)
        for kind in kinds:
            for error in (KILL,) if kill else KINDS[kind]:
                yield from map(partial(injected.attack, name, kind, error), places[kind])


def main() -> None:
    """Run attacks by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every verb, every kind, every call")
    parser.add_argument("--verb", default="choose", help=f"of {', '.join(inputs.VERBS)}")
    parser.add_argument("--kind", default=",".join(STATE), help=f"of {', '.join(KINDS)}")
    parser.add_argument(
        "--step",
        type=int,
        default=1,
        help="every n-th call; 0: the first and last one of each kind on each file",
    )
    parser.add_argument("--kill", action="store_true", help="SIGKILL at the call instead")
    parser.add_argument("--real", action="store_true", help="measure in worker processes")
    parser.add_argument("--log", default="syscalls.jsonl", help="file of outcomes")
    options = parser.parse_args()
    if reason := available():
        raise SystemExit(reason)
    names = list(inputs.VERBS) if options.all else options.verb.split(",")
    kinds = list(KINDS) if options.all else options.kind.split(",")
    with (
        tempfile.TemporaryDirectory() as folder,
        injector(Path(folder), fake=not options.real) as injected,
    ):
        outcomes = stepped(injected, names, kinds, options.step, kill=options.kill)
        print(attack.summary(attack.record(outcomes, Path(options.log))))


if __name__ == "__main__":
    main()
