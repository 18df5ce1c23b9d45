"""Take away the output at stepped moments: ``python -m tests.robustness.removal --count 10``.

Somebody cleans up while a command runs.  The command ends with one error and creates nothing in the
place of what was taken; what was renamed stays as it was.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.robustness import attack, inputs
from tests.robustness.attack import Ground, Outcome
from tests.robustness.forkserver import Child, ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("remove", "rename", "replace")
_SECONDS = 60.0


@dataclass
class Remover:
    """Takes the output of commands away.

    Args:
        whole: Whether the folder that holds the output is taken, and not the output alone.
    """

    folder: Path
    server: ForkServer
    whole: bool = False

    def __post_init__(self) -> None:
        self.ground = Ground(self.folder, self.server, supervised=True)

    def duration_s(self, name: str) -> float:
        """Return the time of a command that nothing disturbs, the second time."""
        for _ in range(2):
            started = time.monotonic()
            outcome = self.ground.attack(name, "none", lambda child: child.resume())
            assert outcome.status == 0, outcome
        return time.monotonic() - started

    def take_away(self, name: str, kind: str, after_s: float) -> Outcome:
        """Take the output of a command away after a time, and check what it leaves."""
        problems: list[str] = []

        def strike(child: Child) -> bool:
            work = child.folder / "work"
            out = work if self.whole else work / "out"
            child.resume()
            time.sleep(after_s)
            moved = child.folder / "moved"
            try:
                out.rename(moved)
                if kind == "remove":
                    shutil.rmtree(moved)
                elif kind == "replace":
                    out.mkdir()
            except OSError:
                return False
            running = child.wait(0) is None
            before = _names(moved)
            status = child.wait(_SECONDS)
            left = _names(out)
            if running and status == 0 and not self._at_the_end(child, name):
                problems.append("exit 0")
            if left and not (status == 0 and not running):
                problems.append(f"creates {', '.join(sorted(left)[:3])}")
            if gone := before - _names(moved) - {n for n in before if "/." in f"/{n}"}:
                problems.append(f"removes {', '.join(sorted(gone)[:3])} of the renamed folder")
            work.mkdir(exist_ok=True)
            return running

        outcome = self.ground.attack(name, f"{kind} after {after_s:.2f} s", strike)
        kept = [p for p in outcome.problems if not p.startswith("exit 0 without")]
        return replace(outcome, problems=(*kept, *problems))

    @staticmethod
    def _at_the_end(child: Child, name: str) -> bool:
        """Whether the command had written everything, and was about to end."""
        return bool(child.out) or name in {"replace"}


def _names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def stepped(remover: Remover, names: list[str], count: int) -> Iterator[Outcome]:
    """Yield the outcomes of ``count`` moments of each kind for each command."""
    for name in names:
        duration = remover.duration_s(name)
        print(f"{name}: {duration:.2f} s", flush=True)
        for kind in KINDS:
            for index in range(count):
                yield remover.take_away(name, kind, duration * (index + 0.5) / count)


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10, help="moments for each command and kind")
    parser.add_argument("--verb", default="sweep,run,compress,report", help=", ".join(inputs.VERBS))
    parser.add_argument("--whole", action="store_true", help="take the folder that holds it")
    parser.add_argument("--log", default="removal.jsonl", help="file of outcomes")
    options = parser.parse_args()
    names = list(inputs.VERBS) if options.verb == "all" else options.verb.split(",")
    with tempfile.TemporaryDirectory() as folder, ForkServer() as server:
        remover = Remover(Path(folder), server, options.whole)
        outcomes = stepped(remover, names, options.count)
        print(attack.summary(attack.record(outcomes, Path(options.log))))


if __name__ == "__main__":
    main()
