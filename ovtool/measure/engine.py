"""Measuring the trials that will be compared: short rounds in random order, until sure enough.

Every trial of a group is compiled in its own process and stays ready; then each is measured for a
short round in a new random order, again and again.  What drifts slowly (clock, heat, neighbours)
falls on all of them alike, so ratios taken round by round keep little of it.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psutil

from ovtool.measure import figures
from ovtool.measure.session import Job, RawRound, Runner, Session, TrialFailedError
from ovtool.results import Measurement, Note, Round
from ovtool.trial import Trial
from ovtool.units import MIB

Evaluate = Callable[[Trial, Session], tuple[dict[str, float], list[Note]]]
"""Quality figures of a trial by its own compiled model; empty where it is not asked for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often.

    Args:
        target_pct: Half width of the throughput's 95 % interval at which measuring stops.
        round_s: Length of a round.
        min_rounds: Rounds that every trial gets; ratios by round need them.
        max_s: Longest time that one trial is measured, all rounds together.
        timeout_s: Longest time that compiling, or one round, may take.
        seed: Of the order of the rounds and the random inputs.
    """

    target_pct: float = 2.0
    round_s: float = 0.4
    min_rounds: int = 8
    max_s: float = 10.0
    timeout_s: float = 300.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progressed:
    """Where a group stands after a step: shown while it runs."""

    trial: Trial
    stage: str
    throughput_fps: float | None = None
    half_width_pct: float | None = None


@dataclass(slots=True)
class _Run:
    """A trial while it is measured."""

    job: Job
    session: Session
    rounds: list[tuple[int, RawRound]] = field(default_factory=list)
    spent_s: float = 0.0
    failure: str = ""

    @property
    def raw(self) -> list[RawRound]:
        return [r for _, r in self.rounds]


def measure_group(
    jobs: Sequence[Job],
    runner: Runner,
    settings: Settings,
    environment: str,
    *,
    evaluate: Evaluate | None = None,
    on_progress: Callable[[Progressed], None] = lambda _: None,
) -> list[Measurement]:
    """Measure trials in turn, and return a measurement or a failure for each, in their order.

    Args:
        jobs: The trials, of one group (see :attr:`ovtool.trial.Trial.group`).
        runner: What opens the sessions.
        settings: How long and how often.
        environment: Id of the environment, for the measurements.
        evaluate: Takes the quality of a trial by its compiled model, after the rounds.
        on_progress: Told of each step between the rounds, never during one.
    """
    outcomes: dict[str, Measurement] = {}
    waiting = list(jobs)
    while waiting:
        runs: list[_Run] = []
        try:
            while waiting and (not runs or _memory_for_another(runs)):
                job = waiting.pop(0)
                on_progress(Progressed(job.trial, "compiling"))
                try:
                    runs.append(_Run(job, runner.open(job)))
                except TrialFailedError as error:
                    outcomes[job.trial.id] = failed(job.trial, environment, str(error))
            _rounds(runs, settings, on_progress)
            together = uuid.uuid4().hex[:12]
            for run in runs:
                outcome = _outcome(run, settings, environment, evaluate, together)
                outcomes[run.job.trial.id] = outcome
        finally:
            for run in runs:
                run.session.close()
    return [outcomes[job.trial.id] for job in jobs]


def _memory_for_another(runs: Sequence[_Run]) -> bool:
    """Whether a further process, twice as large as the models so far, would leave memory free."""
    largest = max(run.job.xml.with_suffix(".bin").stat().st_size for run in runs)
    return psutil.virtual_memory().available > 6 * largest + 512 * MIB


def _rounds(
    runs: Sequence[_Run], settings: Settings, on_progress: Callable[[Progressed], None]
) -> None:
    shuffled = random.Random(settings.seed)  # noqa: S311 - an order, not a secret
    active, index = list(runs), 0
    while active:
        shuffled.shuffle(active)
        for run in active:
            started = time.monotonic()
            try:
                run.rounds.append((index, run.session.measure(settings.round_s)))
            except TrialFailedError as error:
                run.failure = str(error)
            run.spent_s += time.monotonic() - started
        index += 1
        active = [run for run in active if _go_on(run, settings, on_progress)]


def _go_on(run: _Run, settings: Settings, on_progress: Callable[[Progressed], None]) -> bool:
    if run.failure:
        return False
    so_far = figures.throughput(run.raw, run.job.trial.batch)
    done = len(run.rounds)
    on_progress(Progressed(run.job.trial, f"round {done}", so_far.value, so_far.half_width_pct))
    if run.spent_s >= settings.max_s and done >= min(3, settings.min_rounds):
        return False
    return done < settings.min_rounds or not so_far.half_width_pct <= settings.target_pct


def _outcome(
    run: _Run, settings: Settings, environment: str, evaluate: Evaluate | None, taken_with: str
) -> Measurement:
    trial, opened = run.job.trial, run.session.opened
    quality: tuple[dict[str, float], list[Note]] = ({}, [])
    if evaluate and not run.failure:
        try:
            quality = evaluate(trial, run.session)
        except TrialFailedError as error:
            run.failure = f"while its quality was evaluated: {error}"
    if run.failure:
        row = failed(trial, environment, run.failure)
        return replace(row, properties=dict(opened.properties), notes=opened.notes)
    found, notes = figures.figures(trial, opened, run.raw, psutil.cpu_count() or 1)
    return Measurement(
        trial=trial,
        environment=environment,
        status="ok",
        verdict=figures.verdict(found, settings.target_pct),
        executed_precision=opened.executed_precision,
        figures=found | quality[0],
        properties=dict(opened.properties),
        notes=(*opened.notes, *notes, *quality[1]),
        taken_with=taken_with,
        rounds=tuple(Round(index, raw.windows) for index, raw in run.rounds),
        finished=_now(),
    )


def failed(trial: Trial, environment: str, reason: str) -> Measurement:
    """Return the row of a trial that could not be measured."""
    return Measurement(trial, environment, "failed", reason=reason, finished=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
