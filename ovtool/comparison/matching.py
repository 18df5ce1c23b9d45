"""Which trial of one sweep stands for which of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.notes import Note, make_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial
    from ovtool.results.reading import Sweep

Key = tuple[str, str, str]
_RAN: tuple[str, ...] = ("ok", "failed")
"""What was tried on a device; any other status is no measurement."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A trial as both sweeps measured it; ``again`` are reruns of A."""

    a: Measurement
    b: Measurement
    again: tuple[Measurement, ...] = ()

    @property
    def label(self) -> str:
        """One line for people; a variant that was renamed has both names."""
        old, new = self.a.trial.variant_name, self.b.trial.variant_name
        return self.a.label if old == new else f"{self.a.label} ({new} in B)"


@dataclass(frozen=True, slots=True)
class Matching:
    """The trials of two sweeps, side by side."""

    pairs: tuple[Matched, ...]
    only_a: tuple[Measurement, ...]
    only_b: tuple[Measurement, ...]
    notes: tuple[Note, ...]


def by_name(trial: Trial) -> Key:
    """Return what a trial is apart from the hash of its model: releases convert anew."""
    return trial.group, trial.precision, trial.variant_name


def match(a: Sweep, b: Sweep, reruns: Sequence[Sweep] = ()) -> Matching:
    """Match the trials of two sweeps: by the model's hash, else by the variant's name.

    Rows of emulated devices are left out, and a note says so.
    """
    mine, theirs = _real(a), _real(b)
    ids = {m.trial.id: m for m in theirs}
    found = {m.trial.id: (m, ids[m.trial.id]) for m in mine if m.trial.id in ids}
    taken = {one.trial.id for _, one in found.values()}
    names = {by_name(m.trial): m for m in theirs if m.trial.id not in taken}
    changed: dict[str, None] = {}
    for one in mine:
        other = names.get(by_name(one.trial))
        if one.trial.id not in found and other is not None:
            found[one.trial.id] = one, other
            changed[f"{one.trial.variant_name}: {one.trial.variant}, {other.trial.variant}"] = None
    taken = {other.trial.id for _, other in found.values()}
    again = [_lookup(_real(sweep)) for sweep in reruns]
    return Matching(
        tuple(
            Matched(one, other, tuple(m for m in (look(one.trial) for look in again) if m))
            for one, other in (found[m.trial.id] for m in mine if m.trial.id in found)
        ),
        tuple(m for m in mine if m.trial.id not in found),
        tuple(m for m in theirs if m.trial.id not in taken),
        tuple(_notes(a, b, changed)),
    )


def _real(sweep: Sweep) -> list[Measurement]:
    return [m for m in sweep.measurements if not m.emulated and m.status in _RAN]


def _lookup(measurements: Iterable[Measurement]) -> Callable[[Trial], Measurement | None]:
    """Return what finds the measurement of a trial in a rerun, by hash or by name."""
    every = list(measurements)
    ids = {m.trial.id: m for m in every}
    names = {by_name(m.trial): m for m in every}
    return lambda trial: ids.get(trial.id) or names.get(by_name(trial))


def _notes(a: Sweep, b: Sweep, changed: Iterable[str]) -> Iterable[Note]:
    if listed := "; ".join(changed):
        yield make_note("matched-by-name", listed)
    for side, sweep in (("A", a), ("B", b)):
        devices = [m.device for m in sweep.measurements if m.emulated]
        if devices:
            listed = ", ".join(dict.fromkeys(devices))
            yield make_note("emulated-left-out", f"{side}: {len(devices)} trials of {listed}")
        estimates = [m.device for m in sweep.measurements if m.status not in _RAN]
        if estimates:
            listed = ", ".join(dict.fromkeys(estimates))
            yield make_note(
                "estimates-not-compared", f"{side}: {len(estimates)} trials of {listed}"
            )
        if sweep.outdated:
            yield make_note("earlier-plan", f"{side}: {sweep.outdated} trials")
