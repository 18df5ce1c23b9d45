"""Notes of a table: on speed-ups, on unfinished sweeps, and the grouped notes of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.results.speedup import CPU_TIME_DOUBT, SPEEDUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from ovtool.results.sweep_data import SweepInfo

_EXAMPLES = 3
"""Number of rows that a note names."""
_HOSTS = 8
"""Number of hosts that a note names."""


@dataclass(frozen=True, slots=True)
class MeasurementNotes:
    """Notes of measurements as arrays, in the order of the journals."""

    texts: tuple[tuple[str, str, str], ...]
    """Id, message and remedy of the different notes."""
    numbers: NDArray[np.int64]
    """Position in ``texts`` of each note."""
    rows: NDArray[np.int64]
    """Index of the row of each note."""
    evidence: pa.Array


def speedup_notes(frame: pd.DataFrame) -> Iterator[Note]:
    """Yield the notes on how speed-ups were computed and which speed-ups are unknown."""

    def labels_by_method(method: str) -> list[str]:
        by = [frame[f"_method_{precision}"] == method for precision in SPEEDUPS]
        return list(dict.fromkeys(frame.loc[by[0] | by[1], "_label"]))

    if labels := labels_by_method("cpu_time"):
        yield make_note("speedup-by-cpu-time", rows_text(labels), doubt_pct=100 * CPU_TIME_DOUBT)
    if labels := labels_by_method("unpaired"):
        yield make_note("speedup-unpaired", rows_text(labels))
    closed_loop = frame[(frame["status"] == "ok") & frame["rate_rps"].isna()]
    for precision, name in SPEEDUPS.items():
        unknown = closed_loop.loc[closed_loop[name].isna(), "variant"].unique()
        if len(unknown):
            yield make_note(f"no-speedup-{precision}", ", ".join(unknown))


def progress_notes(sweeps: Sequence[SweepInfo]) -> Iterator[Note]:
    """Yield the notes on trials of earlier plans and on trials not measured yet."""
    for sweep in sweeps:
        if sweep.outdated:
            yield make_note("earlier-plan", f"{sweep.name}: {sweep.outdated} trials")
        if sweep.remaining:
            evidence = f"{sweep.name}: {sweep.remaining} of {sweep.planned} trials"
            yield make_note("sweep-unfinished", evidence)


def drift_notes(sweeps: Sequence[SweepInfo]) -> Iterator[Note]:
    """Yield the notes on the speed of the hosts of a fleet, before and after their work."""
    drifts = [sweep.drift for sweep in sweeps if sweep.drift is not None]
    changed, steady = (
        units.listing([f"{d.host} {d.text}" for d in drifts if d.significant == kind], _HOSTS, "; ")
        for kind in (True, False)
    )
    if changed:
        yield make_note("host-speed-changed", changed)
    if steady:
        yield make_note("host-speed-steady", steady)


def group_notes(notes: MeasurementNotes, frame: pd.DataFrame) -> Iterator[Note]:
    """Yield each note of the measurements once, with the trials that have the note.

    Notes with different evidence stay separate while there are few of them.  Otherwise a single
    note has examples of the evidence.
    """
    import numpy as np

    kept = np.flatnonzero(np.isin(notes.rows, frame.index))
    evidence_codes = np.asarray(notes.evidence.dictionary_encode().indices)
    groups = []
    for same_text in _group_positions(kept, notes.numbers[kept]):
        same_evidence = _group_positions(same_text, evidence_codes[same_text])
        groups += same_evidence if len(same_evidence) <= _EXAMPLES else [same_text]
    labels = frame["_label"]
    for group in sorted(groups, key=lambda positions: int(positions[0])):
        identifier, message, remedy = notes.texts[notes.numbers[group[0]]]
        shown = group[:_EXAMPLES].tolist()
        names = [str(labels.loc[notes.rows[position]]) for position in shown]
        evidence = [notes.evidence[position].as_py() for position in shown]
        more = f" and {len(group) - len(shown)} more" if len(group) > len(shown) else ""
        if (evidence_codes[group] == evidence_codes[group[0]]).all():
            text = "; ".join([*filter(None, evidence[:1]), *names])
        else:
            text = "; ".join(f"{n}: {e}" for n, e in zip(names, evidence, strict=True))
        yield Note(identifier, message, f"{text}{more}", remedy)


def _group_positions(
    positions: NDArray[np.int64], keys: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Return the positions with equal keys together, each group in order."""
    import numpy as np

    if not len(positions):
        return []
    _, counts = np.unique(keys, return_counts=True)
    return np.split(positions[np.argsort(keys, kind="stable")], np.cumsum(counts)[:-1])


def rows_text(labels: Sequence[str]) -> str:
    """Return the number of rows, and the names of some."""
    return f"{units.count_text(len(labels), 'row')}: {units.listing(labels, _EXAMPLES, '; ')}"
