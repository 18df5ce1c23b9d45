"""Every combination of a sweep's axes as a trial."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.fields import full_flag, validated
from ovtool.core.registry import suggestion
from ovtool.core.shapes import OPEN, Named, shape_sets, shape_text
from ovtool.core.sweep_spec import BUSY, SweepSpec
from ovtool.core.trial import HINTS, Hint, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovtool.core.variant import Variant


def plan_trials(
    variants: Sequence[Variant], devices: Sequence[str], spec: SweepSpec
) -> tuple[Trial, ...]:
    """Return every combination once; the trials of a group are neighbors.

    ``devices`` replace those of the spec.  A text generator has the loads of text generators.

    Raises:
        InputError: Two variants have the same name, a shape names an unknown input, batch and
            shapes contradict each other, or a setting applies to no variant.
    """
    names = [v.name for v in variants]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two variants have the name {name!r}", "rename one with --name")
    generators = [v for v in variants if v.record.generates_text]
    _check_applicable(variants, generators, spec)
    others = [v for v in variants if not v.record.generates_text]
    inferences = plan_inferences(others, devices, spec) if others else ()
    return tuple(dict.fromkeys([*inferences, *_plan_generations(generators, devices, spec)]))


def plan_inferences(
    variants: Sequence[Variant], devices: Sequence[str], spec: SweepSpec
) -> tuple[Trial, ...]:
    """Return every combination once, of inferences alone: a text generator reads one prompt.

    Raises:
        InputError: A shape names an unknown input, or batch and shapes contradict each other.
    """
    inputs = list(dict.fromkeys(port.name for v in variants for port in v.record.inputs))
    unread = any(v.failure and not v.record.inputs for v in variants)
    for name in (*spec.shapes, *spec.data_shapes):
        if name not in inputs and not unread:
            raise InputError(f"no variant has an input {name!r}", suggestion(name, inputs))
    limit = spec.find_rate
    trials = [
        Trial(
            variant=variant.id,
            variant_name=variant.name,
            device=device,
            batch=batch,
            hint=load.hint,
            streams=load.streams,
            requests=load.requests,
            threads=load.threads,
            pinning=spec.pinning,
            rate=load.rate,
            max_latency_ms=limit.max_latency_ms if limit else None,
            percentile=limit.percentile if limit else None,
            precision=precision,
            shapes=form.shapes,
            data_shapes=form.data_shapes,
        )
        for device in devices
        for form in _forms(spec)
        for batch in dict.fromkeys(b for v in variants for b in _batches(v, form, spec))
        for load in _loads(spec)
        for variant in variants
        if batch in _batches(variant, form, spec)
        for precision in spec.precisions_of.get(variant.name, spec.precisions)
    ]
    return tuple(dict.fromkeys(trials))


def _plan_generations(
    variants: Sequence[Variant], devices: Sequence[str], spec: SweepSpec
) -> list[Trial]:
    return [
        Trial(
            variant=variant.id,
            variant_name=variant.name,
            device=device,
            batch=1,
            hint=None,
            threads=threads,
            pinning=spec.pinning,
            precision=precision,
            rate=load.rate,
            generation=load.generation,
        )
        for device in devices
        for load in spec.text_loads()
        for threads in spec.threads or (None,)
        for variant in variants
        for precision in spec.precisions_of.get(variant.name, spec.precisions)
    ]


_INFERENCE_ONLY: tuple[str, ...] = (
    "batches", "shapes", "data_shapes", "hints", "streams", "requests", "find_rate",
)  # fmt: skip
"""Settings of :class:`SweepSpec` that a text generator does not have."""
_TEXT_ONLY: tuple[str, ...] = (
    "prompt_lengths", "output_lengths", "concurrency", "kv_cache_precisions", "find_concurrency",
)  # fmt: skip


def _check_applicable(
    variants: Sequence[Variant], generators: Sequence[Variant], spec: SweepSpec
) -> None:
    """Check that each setting applies to some variant.

    Raises:
        InputError: One does not.
    """
    if len(generators) == len(variants):
        names, kind, use = _INFERENCE_ONLY, "a text generator", _TEXT_ONLY
    elif not generators and not any(v.failure for v in variants):
        names, kind, use = _TEXT_ONLY, "a model that is no text generator", _INFERENCE_ONLY
    else:
        return
    fields = SweepSpec.model_fields
    for name in names:
        if getattr(spec, name) != fields[name].default:
            flags = ", ".join(full_flag(each, fields[each]) for each in use)
            raise InputError(
                f"{full_flag(name, fields[name])} does not apply to {kind}", f"use {flags}"
            )


def drop_default_precisions(
    trials: Sequence[Trial], defaults: Mapping[str, str]
) -> tuple[Trial, ...]:
    """Return the trials without those that request what another trial gets by default.

    ``defaults`` has the default precision of devices: where it is f32, f32 and ``default`` are one
    configuration.
    """
    kept = set(trials)
    return tuple(
        trial
        for trial in trials
        if trial.precision != defaults.get(trial.device)
        or replace(trial, precision="default") not in kept
    )


def single_spec(
    *,
    batch: int | None = None,
    precision: str = "default",
    hint: str = "latency",
    streams: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> SweepSpec:
    """Return the axes of one trial per variant and device.

    Without ``batch``, it is that of ``shapes``, the fixed batch of the variant, or 1.  ``streams``
    replace the hint.

    Raises:
        InputError: A value is not valid.
    """
    values = {
        "batches": None if batch is None else [batch],
        "precisions": [precision],
        "hints": [hint],
        "streams": [] if streams is None else [streams],
        "shapes": {name: [shape] for name, shape in (shapes or {}).items()},
    }
    names = {"batches": "batch", "precisions": "precision", "hints": "hint", "streams": "streams"}
    return validated(SweepSpec, values, names)


@dataclass(frozen=True, slots=True)
class _Form:
    """Shapes that a model is compiled with, and shapes of inference."""

    shapes: Named
    data_shapes: Named


def _forms(spec: SweepSpec) -> Iterator[_Form]:
    sets = shape_sets(spec.shapes) or ({},), shape_sets(spec.data_shapes) or ({},)
    for shapes, data in itertools.product(*sets):
        yield _Form(tuple(sorted(shapes.items())), tuple(sorted(data.items())))


def _batches(variant: Variant, form: _Form, spec: SweepSpec) -> Sequence[int]:
    """Return the batches of a variant: of the spec, of its shapes, its fixed batch, or 1."""
    fixed = _batch_in("--data-shape", form.data_shapes, variant)
    fixed = fixed or _batch_in("--shape", form.shapes, variant)
    if fixed is None:
        return spec.batches or (variant.record.batch_size or 1,)
    for batch in spec.batches or ():
        if batch != fixed.size:
            raise InputError(
                f"--batch {batch} contradicts {fixed.source}, which has the batch {fixed.size}",
                "omit --batch, or write ? for the batch",
            )
    return (fixed.size,)


@dataclass(frozen=True, slots=True)
class _ShapeBatch:
    """The batch in a shape, and the option with that shape."""

    size: int
    source: str


def _batch_in(option: str, shapes: Named, variant: Variant) -> _ShapeBatch | None:
    """Return the batch in shapes, by the layouts of the inputs; None without one."""
    axes = {port.name: port.batch_axis for port in variant.record.inputs}
    batches: dict[int, _ShapeBatch] = {}
    for name, shape in shapes:
        axis = axes.get(name)
        if axis is not None and axis < len(shape) and shape[axis] != OPEN:
            source = f"{option} {name}={shape_text(shape)}"
            batches.setdefault(shape[axis], _ShapeBatch(shape[axis], source))
    if len(batches) > 1:
        raise InputError(
            f"{' and '.join(batch.source for batch in batches.values())} have different batches",
            "use the same batch in the shapes of all inputs",
        )
    return next(iter(batches.values()), None)


@dataclass(frozen=True, slots=True)
class _Load:
    hint: Hint | None
    streams: int | None = None
    requests: int | None = None
    threads: int | None = None
    rate: float | None = None


def _loads(spec: SweepSpec) -> list[_Load]:
    rates = [None if rate == BUSY else float(rate) for rate in spec.rates]
    if not (spec.streams or spec.requests or spec.threads):
        return [_Load(hint, rate=rate) for hint in HINTS if hint in spec.hints for rate in rates]
    return [
        _Load(None, streams, requests, threads, rate)
        for streams in spec.streams or (None,)
        for requests in spec.requests or (None,)
        for threads in spec.threads or (None,)
        for rate in rates
    ]
