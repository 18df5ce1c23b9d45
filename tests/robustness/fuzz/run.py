"""Runs targets in forks: a crash, a hang or an explosion of memory is a failure of one case."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import OvtoolError
from tests.robustness.fuzz.mutate import mutate
from tests.robustness.fuzz.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HANG_S = 20
MEMORY_BYTES = 1 << 30
"""Growth of the resident memory that is a failure."""
_ADDRESSES_BYTES = 16 << 30
"""Limit of the address space, which keeps the machine alive."""


@dataclass(frozen=True)
class Failure:
    """A file that a reader did not stand up to."""

    target: str
    case: int
    what: str
    data: bytes

    @property
    def key(self) -> str:
        """Equal for failures of the same kind."""
        return f"{self.target}: {self.what}"


def make_case(name: str, valid: bytes, seed: int, case: int) -> bytes:
    """Return the file of a case, which depends on nothing else."""
    return mutate(valid, random.Random(f"{name} {seed} {case}"))


def check(target: Target, folder: Path, data: bytes) -> str:
    """Read a file; return what is wrong, or an empty text."""
    (folder / target.victim).write_bytes(data)
    target.repair(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        target.read(folder)
    except OvtoolError:
        pass
    except AssertionError as error:
        return f"wrong result {str(error)[:80]}"
    except Exception as error:  # noqa: BLE001 - every error is a finding
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/ovtool/" in f.filename] or frames
        return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    exploded = grown << 10 > MEMORY_BYTES
    return f"memory grew by more than {MEMORY_BYTES >> 20} MiB" if exploded else ""


def fuzz(
    name: str, seed: int, cases: Iterable[int], seconds: float = 1e9
) -> Iterator[Failure | int]:
    """Yield the failures of a target, and at last how many cases were tried."""
    target, deadline = TARGETS[name], time.monotonic() + seconds
    waiting, tried = list(cases), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        origin = Path(temporary) / "valid"
        origin.mkdir()
        target.files(origin)
        valid = (origin / target.victim).read_bytes()
        target.read(origin)
        while waiting and time.monotonic() < deadline:
            folder = Path(temporary) / "case"
            shutil.copytree(origin, folder)
            done, ended = _run(target, folder, name, valid, seed, waiting, deadline)
            shutil.rmtree(folder)
            for case, what in done:
                if what:
                    yield Failure(name, case, what, make_case(name, valid, seed, case))
            tried += len(done)
            waiting = waiting[len(done) :]
            if ended and waiting:  # the next case ended the process
                case, tried = waiting.pop(0), tried + 1
                yield Failure(name, case, ended, make_case(name, valid, seed, case))
    yield tried


def _run(
    target: Target,
    folder: Path,
    name: str,
    valid: bytes,
    seed: int,
    cases: list[int],
    deadline: float,
) -> tuple[list[tuple[int, str]], str]:
    """Run cases in a fork; return those that ended, and how the fork died (or empty)."""
    log = folder.with_name("log")
    log.write_text("")
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_BYTES, _ADDRESSES_BYTES))
            with log.open("a") as stream:
                for case in cases:
                    signal.alarm(HANG_S)
                    what = check(target, folder, make_case(name, valid, seed, case))
                    stream.write(json.dumps([case, what]) + "\n")
                    stream.flush()
                    if time.monotonic() > deadline:
                        break
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    done = [tuple(json.loads(line)) for line in log.read_text().splitlines()]
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGALRM:
        return done, f"hang of more than {HANG_S} s"
    return done, f"crash {signal.Signals(number).name}" if number else ""


def save(failure: Failure, folder: Path) -> Path:
    """Write the file of a failure."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(failure.data).hexdigest()[:8]
    path = folder / f"{failure.target}-{digest}{Path(TARGETS[failure.target].victim).suffix}"
    path.write_bytes(failure.data)
    return path
