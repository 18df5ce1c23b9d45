"""An attacked command and its outcome: what every attack requires of every command."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ovtool.core.errors import CRASH, EXIT_CODES
from tests.robustness import inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.robustness.forkserver import Child, ForkServer

EXPECTED = frozenset(EXIT_CODES) - {CRASH}
"""Exit codes of a command that fails as it should."""
TRACES = ("Traceback", "Exception ignored", "internal error", "terminate called")
"""Words on stderr that only a bug prints."""
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What an attack did; without ``problems`` the command stood up to it."""

    verb: str
    attack: str
    status: int | None
    problems: tuple[str, ...]
    error: str = ""
    reached: bool = True
    """Whether the command lived long enough to be attacked."""


@dataclass
class Ground:
    """Inputs, a server of commands, and a new folder for each attack."""

    folder: Path
    server: ForkServer
    supervised: bool = False
    """Whether commands run in a child of a supervisor, as they do for users."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _complete: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = inputs.build(self.folder / "inputs")

    def attack(
        self,
        name: str,
        attack: str,
        strike: Callable[[Child], bool],
        *,
        expected: frozenset[int] = EXPECTED,
        deadline_s: float = DEADLINE_S,
    ) -> Outcome:
        """Run a command under an attack, and check what it leaves.

        Args:
            name: Of :data:`tests.robustness.inputs.VERBS`.
            attack: Description.
            strike: Attacks a command that waits for SIGCONT, and continues it; returns whether
                the command was reached.
            expected: Exit codes that are no problem.
            deadline_s: Time after which the command counts as hung.
        """
        verb, folder = inputs.VERBS[name], self.folder / f"{next(self._numbers)}-{name}"
        out = folder / "work" / "out"
        out.parent.mkdir(parents=True)
        verb.before(self.inputs, out)
        child = self.server.start(
            verb.arguments(self.inputs, out), folder, stopped=True, supervised=self.supervised
        )
        reached = strike(child)
        status = child.wait(deadline_s)
        child.kill_all()
        if status is None:
            child.wait(10)
        problems = list(self._problems(name, child, status, out, expected))
        outcome = Outcome(name, attack, status, tuple(problems), child.err.strip()[-300:], reached)
        shutil.rmtree(folder)
        return outcome

    def _problems(
        self, name: str, child: Child, status: int | None, out: Path, expected: frozenset[int]
    ) -> Iterable[str]:
        if status is None:
            yield "hang"
        elif status not in expected:
            yield f"exit {status}"
        yield from (f"prints {word!r}" for word in TRACES if word in child.err)
        try:
            inputs.VERBS[name].check(out)
        except Exception as error:  # noqa: BLE001 - every error is a finding
            yield f"half state: {type(error).__name__}: {error}"
        if status == 0 and (missing := self._names(name) - _names_below(out)):
            yield f"exit 0 without {', '.join(sorted(missing)[:3])}"
        inputs.clean_as_next_command(child.folder / "tmp", out.parent)
        left = inputs.leftovers(child.folder / "tmp", out.parent)
        if left:
            yield f"leaves {', '.join(path.name for path in left[:3])}"

    def _names(self, name: str) -> set[str]:
        """Return the files of a command that is not attacked."""
        if name not in self._complete:
            folder = self.folder / f"complete-{name}"
            out = folder / "work" / "out"
            out.parent.mkdir(parents=True)
            inputs.VERBS[name].before(self.inputs, out)
            arguments = inputs.VERBS[name].arguments(self.inputs, out)
            child = self.server.start(arguments, folder, supervised=self.supervised)
            assert child.wait(DEADLINE_S) == 0, child.err
            self._complete[name] = _names_below(out)
            shutil.rmtree(folder)
        return self._complete[name]


def _names_below(out: Path) -> set[str]:
    return {p.relative_to(out).as_posix() for p in out.rglob("*")} | ({"."} & {"." * out.exists()})


def record(outcomes: Iterable[Outcome], log: Path) -> list[Outcome]:
    """Append outcomes to a file of JSON lines as they come, print the bad ones; return all."""
    every = []
    with log.open("a") as stream:
        for outcome in outcomes:
            every.append(outcome)
            stream.write(json.dumps(asdict(outcome)) + "\n")
            stream.flush()
            if outcome.problems:
                print(f"BAD {outcome.verb} {outcome.attack}: {'; '.join(outcome.problems)}")
                print(f"    status {outcome.status}: {outcome.error[-200:]!r}", flush=True)
    return every


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return a table of attacks tried and bad, by verb."""
    reached, bad = Counter[str](), Counter[str]()
    for outcome in outcomes:
        reached[outcome.verb] += outcome.reached
        bad[outcome.verb] += bool(outcome.problems)
    rows = [f"{verb:10} {reached[verb]:6} {bad[verb]:5}" for verb in reached]
    total = f"{'total':10} {reached.total():6} {bad.total():5}"
    return "\n".join([f"{'verb':10} {'tried':>6} {'bad':>5}", *rows, total])
