"""The verb ``why``: explain the difference in speed between two models by its causes.

Both models are profiled in turn, in rounds, so that slow drift cancels in the differences of each
round.  Every layer belongs to one cause, and the time outside of the layers to another one (the
overhead of a request, and the error of the counters), so the causes add up to the difference of the
latencies.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import temporary, units
from ovtool.core.device_names import kind_of
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.statistics import mean_interval, ratio_by_round
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import read_graph
from ovtool.devices.discovery import find_caveats, select_available
from ovtool.devices.rules import find_wide_int8
from ovtool.graph.product_quantization import read_quantization
from ovtool.models.convert import ModelReference, load_or_convert_next_to
from ovtool.profiling import run
from ovtool.profiling.attribution import Attribution
from ovtool.profiling.causes import UNEXPLAINED, make_cause, rank
from ovtool.profiling.explanation import Explanation, Side
from ovtool.profiling.layer_matching import collect
from ovtool.system.host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovtool.benchmark.process import ProcessSession
    from ovtool.benchmark.worker_protocol import WorkerProfile
    from ovtool.core.statistics import Interval
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.datasets.spec import DataSpec
    from ovtool.graph.runtime import Layer
    from ovtool.profiling.attribution import Bound

ROUNDS = 8
MIN_ROUNDS = 3
_TURNS = 2
"""Turns with and without counters in each round."""
_COUNTED_SHARE = 1.5
"""Time of a profile in its seconds with counters: those without take half as long."""
_SMALL_MS = 0.02
_LOW_INTENSITY = 4.0
"""FLOPs per byte below which a layer counts as bound by memory on a device without calibration."""
_FLOOR = {"CPU": (30e9, 10e9)}
"""FLOP/s and bytes/s that a thread reaches on any CPU of the last ten years."""
_FLOOR_OTHERS = (500e9, 30e9)


@shows_progress()
def why(
    a: ModelReference,
    b: ModelReference,
    *,
    device: str = "CPU",
    batch: int | None = None,
    precision: str = "default",
    hint: str = "latency",
    streams: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    data: DataSpec | str | None = None,
    rounds: int = ROUNDS,
    max_seconds: float = 12.0,
    progress: Progress = SILENT,
) -> Explanation:
    """Explain why model B is faster or slower than model A on a device.

    Args:
        a: The reference, usually the uncompressed model: a variant, its folder, or a model that
            :func:`ovtool.api.convert` reads.
        b: The model that is expected to be faster; same forms.
        device: Name of the device.
        batch: Samples per request; None: the batch in ``shapes``, the model's fixed batch, or 1.
        precision: Requested inference precision of both.
        hint: Performance hint; with several requests, their effect on one another is a cause.
        streams: Number of streams, instead of the hint.
        shapes: Input shapes for open dimensions of the models.
        data: Samples of the request; None: random inputs.
        rounds: Number of rounds, each of which profiles both models.
        max_seconds: Maximum measuring time; at least three rounds are measured.
        progress: Receives the stages.

    Raises:
        InputError: A model does not run with these settings, a worker failed, or the models run
            at different batches.
        MissingError: The device is not available.
    """
    from ovtool.core.trial_grid import plan_inferences, single_spec

    spec = single_spec(batch=batch, precision=precision, hint=hint, streams=streams, shapes=shapes)
    devices, _ = select_available([device], strict=True)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(temporary.scratch_folder("why"))
        variants = [
            load_or_convert_next_to(model, None, scratch / side, progress)
            for side, model in (("a", a), ("b", b))
        ]
        trials = [trial for v in variants for trial in plan_inferences([v], devices, spec)]
        if trials[0].batch != trials[1].batch:
            raise InputError(
                f"A has batch {trials[0].batch}, B has batch {trials[1].batch}",
                "use the same batch: --batch N",
            )
        sessions = [
            stack.enter_context(contextlib.closing(_open(trial, variant, data, scratch, progress)))
            for trial, variant in zip(trials, variants, strict=True)
        ]
        measured = _measure(sessions, trials, rounds, max_seconds, progress)
        return explain(trials, variants, sessions, _quiet_rounds(measured))


def _quiet_rounds(measured: Sequence[Rounds]) -> Sequence[Rounds]:
    """Return the rounds in which other processes left both models alone, if there are enough."""
    quiet = [
        index
        for index, profiles in enumerate(zip(*(r.profiles for r in measured), strict=True))
        if not any(run.contended_notes(profile.others_cpu_pct) for profile in profiles)
    ]
    if len(quiet) < MIN_ROUNDS:
        return measured
    return [
        Rounds([r.profiles[i] for i in quiet], [r.load_ms[i] for i in quiet if r.load_ms])
        for r in measured
    ]


def _open(
    trial: Trial, variant: Variant, data: DataSpec | str | None, scratch: Path, progress: Progress
) -> ProcessSession:
    from ovtool.benchmark.process import ProcessRunner

    progress.start(f"compiling {variant.name} for {trial.device}")
    try:
        job = jobs.prepare_job(trial, variant)
        return ProcessRunner(timeout_s=run.COMPILE_S).open(
            run.with_inputs(job, variant, data, scratch, progress)
        )
    except TrialFailedError as error:
        raise InputError(f"{trial.label}: {error}") from error
    finally:
        progress.close()


@dataclass(slots=True)
class Rounds:
    """The rounds of a model: profiles, and the times of a request under load, in ms."""

    profiles: list[WorkerProfile]
    load_ms: list[float]


def _measure(
    sessions: Sequence[ProcessSession],
    trials: Sequence[Trial],
    rounds: int,
    max_seconds: float,
    progress: Progress,
) -> list[Rounds]:
    """Profile both models in turn, in random order within each round."""
    generator = random.Random(0)  # noqa: S311 - not for cryptography
    measured = [Rounds([], []) for _ in sessions]
    several = any(_requests(session) > 1 for session in sessions)
    seconds = max_seconds / (max(rounds, 1) * len(sessions) * (_COUNTED_SHARE + several))
    spent_s, order = 0.0, [0, 1]
    progress.start(f"profiling on {trials[0].device}", total=rounds)
    try:
        for index in range(rounds):
            if spent_s >= max_seconds and index >= MIN_ROUNDS:
                break
            generator.shuffle(order)
            for side in order:
                started = time.monotonic()
                try:
                    profile = sessions[side].profile(seconds, _TURNS)
                    measured[side].profiles.append(profile)
                    if several:
                        measured[side].load_ms.append(_time_under_load(sessions[side], seconds))
                except TrialFailedError as error:
                    raise InputError(f"{trials[side].label}: {error}") from error
                spent_s += min(time.monotonic() - started, _profile_s(profile, seconds))
            progress.advance()
    finally:
        progress.close()
    return measured


def _profile_s(profile: WorkerProfile, seconds: float) -> float:
    """Return the measuring time of a profile, without its compilation."""
    counted_s = profile.inferences * profile.latency_counted_ms / units.MS_PER_S
    return max(counted_s, seconds) * _COUNTED_SHARE


def _requests(session: ProcessSession) -> int:
    return int(session.info.figures.get("requests", 1))


def _time_under_load(session: ProcessSession, seconds: float) -> float:
    """Return the mean time of a request while all are in flight (Little 1961), in ms."""
    raw = session.measure(seconds)
    elapsed_s = sum(window.seconds for window in raw.windows)
    return units.MS_PER_S * _requests(session) * elapsed_s / raw.inferences


def explain(
    trials: Sequence[Trial],
    variants: Sequence[Variant],
    sessions: Sequence[Any],
    measured: Sequence[Rounds],
) -> Explanation:
    """Return the explanation of measured rounds; both models have the same number of rounds."""
    trial, count = trials[0], len(measured[0].profiles)
    graph = read_quantization(read_graph(variants[1].xml))
    bounds = [
        _make_bound(trial, session, rounds.profiles[-1].layers)
        for session, rounds in zip(sessions, measured, strict=True)
    ]
    before, after = (collect([p.layers for p in rounds.profiles]) for rounds in measured)
    attribution = Attribution(before, after, graph, bounds[0].of, bounds[1].of)
    speedup = expected_speedup(trial.device)
    causes = attribution.causes(count, speedup)
    a, b = (
        _side(trial, session, rounds)
        for trial, session, rounds in zip(trials, sessions, measured, strict=True)
    )
    times = [_compared_ms(rounds) for rounds in measured]
    if measured[0].load_ms:
        parallel = [
            [load - profile.latency_ms for load, profile in
             zip(rounds.load_ms, rounds.profiles, strict=True)]
            for rounds in measured
        ]  # fmt: skip
        evidence = f"{b.requests} requests in flight in B, {a.requests} in A"
        causes.append(make_cause("parallel-requests", evidence, *parallel, speedup=speedup))
    outside = [
        [profile.latency_ms - _layers_ms(profile) for profile in rounds.profiles]
        for rounds in measured
    ]
    evidence = "; ".join(
        f"{name}: {units.text(side.latency_ms.value)} ms, layers {units.text(side.layers_ms.value)}"
        for name, side in (("A", a), ("B", b))
    )
    causes.append(make_cause(UNEXPLAINED, evidence, *outside, speedup=speedup))
    explanation = Explanation(
        a=a,
        b=b,
        device=trial.device,
        batch=trial.batch,
        load=trial.load,
        precision=trial.precision,
        rounds=count,
        ratio=ratio_by_round(times[1], times[0]),
        difference_ms=_difference(*times),
        causes=tuple(causes),
        expected_x=speedup,
        calibrated=all(bound.calibrated for bound in bounds),
        pairs=tuple(attribution.pairs),
        notes=tuple(_notes(trial, variants, sessions, measured)),
    )
    return replace(explanation, causes=rank(causes, slower=explanation.slower))


def expected_speedup(device: str) -> float:
    """Return the speed-up over f32 that INT8 products are expected to reach on a device.

    The ratio of the peaks: a CPU with VNNI or AMX multiplies four times as many values of 8 bits as
    of f32 in an instruction, one with AVX2 twice as many in practice; GPUs and NPUs twice as many
    as in f16, in which they run the reference.
    """
    if kind_of(device) == "CPU":
        return 4.0 if find_wide_int8("cpu", Host()) is not None else 2.0
    return 2.0


def _difference(a_ms: Sequence[float], b_ms: Sequence[float]) -> Interval:
    return mean_interval([b - a for a, b in zip(a_ms, b_ms, strict=True)])


def _layers_ms(profile: WorkerProfile) -> float:
    return sum(layer.time_ms or 0.0 for layer in profile.layers)


def _compared_ms(rounds: Rounds) -> list[float]:
    return rounds.load_ms or [profile.latency_ms for profile in rounds.profiles]


def _side(trial: Trial, session: Any, rounds: Rounds) -> Side:
    return Side(
        variant=trial.variant_name,
        executed_precision=session.info.executed_precision,
        latency_ms=mean_interval([profile.latency_ms for profile in rounds.profiles]),
        layers_ms=mean_interval([_layers_ms(profile) for profile in rounds.profiles]),
        layers=len(rounds.profiles[-1].layers),
        requests=_requests(session),
        load_ms=mean_interval(rounds.load_ms) if rounds.load_ms else None,
    )


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What limits each layer, and whether a calibration of the device says so."""

    of: Bound
    calibrated: bool


def _make_bound(trial: Trial, session: Any, layers: Sequence[Layer]) -> _Bounds:
    from ovtool.roofline.predict import HINT, compare_with_roofline, find_calibration

    stored = find_calibration(trial.device) if trial.hint == HINT else None
    if stored is not None:
        rows = compare_with_roofline(layers, stored).layers
        by_layer = {name: row.bound for name, row in rows.items()}
        return _Bounds(lambda layer: by_layer.get(layer.name), calibrated=True)
    threads = session.info.figures.get("threads", 1.0)
    kind = kind_of(trial.device)
    flops, moved = _FLOOR.get(kind, _FLOOR_OTHERS)
    scale = threads if kind in _FLOOR else 1.0
    return _Bounds(
        lambda layer: estimate_bound(layer, flops * scale, moved * scale), calibrated=False
    )


def estimate_bound(layer: Layer, flops_per_s: float, bytes_per_s: float) -> str | None:
    """Return what limits a layer on a device without calibration; None if its sizes are unknown.

    Overhead: it takes less than 20 us, and more than twice what these moderate rates need.
    Otherwise its FLOPs per byte decide between compute and memory.
    """
    if layer.data_bytes is None:
        return None
    moved = layer.data_bytes + layer.weight_bytes
    work_ms = units.MS_PER_S * ((layer.flops or 0) / flops_per_s + moved / bytes_per_s)
    if layer.time_ms is not None and 2 * work_ms < layer.time_ms < _SMALL_MS:
        return "overhead"
    return "memory" if (layer.flops or 0) < _LOW_INTENSITY * moved else "compute"


def _notes(
    trial: Trial,
    variants: Sequence[Variant],
    sessions: Sequence[Any],
    measured: Sequence[Rounds],
) -> list[Note]:
    notes = {
        (note.id, note.evidence): note
        for session in sessions
        for note in session.info.notes
        if note.id not in run.SHOWN_ELSEWHERE
    }
    listed = list(notes.values())
    others = [p.others_cpu_pct for r in measured for p in r.profiles]
    listed += run.contended_notes(max((o for o in others if o is not None), default=None))
    opened = [
        side
        for side, variant in zip("AB", variants, strict=True)
        if any(size < 0 and i != port.batch_axis
               for port in variant.record.inputs for i, size in enumerate(port.shape))
    ]  # fmt: skip
    if opened:
        listed.append(make_note("why-fixed-shapes", f"{' and '.join(opened)} with open dimensions"))
    caveat = find_caveats([trial.device]).get(trial.device)
    return [*listed, *([caveat] if caveat else [])]
