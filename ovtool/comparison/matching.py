"""Which trial of sweep A corresponds to which trial of sweep B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.notes import Note, make_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial
    from ovtool.results.sweep_data import SweepData

_RAN: tuple[str, ...] = ("ok", "failed")
"""Status of a trial that ran on its device; an estimate did not."""


@dataclass(frozen=True, slots=True)
class MatchedTrial:
    """A trial in both sweeps; ``reruns`` repeat the measurement of A."""

    a: Measurement
    b: Measurement
    reruns: tuple[Measurement, ...] = ()

    @property
    def label(self) -> str:
        """One line of text; a renamed variant has both names."""
        old, new = self.a.trial.variant_name, self.b.trial.variant_name
        return self.a.label if old == new else f"{self.a.label} ({new} in B)"

    @property
    def label_of_variant(self) -> str:
        """The name of the variant; a renamed variant has both names."""
        old, new = self.a.trial.variant_name, self.b.trial.variant_name
        return old if old == new else f"{old} ({new} in B)"

    @property
    def measured(self) -> bool:
        """Whether the trial was measured in both sweeps."""
        return self.a.status == self.b.status == "ok"

    @property
    def measured_reruns(self) -> tuple[Measurement, ...]:
        """The reruns that did not fail."""
        return tuple(m for m in self.reruns if m.status == "ok")


@dataclass(frozen=True, slots=True)
class Matching:
    """The matched trials of two sweeps, and those of one sweep only."""

    pairs: tuple[MatchedTrial, ...]
    only_a: tuple[Measurement, ...]
    only_b: tuple[Measurement, ...]
    notes: tuple[Note, ...]


def match_trials(a: SweepData, b: SweepData, reruns: Sequence[SweepData] = ()) -> Matching:
    """Match the trials of two sweeps by the model's hash, else by the variant's name.

    Excluded devices and estimates are left out; a note lists them.
    """
    in_a, in_b = _comparable(a), _comparable(b)
    by_id = {m.trial.id: m for m in in_b}
    matches = {m.trial.id: (m, by_id[m.trial.id]) for m in in_a if m.trial.id in by_id}
    by_name = {_name_key(m.trial): m for m in in_b if m.trial.id not in matches}
    rebuilt: dict[str, None] = {}
    for old in in_a:
        new = by_name.get(_name_key(old.trial))
        if old.trial.id not in matches and new is not None:
            matches[old.trial.id] = old, new
            rebuilt[f"{old.trial.variant_name}: {old.trial.variant}, {new.trial.variant}"] = None
    matched_b = {new.trial.id for _, new in matches.values()}
    find_rerun = [_finder(_comparable(sweep)) for sweep in reruns]
    return Matching(
        tuple(
            MatchedTrial(
                *matches[m.trial.id], tuple(filter(None, (f(m.trial) for f in find_rerun)))
            )
            for m in in_a
            if m.trial.id in matches
        ),
        tuple(m for m in in_a if m.trial.id not in matches),
        tuple(m for m in in_b if m.trial.id not in matched_b),
        tuple(_notes(a, b, rebuilt)),
    )


def _name_key(trial: Trial) -> tuple[str, str, str]:
    """Return the identity of a trial without its model's hash: releases convert differently."""
    return trial.group, trial.precision, trial.variant_name


def _comparable(sweep: SweepData) -> list[Measurement]:
    return [m for m in sweep.real if m.status in _RAN]


def _finder(measurements: Iterable[Measurement]) -> Callable[[Trial], Measurement | None]:
    """Return a function that finds the measurement of a trial, by hash or by name."""
    listed = list(measurements)
    by_id = {m.trial.id: m for m in listed}
    by_name = {_name_key(m.trial): m for m in listed}
    return lambda trial: by_id.get(trial.id) or by_name.get(_name_key(trial))


def _notes(a: SweepData, b: SweepData, rebuilt: Iterable[str]) -> Iterator[Note]:
    if listed := "; ".join(rebuilt):
        yield make_note("matched-by-name", listed)
    for side, sweep in (("A", a), ("B", b)):
        if sweep.excluded:
            yield make_note("emulated-left-out", f"{side}: {_count(sweep.excluded)}")
        estimates = [m for m in sweep.measurements if m.status not in _RAN]
        if estimates:
            yield make_note("estimates-not-compared", f"{side}: {_count(estimates)}")
        if sweep.outdated:
            yield make_note("earlier-plan", f"{side}: {sweep.outdated} trials")


def _count(measurements: Sequence[Measurement]) -> str:
    devices = ", ".join(dict.fromkeys(m.device for m in measurements))
    return f"{len(measurements)} trials of {devices}"
