"""Running a plan: group by group, each in the journal before the next begins."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.measurement import Measurement
from ovtool.core.sweep_folder import Environment, Plan, SweepFolder
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

MeasureGroup = Callable[[Sequence[Trial]], list[Measurement]]


@dataclass(frozen=True, slots=True)
class Done:
    """What running a plan came to, counted in trials."""

    measured: int
    failed: int
    reused: int
    estimated: int = 0


def run(
    folder: Path,
    plan: Plan,
    environment: Environment,
    measure_group: MeasureGroup,
    *,
    retry_failed: bool = False,
    on_start: Callable[[int], None] = lambda _: None,
    on_finished: Callable[[Measurement], None] = lambda _: None,
) -> Done:
    """Measure what the folder's journal does not have yet.

    A group of trials is measured in turn and written in one piece, so that their rounds stay
    comparable; killed before that, the group is measured again, and nothing twice.

    Args:
        folder: The sweep's folder; made when it is not there.
        plan: What to measure; its finished trials are taken from the journal.
        environment: The machine and software of now.
        measure_group: Measures the trials of one group.
        retry_failed: Whether trials that failed are tried again.
        on_start: Told how many trials were finished already.
        on_finished: Told of each measurement after it is on the disk.

    Raises:
        InputError: The folder holds measurements of another environment or on other samples, is
            in use, or the disk is full.
    """
    with _locked(folder):
        sweep = SweepFolder(folder)
        _same_conditions(sweep, plan, environment)
        sweep.write_plan(plan)
        sweep.write_environment(environment)
        latest = {m.trial.id: m for m in sweep.measurements()}
        finished = {i for i, m in latest.items() if m.status != "failed" or not retry_failed} & {
            t.id for t in plan.trials
        }
        on_start(len(finished))
        came_to: Counter[str] = Counter()
        for group in _groups(plan.trials, finished):
            results = measure_group(group)
            sweep.append(results)
            for result in results:
                came_to[result.status] += 1
                on_finished(result)
        return Done(came_to["ok"], came_to["failed"], len(finished), came_to["estimated"])


def _groups(trials: Sequence[Trial], finished: set[str]) -> Iterator[list[Trial]]:
    for _, group in itertools.groupby(trials, key=lambda t: t.group):
        if left := [t for t in group if t.id not in finished]:
            yield left


def _same_conditions(sweep: SweepFolder, plan: Plan, environment: Environment) -> None:
    """Refuse to add to measurements of another machine, other software or other samples."""
    if not any(True for _ in sweep.measurements()):
        return
    before = sweep.environment
    if before.id != environment.id:
        changed = sorted(
            k
            for k in {*before.facts, *environment.facts}
            if before.facts.get(k) != environment.facts.get(k)
        )
        raise InputError(
            f"{sweep.path} was measured in another environment (changed: {', '.join(changed)})",
            "give another --out; ovtool report takes both folders",
        )
    samples = sweep.plan.evaluated_on
    if samples != plan.evaluated_on:
        raise InputError(
            f"{sweep.path} was measured on {samples or 'random inputs'}, not on"
            f" {plan.evaluated_on or 'random inputs'}",
            "give the same --data, or another --out",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{folder} is in use by another sweep", "wait for it, or give another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()
