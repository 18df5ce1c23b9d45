"""The plan: every combination that was asked for, written down before anything is measured."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.core.shapes import OPEN, Named, shape_text
from ovtool.core.trial import PERCENTILES, PRECISIONS, Hint, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovtool.core.variant import Variant

HINTS: tuple[Hint, ...] = ("latency", "throughput")


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """At most ``latency_ms`` at a percentile of the latency, counted from when it was due."""

    latency_ms: float
    percentile: int = 99


@dataclass(frozen=True, slots=True)
class Axes:
    """What a sweep varies; every combination is a trial.

    Args:
        batches: Samples in a request; None takes the batch that the shapes say, else 1.
        hints: Performance hints; left out where streams, requests or threads are given by hand.
        streams: ``NUM_STREAMS`` by hand.
        requests: Requests in flight by hand.
        threads: ``INFERENCE_NUM_THREADS`` by hand.
        rates: Requests that arrive a second, with Poisson gaps; None keeps every request busy.
        find_rate: Look for the highest rate that keeps this limit, instead of ``rates``.
        pinning: Whether threads are bound to processors; None leaves it to the device.
        precisions: Precisions asked for, of every variant that ``precisions_of`` does not name.
        precisions_of: Precisions by the name of a variant.
        shapes: Sets of shapes that models are compiled with, by input; none is the models' own.
        data_shapes: Sets of shapes that are inferred, by input, by models compiled with open
            dimensions; none is the shapes that the models are compiled with.
    """

    batches: Sequence[int] | None = None
    hints: Sequence[str] = HINTS
    streams: Sequence[int] = ()
    requests: Sequence[int] = ()
    threads: Sequence[int] = ()
    rates: Sequence[float | None] = (None,)
    find_rate: LatencyLimit | None = None
    pinning: bool | None = None
    precisions: Sequence[str] = ("default",)
    precisions_of: Mapping[str, Sequence[str]] | None = None
    shapes: Sequence[Mapping[str, tuple[int, ...]]] = ()
    data_shapes: Sequence[Mapping[str, tuple[int, ...]]] = ()

    def check(self) -> None:
        """Check the axes.

        Raises:
            InputError: A batch, count, rate, hint or precision is not possible.
        """
        self._check_arrivals()
        for name in ("batches", "streams", "requests", "threads"):
            for value in getattr(self, name) or ():
                if value < 1:
                    raise InputError(f"{name}: {value} is not a positive whole number")
        if self.batches is not None and not self.batches:
            raise InputError("no batch to measure")
        for hint in self.hints:
            if hint not in HINTS:
                raise InputError(f"unknown hint {hint!r}", suggestion(hint, list(HINTS)))
        asked = [*self.precisions, *(p for ps in (self.precisions_of or {}).values() for p in ps)]
        for precision in asked:
            if precision not in PRECISIONS:
                raise InputError(
                    f"unknown precision {precision!r}", suggestion(precision, list(PRECISIONS))
                )

    def _check_arrivals(self) -> None:
        for rate in self.rates:
            if rate is not None and not 0 < rate < math.inf:
                raise InputError(f"rate: {rate:g} is not a number above 0", "requests a second")
        if self.find_rate is None:
            return
        if tuple(self.rates) != (None,):
            raise InputError("a rate is either given or looked for", "leave --rate out")
        if not 0 < self.find_rate.latency_ms < math.inf:
            raise InputError(f"the latency limit {self.find_rate.latency_ms:g} is not above 0 ms")
        if self.find_rate.percentile not in PERCENTILES:
            known = ", ".join(map(str, PERCENTILES))
            raise InputError(
                f"there is no percentile {self.find_rate.percentile} here", f"known: {known}"
            )


def trials(variants: Sequence[Variant], devices: Sequence[str], axes: Axes) -> tuple[Trial, ...]:
    """Return every combination once, those that will be compared beside each other.

    Raises:
        InputError: The axes are not possible, two variants have one name, a shape is of an input
            that no variant has, or batch and shapes contradict each other.
    """
    axes.check()
    names = [v.name for v in variants]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two variants are called {name!r}", "rename one with --name")
    inputs = list(dict.fromkeys(port.name for v in variants for port in v.record.inputs))
    for name in (name for one in (*axes.shapes, *axes.data_shapes) for name in one):
        if name not in inputs:
            raise InputError(f"no variant has an input {name!r}", suggestion(name, inputs))
    chosen = [
        Trial(
            variant=variant.id,
            variant_name=variant.name,
            device=device,
            batch=batch,
            hint=load.hint,
            streams=load.streams,
            requests=load.requests,
            threads=load.threads,
            pinning=axes.pinning,
            rate=load.rate,
            max_latency_ms=axes.find_rate.latency_ms if axes.find_rate else None,
            percentile=axes.find_rate.percentile if axes.find_rate else None,
            precision=precision,
            shapes=form.shapes,
            data_shapes=form.data_shapes,
        )
        for device in devices
        for form in _forms(axes)
        for batch in dict.fromkeys(b for v in variants for b in _batches(v, form, axes))
        for load in _loads(axes)
        for variant in variants
        if batch in _batches(variant, form, axes)
        for precision in (axes.precisions_of or {}).get(variant.name, axes.precisions)
    ]
    return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True)
class _Form:
    """What a model is compiled with, and what it infers."""

    shapes: Named
    data_shapes: Named


def _forms(axes: Axes) -> Iterator[_Form]:
    for shapes, data in itertools.product(axes.shapes or ({},), axes.data_shapes or ({},)):
        yield _Form(tuple(sorted(shapes.items())), tuple(sorted(data.items())))


def _batches(variant: Variant, form: _Form, axes: Axes) -> Sequence[int]:
    """Return the batches to measure a variant in: those asked for, or the one in its shapes."""
    said = _batch_in("--data-shape", form.data_shapes, variant)
    said = said or _batch_in("--shape", form.shapes, variant)
    if said is None:
        return axes.batches or (1,)
    for batch in axes.batches or ():
        if batch != said.size:
            raise InputError(
                f"--batch {batch} and {said.where} contradict each other: its batch is {said.size}",
                "leave --batch out, or write ? for the batch",
            )
    return (said.size,)


@dataclass(frozen=True, slots=True)
class _Said:
    """A batch as a shape says it."""

    size: int
    where: str


def _batch_in(option: str, shapes: Named, variant: Variant) -> _Said | None:
    """Return the batch that shapes say where the layout of an input has it; None where none."""
    axes = {port.name: port.batch_axis for port in variant.record.inputs}
    found: dict[int, _Said] = {}
    for name, shape in shapes:
        axis = axes.get(name)
        if axis is not None and axis < len(shape) and shape[axis] != OPEN:
            where = f"{option} {name}={shape_text(shape)}"
            found.setdefault(shape[axis], _Said(shape[axis], where))
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(said.where for said in found.values())} have different batches",
            "the samples of a request have a place in every input",
        )
    return next(iter(found.values()), None)


@dataclass(frozen=True, slots=True)
class _Load:
    hint: Hint | None
    streams: int | None = None
    requests: int | None = None
    threads: int | None = None
    rate: float | None = None


def _loads(axes: Axes) -> list[_Load]:
    by_hand = axes.streams or axes.requests or axes.threads
    if not by_hand:
        return [
            _Load(hint, rate=rate) for hint in HINTS if hint in axes.hints for rate in axes.rates
        ]
    return [
        _Load(None, streams, requests, threads, rate)
        for streams in axes.streams or (None,)
        for requests in axes.requests or (None,)
        for threads in axes.threads or (None,)
        for rate in axes.rates
    ]
