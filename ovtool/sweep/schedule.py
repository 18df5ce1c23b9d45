"""Run a plan group by group; the journal has each group before the next begins."""

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
from ovtool.core.sweep_folder import Environment, SweepFolder, SweepPlan
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

MeasureGroup = Callable[[Sequence[Trial]], list[Measurement]]


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Numbers of trials by outcome; ``reused`` trials were in the journal before."""

    measured: int
    failed: int
    reused: int
    estimated: int = 0


def run_plan(
    folder: Path,
    plan: SweepPlan,
    environment: Environment,
    measure_group: MeasureGroup,
    *,
    retry_failed: bool = False,
    on_start: Callable[[int], None] = lambda _: None,
    on_finished: Callable[[Measurement], None] = lambda _: None,
) -> TrialCounts:
    """Measure the trials that the journal of the folder does not have.

    The journal gets the measurements of a group in one write, so that their rounds stay comparable.
    After a kill, the unfinished group is measured again; no finished trial repeats.

    Args:
        folder: Sweep folder; created if it does not exist.
        plan: Trials to measure; finished trials come from the journal.
        environment: The current machine and software.
        measure_group: Measures the trials of one group.
        retry_failed: Whether to repeat failed trials.
        on_start: Receives the number of trials that are already finished.
        on_finished: Receives each measurement after it is on the disk.

    Raises:
        InputError: The folder has measurements of another environment or of other samples, is in
            use, or the disk is full.
    """
    with _locked(folder):
        sweep = SweepFolder(folder)
        _require_same_conditions(sweep, plan, environment)
        sweep.write_plan(plan)
        sweep.write_environment(environment)
        latest = {m.trial.id: m for m in sweep.measurements()}
        finished = {i for i, m in latest.items() if m.status != "failed" or not retry_failed} & {
            t.id for t in plan.trials
        }
        on_start(len(finished))
        counts: Counter[str] = Counter()
        for group in _groups(plan.trials, finished):
            results = measure_group(group)
            sweep.append(results)
            for result in results:
                counts[result.status] += 1
                on_finished(result)
        return TrialCounts(counts["ok"], counts["failed"], len(finished), counts["estimated"])


def _groups(trials: Sequence[Trial], finished: set[str]) -> Iterator[list[Trial]]:
    for _, group in itertools.groupby(trials, key=lambda t: t.group):
        if left := [t for t in group if t.id not in finished]:
            yield left


def _require_same_conditions(sweep: SweepFolder, plan: SweepPlan, environment: Environment) -> None:
    """Refuse to add to measurements of another machine, software or data set."""
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
            f"{sweep.path} has measurements of another environment: changed {', '.join(changed)}",
            "use another --out; ovtool report accepts both folders",
        )
    samples = sweep.plan.evaluated_on
    if samples != plan.evaluated_on:
        raise InputError(
            f"{sweep.path} has measurements with {samples or 'random inputs'}, not with"
            f" {plan.evaluated_on or 'random inputs'}",
            "use the same --data, or another --out",
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
                f"{folder} is in use by another sweep", "wait until it ends, or use another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()
