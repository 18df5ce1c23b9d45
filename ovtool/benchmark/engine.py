"""Measures the trials of a group in short rounds of random order, until they converge.

Each trial of a group is compiled in its own process and stays ready.  Every round measures each
trial once, in a new random order.  Slow drift (clock, heat, other processes) affects all trials of
a round, so it cancels in ratios by round.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from ovtool.benchmark import figures, load, windows
from ovtool.benchmark.pool import Pool, Slot
from ovtool.benchmark.session import Job, RawRound, Runner, Session, TrialFailedError
from ovtool.benchmark.windows import HostLoad
from ovtool.core import temporary, units
from ovtool.core.measurement import Measurement
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from ovtool.core.sweep_spec import MeasurementSettings

Evaluate = Callable[[Trial, Session], tuple[dict[str, float], list[Note]]]
"""Returns the quality figures of a trial's compiled model, and notes."""

CONVERGED_ROUNDS = 2
"""Consecutive rounds with an interval within the target; a single one may be chance."""
OPEN_LOOP_ROUND_S = 1.5
"""Minimum length of an open-loop round: queues need time to build up."""
PARKED_FACTOR = 3
"""Factor by which rounds are longer, and fewer, where each one reopens its session."""


@dataclass(frozen=True, slots=True)
class MeasurementProgress:
    """A step of a trial, for the progress display.

    ``inference_s`` is the time of one inference that takes longer than a round, and ``inferences``
    the number that is still to come; the trial may then take longer than its maximum.
    """

    trial: Trial
    stage: str
    throughput_fps: float | None = None
    half_width_pct: float | None = None
    inference_s: float | None = None
    inferences: int = 0


OnProgress = Callable[[MeasurementProgress], None]


@dataclass(slots=True)
class _Run:
    slot: Slot
    host: HostLoad
    rate: float | None = None
    concurrency: int | None = None
    bracket: load.Bracket | None = None
    rounds: list[tuple[int, RawRound]] = field(default_factory=list)
    elapsed_s: float = 0.0
    converged_rounds: int = 0
    failure: str = ""
    quality: tuple[dict[str, float], list[Note]] = field(default_factory=lambda: ({}, []))
    start: tuple[dict[str, float], list[Note]] = field(default_factory=lambda: ({}, []))

    @property
    def trial(self) -> Trial:
        return self.slot.job.trial

    @property
    def text_limits(self) -> tuple[load.TextLimit, ...]:
        generation = self.trial.generation
        return () if generation is None else load.text_limits(generation)

    @property
    def requests(self) -> int:
        return figures.requests_of(self.trial, self.slot.info)


def measure_group(
    jobs: Sequence[Job],
    runner: Runner,
    settings: MeasurementSettings,
    environment: str,
    *,
    evaluate: Evaluate | None = None,
    on_progress: OnProgress = lambda _: None,
) -> list[Measurement]:
    """Measure a group of trials, and return a measurement or a failure for each, in order.

    ``evaluate`` runs after the rounds; ``on_progress`` runs between the rounds, never in a round.
    """
    outcomes: dict[str, Measurement] = {}
    runs: list[_Run] = []
    with temporary.scratch_folder("cache") as folder, closing(Pool(runner, folder)) as pool:
        runner.prepare(jobs)
        for job in jobs:
            on_progress(MeasurementProgress(job.trial, "compiling"))
            try:
                runs.append(_create_run(pool.add(job)))
                _announce_slow(runs[-1], settings, on_progress)
            except TrialFailedError as error:
                outcomes[job.trial.id] = failed_measurement(job.trial, environment, str(error))
        for run in runs:
            if run.trial.max_latency_ms is not None:
                _attempt(run, lambda run=run: _find_rate(run, pool, settings, on_progress))  # type: ignore[misc]
            if run.text_limits:
                _attempt(run, lambda run=run: _find_concurrency(run, pool, settings, on_progress))  # type: ignore[misc]
        _measure_rounds([run for run in runs if not run.failure], pool, settings, on_progress)
        for run in runs:
            _attempt(run, lambda run=run: _evaluate(run, pool, evaluate, on_progress))  # type: ignore[misc]
        if settings.starts:
            _measure_starts([run for run in runs if not run.failure], pool, runner, on_progress)
        group_id = uuid.uuid4().hex[:12]
        for run in runs:
            outcomes[run.trial.id] = _outcome(run, settings, environment, group_id)
    return [outcomes[job.trial.id] for job in jobs]


def _create_run(slot: Slot) -> _Run:
    cpus = psutil.cpu_count() or 1
    usable = int(slot.info.figures.get("usable_cpus", cpus))
    trial = slot.job.trial
    on_cpu = (slot.info.ran_on or trial.device) == "CPU"
    host = HostLoad(cpus, usable, uses_cpu=on_cpu)
    concurrency = None if trial.generation is None else trial.generation.concurrency
    return _Run(slot, host, trial.rate, concurrency)


def _attempt(run: _Run, step: Callable[[], None]) -> None:
    """Run a step unless the trial has failed; record a failure."""
    if run.failure:
        return
    try:
        step()
    except TrialFailedError as error:
        run.failure = str(error)


def _find_rate(
    run: _Run, pool: Pool, settings: MeasurementSettings, on_progress: OnProgress
) -> None:
    limit, started = _limit(run.trial), time.monotonic()
    max_s = load.SEARCH_FACTOR * settings.max_seconds
    session = pool.session(run.slot)
    closed = session.measure(OPEN_LOOP_ROUND_S)
    capacity = windows.select_windows([closed], run.host).rate(1).value

    def probe(rate: float) -> load.Probe:
        on_progress(MeasurementProgress(run.trial, f"trying {units.text(rate)} requests/s"))
        return load.probe_session(session, rate, limit, run.host, settings.max_seconds)

    def in_time() -> bool:
        return time.monotonic() - started < max_s

    bracket = load.search_highest_rate(probe, limit, capacity, in_time)
    if isinstance(bracket, Interval):
        latency = units.text(bracket.value)
        raise TrialFailedError(f"no arrival rate meets {limit}: nearly idle {latency} ms")
    if not bracket.kept:
        tried = units.text(bracket.missed)
        raise TrialFailedError(
            f"no rate was found in {max_s:g} s: {tried} requests/s misses {limit}, lower rates were"
            " not tried; raise --max-seconds"
        )
    run.bracket, run.rate = bracket, bracket.kept


def _find_concurrency(
    run: _Run, pool: Pool, settings: MeasurementSettings, on_progress: OnProgress
) -> None:
    started, max_s = time.monotonic(), load.SEARCH_FACTOR * settings.max_seconds
    session = pool.session(run.slot)

    def probe(concurrency: int) -> load.TextMiss | None:
        tried = units.count_text(concurrency, "request")
        on_progress(MeasurementProgress(run.trial, f"trying {tried} in flight"))
        return load.probe_concurrency(
            session, concurrency, run.text_limits, run.host, settings.max_seconds
        )

    def in_time() -> bool:
        return time.monotonic() - started < max_s

    result = load.search_highest_concurrency(probe, in_time)
    if isinstance(result, load.TextMiss):
        raise TrialFailedError(f"one request in flight misses a limit: {result}")
    run.bracket, run.concurrency = result, int(result.kept)


def _limit(trial: Trial) -> load.Limit:
    assert trial.max_latency_ms is not None  # noqa: S101 - checked by the caller
    return load.Limit(trial.max_latency_ms, trial.percentile or 99)


def _measure_rounds(
    runs: Sequence[_Run], pool: Pool, settings: MeasurementSettings, on_progress: OnProgress
) -> None:
    generator = random.Random(settings.seed)  # noqa: S311 - not for cryptography
    if pool.parked:
        parked = {
            "round_s": settings.round_s * PARKED_FACTOR,
            "rounds": max(windows.MIN_ROUNDS, settings.rounds // PARKED_FACTOR),
        }
        settings = settings.model_copy(update=parked)
    active, index = list(runs), 0
    while active:
        generator.shuffle(active)
        for run in active:
            _attempt(run, lambda run=run: _measure_round(run, index, pool, settings))  # type: ignore[misc] # noqa: B023 - called in this iteration
        index += 1
        active = [run for run in active if _continues(run, settings, on_progress)]


def _measure_round(run: _Run, index: int, pool: Pool, settings: MeasurementSettings) -> None:
    session = pool.session(run.slot)
    open_loop = run.rate is not None
    seconds = max(settings.round_s, OPEN_LOOP_ROUND_S) if open_loop else settings.round_s
    started = time.monotonic()
    try:
        run.rounds.append((index, session.measure(seconds, run.rate, run.concurrency)))
    finally:
        run.elapsed_s += time.monotonic() - started


def _continues(run: _Run, settings: MeasurementSettings, on_progress: OnProgress) -> bool:
    if run.failure:
        return False
    selected = windows.select_windows([raw for _, raw in run.rounds], run.host)
    headline = figures.compute_headline(run.trial, selected)
    count = len(run.rounds)
    rate = selected.rate(run.trial.batch)
    stage, half_width_pct = f"round {count}", headline.half_width_pct
    on_progress(MeasurementProgress(run.trial, stage, rate.value, half_width_pct))
    if not selected.quiet and not _quiet_in_time(run, selected, settings):
        headline = selected.cpu_rate(run.trial.batch)
    converged = headline.half_width_pct <= settings.target_pct
    run.converged_rounds = run.converged_rounds + 1 if converged else 0
    if run.elapsed_s >= settings.max_seconds:
        slow = run.rate is None and figures.is_slow(run.rounds[-1][1], run.requests)
        if slow or count >= min(windows.MIN_ROUNDS, settings.rounds):
            return False
    return count < settings.rounds or run.converged_rounds < CONVERGED_ROUNDS


def _announce_slow(run: _Run, settings: MeasurementSettings, on_progress: OnProgress) -> None:
    """Report inferences that are so long that their least number exceeds the maximum time."""
    inference_s = (run.slot.info.first_inference_ms or 0.0) / units.MS_PER_S
    if inference_s <= settings.round_s:
        return
    inferences = math.ceil(settings.max_seconds / inference_s) + settings.starts
    if inferences * inference_s > settings.max_seconds:
        step = MeasurementProgress(run.trial, "measuring")
        on_progress(replace(step, inference_s=inference_s, inferences=inferences))


def _quiet_in_time(
    run: _Run, selected: windows.SelectedWindows, settings: MeasurementSettings
) -> bool:
    """Whether quiet windows are frequent enough to represent the trial within its time."""
    if not run.host.uses_cpu or len(run.rounds) < settings.rounds:
        return True
    share = selected.causes.count(None) / len(selected.causes)
    return share * settings.max_seconds >= windows.ENOUGH_S


def _evaluate(run: _Run, pool: Pool, evaluate: Evaluate | None, on_progress: OnProgress) -> None:
    if evaluate is None:
        return
    on_progress(MeasurementProgress(run.trial, "evaluating the quality"))
    try:
        run.quality = evaluate(run.trial, pool.session(run.slot))
    except TrialFailedError as error:  # the speed was measured all the same
        run.quality = ({}, [make_note("evaluation-failed", str(error))])


def _measure_starts(
    runs: Sequence[_Run], pool: Pool, runner: Runner, on_progress: OnProgress
) -> None:
    """Measure starts from the model cache after the rounds, each in a new process."""
    ready: list[_Run] = []
    for run in runs:
        on_progress(MeasurementProgress(run.trial, "starting from the cache"))
        try:
            pool.session(run.slot)
            pool.fill_cache(run.slot)
        except TrialFailedError as error:
            run.start = ({}, [make_note("no-cached-start", str(error))])
            continue
        finally:
            pool.park(run.slot)
        if run.slot.blob_mib is None:
            reason = "the device wrote no model cache"
            run.start = ({}, [make_note("no-cached-start", reason)])
        else:
            ready.append(run)
    runner.prepare([run.slot.job for run in ready])
    for run in ready:
        run.start = _measure_cached_start(run.slot, runner)


def _measure_cached_start(slot: Slot, runner: Runner) -> tuple[dict[str, float], list[Note]]:
    values = {} if slot.blob_mib is None else {"blob_mib": slot.blob_mib}
    try:
        session = runner.open(slot.job, slot.cache, warm_up=False)
    except TrialFailedError as error:
        return values, [make_note("no-cached-start", str(error))]
    session.close()
    info = session.info
    if info.loaded_from_cache is False:
        reason = "the device did not load the model from its cache"
        return values, [make_note("no-cached-start", reason)]
    if info.compile_ms is not None:
        values["compile_cached_ms"] = info.compile_ms
    if info.first_inference_ms is not None:
        values["first_inference_cached_ms"] = info.first_inference_ms
    return values, []


def _outcome(
    run: _Run, settings: MeasurementSettings, environment: str, group_id: str
) -> Measurement:
    trial, info = run.trial, run.slot.info
    if run.failure:
        row = failed_measurement(trial, environment, run.failure)
        properties = dict(info.properties)
        return replace(row, properties=properties, notes=info.notes, ran_on=info.ran_on)
    summary = figures.summarize(trial, info, run.rounds, run.host, settings.target_pct, run.rate)
    combined = summary.figures | run.start[0] | run.quality[0]
    if run.concurrency is not None:
        combined["concurrency"] = run.concurrency
    notes = [*info.notes, *summary.notes, *run.start[1], *run.quality[1]]
    if run.bracket is not None and run.text_limits:
        notes += [load.note_concurrency(run.bracket)]
        notes += load.check_text_limits(run.text_limits, combined)
    elif run.bracket is not None:
        combined["rate_rps_ci_low"] = run.bracket.kept
        combined["rate_rps_ci_high"] = run.bracket.missed
        notes += load.check_search(run.bracket) + load.check_limit(_limit(trial), combined)
    return Measurement(
        trial=trial,
        environment=environment,
        status="ok",
        verdict=summary.verdict,
        executed_precision=info.executed_precision,
        ran_on=info.ran_on,
        figures=combined,
        properties=dict(info.properties),
        notes=tuple(notes),
        settings=settings.measurement_settings(),
        group_id=group_id,
        rounds=summary.rounds,
        finished=utc_now(),
    )


def failed_measurement(trial: Trial, environment: str, reason: str) -> Measurement:
    """Return the measurement of a failed trial."""
    return Measurement(trial, environment, "failed", reason=reason, finished=utc_now())


def utc_now() -> str:
    """Return the current time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
