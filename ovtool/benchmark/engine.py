"""Measuring the trials that will be compared: short rounds in random order, until sure enough.

Every trial of a group is compiled in its own process and stays ready; then each is measured for a
short round in a new random order, again and again.  What drifts slowly (clock, heat, neighbours)
falls on all of them alike, so ratios taken round by round keep little of it.
"""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ovtool.benchmark import figures, load, windows
from ovtool.benchmark.pool import Pool, Seat
from ovtool.benchmark.session import Job, RawRound, Runner, Session, TrialFailedError
from ovtool.benchmark.windows import HostLoad
from ovtool.core import units
from ovtool.core.measurement import Measurement
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval
from ovtool.core.trial import Trial

Evaluate = Callable[[Trial, Session], tuple[dict[str, float], list[Note]]]
"""Quality figures of a trial by its own compiled model; empty where it is not asked for."""

SURE_TIMES = 2
"""Rounds in a row after which the interval must be narrow enough: once may be luck."""
OPEN_LOOP_ROUND_S = 1.5
"""Least length of a round in which requests arrive on their own: queues need time to build up."""
PARKED_FACTOR = 3
"""How much longer, and fewer, rounds are where sessions are opened again for each."""


@dataclass(frozen=True, slots=True)
class MeasurementSettings:
    """How long and how often.

    Args:
        target_pct: Half width of the throughput's 95 % interval at which measuring stops.
        round_s: Length of a round.
        min_rounds: Rounds that every trial gets; ratios by round need them.
        max_s: Longest time that one trial is measured, all rounds together.
        timeout_s: Longest time that compiling, or one round, may take.
        seed: Of the order of the rounds, the random inputs and the arrivals.
        starts: Whether a start from the model cache is measured too, in a fresh process.
    """

    target_pct: float = 2.0
    round_s: float = 0.3
    min_rounds: int = 8
    max_s: float = 10.0
    timeout_s: float = 300.0
    seed: int = 0
    starts: bool = True


@dataclass(frozen=True, slots=True)
class MeasurementProgress:
    """Where a group stands after a step: shown while it runs."""

    trial: Trial
    stage: str
    throughput_fps: float | None = None
    half_width_pct: float | None = None


OnProgress = Callable[[MeasurementProgress], None]


@dataclass(slots=True)
class _Run:
    """A trial while it is measured."""

    seat: Seat
    machine: HostLoad
    rate: float | None = None
    bracket: load.Bracket | None = None
    rounds: list[tuple[int, RawRound]] = field(default_factory=list)
    spent_s: float = 0.0
    sure: int = 0
    failure: str = ""
    quality: tuple[dict[str, float], list[Note]] = field(default_factory=lambda: ({}, []))
    start: tuple[dict[str, float], list[Note]] = field(default_factory=lambda: ({}, []))

    @property
    def trial(self) -> Trial:
        return self.seat.job.trial

    @property
    def raw(self) -> list[RawRound]:
        return [r for _, r in self.rounds]


def measure_group(
    jobs: Sequence[Job],
    runner: Runner,
    settings: MeasurementSettings,
    environment: str,
    *,
    evaluate: Evaluate | None = None,
    on_progress: OnProgress = lambda _: None,
) -> list[Measurement]:
    """Measure trials in turn, and return a measurement or a failure for each, in their order.

    Args:
        jobs: The trials, of one group (see :attr:`ovtool.core.trial.Trial.group`).
        runner: What opens the sessions.
        settings: How long and how often.
        environment: Id of the environment, for the measurements.
        evaluate: Takes the quality of a trial by its compiled model, after the rounds.
        on_progress: Told of each step between the rounds, never during one.
    """
    outcomes: dict[str, Measurement] = {}
    runs: list[_Run] = []
    with _pool(runner) as pool:
        runner.prepare(len(jobs))
        for job in jobs:
            on_progress(MeasurementProgress(job.trial, "compiling"))
            try:
                runs.append(_opened(pool.add(job)))
            except TrialFailedError as error:
                outcomes[job.trial.id] = failed_measurement(job.trial, environment, str(error))
        for run in runs:
            if run.trial.max_latency_ms is not None:
                _attempt(run, lambda run=run: _find_rate(run, pool, on_progress))  # type: ignore[misc]
        _rounds([run for run in runs if not run.failure], pool, settings, on_progress)
        for run in runs:
            _attempt(run, lambda run=run: _evaluate(run, pool, evaluate))  # type: ignore[misc]
        if settings.starts:
            _measure_starts([run for run in runs if not run.failure], pool, runner, on_progress)
        together = uuid.uuid4().hex[:12]
        for run in runs:
            outcomes[run.trial.id] = _outcome(run, settings, environment, together)
    return [outcomes[job.trial.id] for job in jobs]


@contextmanager
def _pool(runner: Runner) -> Iterator[Pool]:
    with tempfile.TemporaryDirectory(prefix="ovtool-cache-", ignore_cleanup_errors=True) as folder:
        pool = Pool(runner, Path(folder))
        try:
            yield pool
        finally:
            pool.close()


def _opened(seat: Seat) -> _Run:
    cpus = psutil.cpu_count() or 1
    usable = int(seat.opened.figures.get("usable_cpus", cpus))
    trial = seat.job.trial
    on_cpu = (seat.opened.ran_on or trial.device) == "CPU"
    return _Run(seat, HostLoad(cpus, usable, uses_cpu=on_cpu), trial.rate)


def _attempt(run: _Run, step: Callable[[], None]) -> None:
    """Take a step of a run that has not failed; a failure is its reason."""
    if run.failure:
        return
    try:
        step()
    except TrialFailedError as error:
        run.failure = str(error)


def _find_rate(run: _Run, pool: Pool, on_progress: OnProgress) -> None:
    limit = _limit(run.trial)
    session = pool.session(run.seat)
    closed = session.measure(OPEN_LOOP_ROUND_S)
    capacity = windows.select_windows([closed], run.machine).rate(1).value

    def probe(rate: float) -> load.Probe:
        on_progress(MeasurementProgress(run.trial, f"trying {units.text(rate)} requests/s"))
        return load.probe_session(session, rate, limit, run.machine)

    found = load.highest_rate(probe, limit, capacity)
    if isinstance(found, Interval):
        raise TrialFailedError(
            f"no rate keeps {limit}: nearly idle, it is {units.text(found.value)} ms"
        )
    run.bracket, run.rate = found, found.kept


def _limit(trial: Trial) -> load.Limit:
    assert trial.max_latency_ms is not None  # noqa: S101 - asked for by the caller
    return load.Limit(trial.max_latency_ms, trial.percentile or 99)


def _rounds(
    runs: Sequence[_Run], pool: Pool, settings: MeasurementSettings, on_progress: OnProgress
) -> None:
    shuffled = random.Random(settings.seed)  # noqa: S311 - an order, not a secret
    if pool.parked:
        settings = replace(
            settings,
            round_s=settings.round_s * PARKED_FACTOR,
            min_rounds=max(windows.MIN_ROUNDS, settings.min_rounds // PARKED_FACTOR),
        )
    active, index = list(runs), 0
    while active:
        shuffled.shuffle(active)
        for run in active:
            _attempt(run, lambda run=run: _round(run, index, pool, settings))  # type: ignore[misc] # noqa: B023 - called at once
        index += 1
        active = [run for run in active if _go_on(run, settings, on_progress)]


def _round(run: _Run, index: int, pool: Pool, settings: MeasurementSettings) -> None:
    session = pool.session(run.seat)
    open_loop = run.rate is not None
    seconds = max(settings.round_s, OPEN_LOOP_ROUND_S) if open_loop else settings.round_s
    started = time.monotonic()
    try:
        run.rounds.append((index, session.measure(seconds, run.rate)))
    finally:
        run.spent_s += time.monotonic() - started


def _go_on(run: _Run, settings: MeasurementSettings, on_progress: OnProgress) -> bool:
    if run.failure:
        return False
    taken = windows.select_windows(run.raw, run.machine)
    so_far = figures.headline(run.trial, taken)
    done = len(run.rounds)
    rate = taken.rate(run.trial.batch)
    on_progress(MeasurementProgress(run.trial, f"round {done}", rate.value, so_far.half_width_pct))
    if not taken.quiet and not _quiet_in_time(run, taken, settings):
        so_far = taken.cpu_rate(run.trial.batch)
    run.sure = run.sure + 1 if so_far.half_width_pct <= settings.target_pct else 0
    if run.spent_s >= settings.max_s and done >= min(windows.MIN_ROUNDS, settings.min_rounds):
        return False
    return done < settings.min_rounds or run.sure < SURE_TIMES


def _quiet_in_time(
    run: _Run, taken: windows.SelectedWindows, settings: MeasurementSettings
) -> bool:
    """Whether quiet windows come often enough that they will stand for the trial in its time."""
    if not run.machine.uses_cpu or len(run.rounds) < settings.min_rounds:
        return True
    share = taken.causes.count(None) / len(taken.causes)
    return share * settings.max_s >= windows.ENOUGH_S


def _evaluate(run: _Run, pool: Pool, evaluate: Evaluate | None) -> None:
    if evaluate is None:
        return
    try:
        run.quality = evaluate(run.trial, pool.session(run.seat))
    except TrialFailedError as error:
        raise TrialFailedError(f"while its quality was evaluated: {error}") from error


def _measure_starts(
    runs: Sequence[_Run], pool: Pool, runner: Runner, on_progress: OnProgress
) -> None:
    """Measure starts from the model cache, each in a fresh process, when the rounds are done."""
    ready: list[_Run] = []
    for run in runs:
        on_progress(MeasurementProgress(run.trial, "starting from the cache"))
        try:
            pool.session(run.seat)
            pool.fill_cache(run.seat)
        except TrialFailedError as error:
            run.start = ({}, [_no_cached_start(str(error))])
            continue
        finally:
            pool.park(run.seat)
        if run.seat.blob_mib is None:
            run.start = ({}, [_no_cached_start("the device wrote no model cache")])
        else:
            ready.append(run)
    runner.prepare(len(ready))
    for run in ready:
        run.start = _cached_start(run.seat, runner)


def _cached_start(seat: Seat, runner: Runner) -> tuple[dict[str, float], list[Note]]:
    found = {} if seat.blob_mib is None else {"blob_mib": seat.blob_mib}
    try:
        session = runner.open(seat.job, seat.cache, warm_up=False)
    except TrialFailedError as error:
        return found, [_no_cached_start(str(error))]
    session.close()
    again = session.opened
    if again.loaded_from_cache is False:
        return found, [_no_cached_start("the device did not take the model from its cache")]
    if again.compile_ms is not None:
        found["compile_cached_ms"] = again.compile_ms
    if again.first_inference_ms is not None:
        found["first_inference_cached_ms"] = again.first_inference_ms
    return found, []


def _no_cached_start(why: str) -> Note:
    return make_note("no-cached-start", why)


def _outcome(
    run: _Run, settings: MeasurementSettings, environment: str, taken_with: str
) -> Measurement:
    trial, opened = run.trial, run.seat.opened
    if run.failure:
        row = failed_measurement(trial, environment, run.failure)
        properties = dict(opened.properties)
        return replace(row, properties=properties, notes=opened.notes, ran_on=opened.ran_on)
    summary = figures.summarize(
        trial, opened, run.rounds, run.machine, settings.target_pct, run.rate
    )
    found = summary.figures | run.start[0] | run.quality[0]
    notes = [*opened.notes, *summary.notes, *run.start[1], *run.quality[1]]
    if run.bracket is not None:
        found["rate_rps_ci_low"] = run.bracket.kept
        found["rate_rps_ci_high"] = run.bracket.missed
        notes += load.remeasured(_limit(trial), found)
    return Measurement(
        trial=trial,
        environment=environment,
        status="ok",
        verdict=summary.verdict,
        executed_precision=opened.executed_precision,
        ran_on=opened.ran_on,
        figures=found,
        properties=dict(opened.properties),
        notes=tuple(notes),
        taken_with=taken_with,
        rounds=summary.rounds,
        finished=utc_now(),
    )


def failed_measurement(trial: Trial, environment: str, reason: str) -> Measurement:
    """Return the row of a trial that could not be measured."""
    return Measurement(trial, environment, "failed", reason=reason, finished=utc_now())


def utc_now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
