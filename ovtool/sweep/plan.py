"""The plan: every combination that was asked for, written down before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.errors import InputError
from ovtool.registry import suggestion
from ovtool.trial import PRECISIONS, Hint, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.variant import Variant

HINTS: tuple[Hint, ...] = ("latency", "throughput")


@dataclass(frozen=True, slots=True)
class Axes:
    """What a sweep varies; every combination is a trial.

    Args:
        batches: Samples in a request.
        hints: Performance hints; left out where streams, requests or threads are given by hand.
        streams: ``NUM_STREAMS`` by hand.
        requests: Requests in flight by hand.
        threads: ``INFERENCE_NUM_THREADS`` by hand.
        precisions: Precisions asked for, of every variant that ``precisions_of`` does not name.
        precisions_of: Precisions by the name of a variant.
        shapes: Dimensions of inputs that stay open otherwise, the same in all trials.
    """

    batches: Sequence[int] = (1,)
    hints: Sequence[str] = HINTS
    streams: Sequence[int] = ()
    requests: Sequence[int] = ()
    threads: Sequence[int] = ()
    precisions: Sequence[str] = ("default",)
    precisions_of: Mapping[str, Sequence[str]] | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None

    def check(self) -> None:
        """Check the axes.

        Raises:
            InputError: A batch, count, hint or precision is not possible.
        """
        for name in ("batches", "streams", "requests", "threads"):
            for value in getattr(self, name):
                if value < 1:
                    raise InputError(f"{name}: {value} is not a positive whole number")
        if not self.batches:
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


def trials(variants: Sequence[Variant], devices: Sequence[str], axes: Axes) -> tuple[Trial, ...]:
    """Return every combination once, those that will be compared beside each other.

    Raises:
        InputError: The axes are not possible, two variants have one name, or a shape is of an
            input that no variant has.
    """
    axes.check()
    names = [v.name for v in variants]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two variants are called {name!r}", "rename one with --name")
    inputs = list(dict.fromkeys(port.name for v in variants for port in v.record.inputs))
    for name in axes.shapes or {}:
        if name not in inputs:
            raise InputError(f"no variant has an input {name!r}", suggestion(name, inputs))
    shapes = tuple(sorted((axes.shapes or {}).items()))
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
            precision=precision,
            shapes=shapes,
        )
        for device in devices
        for batch in axes.batches
        for load in _loads(axes)
        for variant in variants
        for precision in (axes.precisions_of or {}).get(variant.name, axes.precisions)
    ]
    return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True)
class _Load:
    hint: Hint | None
    streams: int | None = None
    requests: int | None = None
    threads: int | None = None


def _loads(axes: Axes) -> list[_Load]:
    by_hand = axes.streams or axes.requests or axes.threads
    if not by_hand:
        return [_Load(hint) for hint in HINTS if hint in axes.hints]
    return [
        _Load(None, streams, requests, threads)
        for streams in axes.streams or (None,)
        for requests in axes.requests or (None,)
        for threads in axes.threads or (None,)
    ]
