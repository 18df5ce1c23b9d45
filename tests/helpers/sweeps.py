"""Sweep folders made of scripted rounds: what they say of a device is invented."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.core.measurement import Measurement, Round, Window
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import wilson
from ovtool.core.sweep_folder import (
    Environment,
    PlannedVariant,
    SweepFolder,
    SweepPlan,
    Unavailable,
)
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Model:
    """A variant of the script: milliseconds of one sample, by precision."""

    name: str
    mib: float
    ms: Mapping[str, float]
    agreement: tuple[int, int] | None = None

    @property
    def id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:12]


FP32 = Model("fp32", 17.8, {"f32": 7.2, "default": 4.5}, (50, 50))
INT8 = Model("int8", 4.83, {"default": 3.5}, (47, 50))
WEIGHTS = Model("int8-weights", 4.71, {"default": 4.4}, (49, 50))
MODELS = (FP32, INT8, WEIGHTS)


def as_host(path: Path, name: str, **labels: str) -> Path:
    """Turn a sweep into that of a host of a fleet with labels."""
    folder = SweepFolder(path)
    before = folder.environment
    facts = {**before.facts, "host": name}
    folder.write_environment(before.model_copy(update={"facts": facts, "labels": labels}))
    return path


def environment(name: str = "a") -> Environment:
    return Environment(
        id=hashlib.sha256(name.encode()).hexdigest()[:12],
        machine=f"Example CPU {name}, 2 cores, 8 GB, Linux",
        facts={"cpu": {"model": f"Example CPU {name}", "cores": 2}, "openvino": "2026.4.1"},
        unknown={"energy": "no counter can be read here"},
    )


def trials(
    models: Sequence[Model] = MODELS,
    batches: Sequence[int] = (1, 2, 4, 8),
    loads: Sequence[str] = ("latency", "throughput"),
    devices: Sequence[str] = ("CPU",),
    forms: Sequence[Mapping[str, object]] = ({},),
) -> list[Trial]:
    """Trials of every combination; ``forms`` are their shapes and data shapes."""
    return [
        Trial(m.id, m.name, device, batch, hint=load, precision=precision, **form)  # type: ignore[arg-type]
        for device in devices
        for form in forms
        for load in loads
        for batch in batches
        for m in models
        for precision in m.ms
    ]


def measure(
    trial: Trial,
    models: Sequence[Model] = MODELS,
    env: str = "a",
    rounds: int = 6,
    noise: float = 0.01,
    drift: Callable[[int], float] = lambda _: 1.0,
    **changes: object,
) -> Measurement:
    """Return a measurement of a trial as the script has it, with changes to its fields."""
    model = next(m for m in models if m.id == trial.variant)
    rng = random.Random(trial.id)
    slow = 1.0 if trial.device == "CPU" else 0.3
    streams = 2 if trial.hint == "throughput" else 1
    request_ms = model.ms[trial.precision] * slow * (0.35 + 0.65 * trial.batch) * streams
    rate = 1000 / request_ms * trial.batch * (1.25 if streams == 2 else 1.0) * streams
    windows = []
    for index in range(rounds):
        speed = rate * drift(index) * (1 + rng.gauss(0, noise))
        inferences = max(1, round(speed / trial.batch * 0.4))
        seconds = inferences * trial.batch / speed
        windows.append(
            Round(index, (Window(seconds, inferences, request_ms, 1.2 * request_ms, seconds * 2),))
        )
    fps = sum(r.inferences for r in windows) * trial.batch / sum(r.seconds for r in windows)
    figures = {
        "latency_p50_ms": request_ms,
        "latency_p50_ms_ci_low": request_ms * 0.985,
        "latency_p50_ms_ci_high": request_ms * 1.02,
        "latency_p90_ms": request_ms * 1.05,
        "latency_p99_ms": request_ms * 1.15,
        "latency_p99_ms_ci_low": request_ms * 1.1,
        "latency_p99_ms_ci_high": request_ms * 1.3,
        "throughput_fps": fps,
        "throughput_fps_ci_low": fps * 0.985,
        "throughput_fps_ci_high": fps * 1.015,
        "streams": float(streams),
        "requests": float(2 * streams),
        "compile_cold_ms": 400.0,
        "peak_rss_mib": 150.0,
    }
    made = Measurement(
        trial=trial,
        environment=environment(env).id,
        status="ok",
        verdict="stable",
        executed_precision="bf16" if trial.precision == "default" else trial.precision,
        figures=figures,
        properties={"PERFORMANCE_HINT": str(trial.hint).upper()},
        rounds=tuple(windows),
        group_id=trial.group,
        finished="2026-01-01T00:00:00Z",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def with_quality(measurement: Measurement, model: Model) -> Measurement:
    if model.agreement is None:
        return measurement
    share = wilson(*model.agreement)
    return replace(
        measurement,
        figures={
            **measurement.figures,
            "agreement_top1": share.value,
            "agreement_top1_ci_low": share.low,
            "agreement_top1_ci_high": share.high,
            "output_cosine": 0.98,
            "quality_samples": float(model.agreement[1]),
        },
    )


def failed(trial: Trial, reason: str, env: str = "a") -> Measurement:
    return Measurement(trial, environment(env).id, "failed", reason=reason)


def estimate(trial: Trial, ms: float, env: str = "a") -> Measurement:
    """Return what a compiler expects of a trial on a device that is not there."""
    return Measurement(
        trial=trial,
        environment=environment(env).id,
        status="estimated",
        figures={"latency_estimate_ms": ms, "blob_mib": 3.0, "trial_compile_ms": 1500.0},
        properties={"PERFORMANCE_HINT": str(trial.hint).upper()},
        notes=(make_note("estimate", f"{trial.device} by a script"),),
        finished="2026-01-01T00:00:00Z",
    )


def make(
    path: Path,
    measurements: Sequence[Measurement],
    models: Sequence[Model] = MODELS,
    env: str = "a",
    unavailable: Sequence[tuple[str, str]] = (),
    planned: Sequence[Trial] | None = None,
    variant_notes: Mapping[str, tuple[Note, ...]] | None = None,
    **plan: object,
) -> Path:
    """Write a sweep folder as a sweep does; ``variant_notes`` are by name."""
    folder = SweepFolder(path)
    quality = any("agreement_top1" in m.figures for m in measurements)
    fields: dict[str, object] = {
        "name": path.name,
        "variants": {
            m.id: PlannedVariant(
                name=m.name,
                folder=m.name,
                model_mib=m.mib,
                compressed=m is not models[0],
                baseline=models[0].id,
                notes=(variant_notes or {}).get(m.name, ()),
            )
            for m in models
        },
        "trials": tuple(planned if planned is not None else [m.trial for m in measurements]),
        "unavailable": tuple(Unavailable(device=d, reason=r) for d, r in unavailable),
        "quality_metric": "agreement_top1" if quality else None,
    }
    folder.write_plan(SweepPlan(**{**fields, **plan}))  # type: ignore[arg-type]
    folder.write_environment(environment(env))
    folder.append(measurements)
    return path


def whole(
    path: Path,
    models: Sequence[Model] = MODELS,
    batches: Sequence[int] = (1, 2, 4, 8),
    devices: Sequence[str] = ("CPU",),
    env: str = "a",
    **plan: object,
) -> Path:
    """Write a finished sweep; the quality is in the first trial of each configuration."""
    seen: set[tuple[str, str, str]] = set()
    made = []
    for trial in trials(models, batches, devices=devices):
        one = measure(trial, models, env)
        key = (trial.variant, trial.device, trial.precision)
        if key not in seen:
            seen.add(key)
            model = next(m for m in models if m.id == trial.variant)
            one = with_quality(one, model)
        made.append(one)
    return make(path, made, models, env, **plan)  # type: ignore[arg-type]


def contended(measurement: Measurement) -> Measurement:
    note = make_note("contended", "31% of the machine")
    return replace(measurement, verdict="contended", notes=(note,))
