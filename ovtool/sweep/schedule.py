"""Run a plan group by group; the journal has each group before the next begins."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.holding import holding
from ovtool.core.measurement import Measurement
from ovtool.core.statistics import Interval
from ovtool.core.sweep_folder import JOURNAL, Environment, SweepFolder, SweepPlan
from ovtool.core.system_errors import writing
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

MeasureGroup = Callable[[Sequence[Trial]], list[Measurement]]


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Numbers of trials by outcome.

    ``reused`` trials were in the journal before.  ``repeated`` trials were in the journal too, but
    fell short of the settings; they count under their new outcome as well.
    """

    measured: int
    failed: int
    reused: int
    estimated: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Resumption:
    """The measurements of the journal that a plan reuses, and the number that it repeats."""

    reused: Sequence[Measurement] = ()
    repeated: int = 0


def run_plan(
    folder: Path,
    plan: SweepPlan,
    environment: Environment,
    measure_group: MeasureGroup,
    *,
    retry_failed: bool = False,
    on_start: Callable[[Resumption], None] = lambda _: None,
    on_finished: Callable[[Measurement], None] = lambda _: None,
) -> TrialCounts:
    """Measure the trials that the journal of the folder does not have, group by group.

    ``measure_group`` measures the trials of one group; otherwise see :func:`plan_groups`.
    """
    groups = plan_groups(
        folder,
        plan,
        environment,
        retry_failed=retry_failed,
        on_start=on_start,
        on_finished=on_finished,
    )
    with closing(groups):
        try:
            group = next(groups)
            while True:
                group = groups.send(_measure_or_throw(groups, group, measure_group))
        except StopIteration as end:
            counts: TrialCounts = end.value
            return counts


def _measure_or_throw(
    groups: Generator[list[Trial], list[Measurement], TrialCounts],
    group: list[Trial],
    measure_group: MeasureGroup,
) -> list[Measurement]:
    """Measure a group; an error is raised in the generator, which may know its cause."""
    try:
        return measure_group(group)
    except BaseException as error:
        groups.throw(error)
        raise


def plan_groups(
    folder: Path,
    plan: SweepPlan,
    environment: Environment,
    *,
    retry_failed: bool = False,
    on_start: Callable[[Resumption], None] = lambda _: None,
    on_finished: Callable[[Measurement], None] = lambda _: None,
) -> Generator[list[Trial], list[Measurement], TrialCounts]:
    """Yield the groups of trials that the journal of the folder does not have.

    Receives the measurements of each group, which are on the disk before the next group; returns
    the numbers of trials.  The folder is locked until the generator ends or is closed.

    The journal gets the measurements of a group in one write, so that their rounds stay comparable.
    After a kill, the unfinished group is measured again; no finished trial repeats, unless it falls
    short of the plan's settings (:func:`falls_short`), or its quality has another baseline.  Then
    its whole group is measured again, because its trials are compared round by round.

    Args:
        folder: Sweep folder; created if it does not exist.
        plan: Trials to measure; finished trials come from the journal.
        environment: The machine and software that measure.
        retry_failed: Whether to repeat failed trials.
        on_start: Receives the measurements that are reused.
        on_finished: Receives each measurement after it is on the disk.

    Raises:
        InputError: The folder has measurements of another environment or of other samples, is in
            use, or the disk is full.
    """
    with _locked(folder), holding(folder / JOURNAL):
        sweep = SweepFolder(folder)
        _require_same_conditions(sweep, plan, environment)
        sweep.write_plan(plan)
        sweep.write_environment(environment)
        resumption = _resume(sweep, plan, retry_failed=retry_failed)
        on_start(resumption)
        counts: Counter[str] = Counter()
        finished = len(resumption.reused)
        _mark_kept(folder, finished, plan)
        for group in _groups(plan.trials, {m.trial.id for m in resumption.reused}):
            results = yield group
            sweep.append(results)
            finished += len(results)
            _mark_kept(folder, finished, plan)
            for result in results:
                counts[result.status] += 1
                on_finished(result)
        return TrialCounts(
            counts["ok"],
            counts["failed"],
            len(resumption.reused),
            counts["estimated"],
            resumption.repeated,
        )


def _mark_kept(folder: Path, finished: int, plan: SweepPlan) -> None:
    if finished:
        files.mark_kept(folder, f"{finished} of {len(plan.trials)} trials")


def _resume(sweep: SweepFolder, plan: SweepPlan, *, retry_failed: bool) -> Resumption:
    latest = {m.trial.id: m for m in sweep.measurements()}
    finished = [latest[t.id] for t in plan.trials if t.id in latest]
    finished = [m for m in finished if m.status != "failed" or not retry_failed]
    short = {
        m.trial.group
        for m in finished
        if falls_short(m, plan.settings) or _has_other_baseline(m, plan)
    }
    # Failures and estimates do not depend on the settings of measuring.
    repeated = [m for m in finished if m.status == "ok" and m.trial.group in short]
    reused = [m for m in finished if m.status != "ok" or m.trial.group not in short]
    return Resumption(reused, len(repeated))


def _has_other_baseline(measurement: Measurement, plan: SweepPlan) -> bool:
    """Whether the quality of a measurement is relative to another variant than in the plan."""
    if measurement.status != "ok" or plan.evaluated_on is None:
        return False
    return plan.variants[measurement.trial.variant].baseline != measurement.evaluated_against


def falls_short(measurement: Measurement, settings: Mapping[str, Any]) -> bool:
    """Whether a measurement has less than its trial would get with other measurement settings.

    A measurement with settings that are at least as demanding never falls short.  Otherwise it
    needs as many rounds of the same length, and an interval within the target.
    """
    if measurement.status != "ok" or not settings:
        return False
    before = measurement.settings
    if before:
        if any(before[name] < settings[name] for name in ("starts", "round_s")):
            return True
        as_long = all(before[name] >= settings[name] for name in ("rounds", "max_seconds"))
        if as_long and before["target_pct"] <= settings["target_pct"]:
            return False
    if len(measurement.rounds) < settings["rounds"]:
        return True
    figures = measurement.figures
    name = "latency_p50_ms" if measurement.trial.open_loop else "throughput_fps"
    low, high = figures.get(f"{name}_ci_low"), figures.get(f"{name}_ci_high")
    if low is None or high is None:
        return True
    return bool(Interval(figures[name], low, high).half_width_pct > settings["target_pct"])


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
    with writing(folder):
        files.make_folder(folder)
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
