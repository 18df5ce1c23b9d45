"""What a table's notes say: of the measurements, of speed-ups, of sweeps that are not finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.notes import Note, make_note
from ovtool.results.speedup import CPU_TIME_DOUBT
from ovtool.results.stored import SPEEDUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from ovtool.results.stored import SweepRows

_SHOWN = 3
"""Examples that a note names."""


@dataclass(frozen=True, slots=True)
class Remarks:
    """The measurements' own notes: for each, its number, its row and its evidence."""

    notes: tuple[tuple[str, str, str], ...]
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    evidence: pa.Array


def of_speedups(frame: pd.DataFrame) -> Iterator[Note]:
    """Yield how speed-ups were taken where that matters, and which are lacking."""

    def taken(method: str) -> list[str]:
        by = [frame[f"_method_{precision}"] == method for precision in SPEEDUPS]
        return list(dict.fromkeys(frame.loc[by[0] | by[1], "_label"]))

    if by_cpu_time := taken("cpu_time"):
        yield make_note(
            "speedup-by-cpu-time", rows_text(by_cpu_time), doubt_pct=100 * CPU_TIME_DOUBT
        )
    if unpaired := taken("unpaired"):
        yield make_note("speedup-unpaired", rows_text(unpaired))
    yield from _without_speedup(frame)


def _without_speedup(frame: pd.DataFrame) -> Iterator[Note]:
    """Say for which variants there is nothing to be faster than, and what would change that."""
    fine = frame[(frame["status"] == "ok") & frame["rate_rps"].isna()]
    for precision, name in SPEEDUPS.items():
        missing = fine.loc[fine[name].isna(), "variant"].unique()
        if len(missing):
            yield make_note(f"no-speedup-{precision}", ", ".join(missing))


def unfinished(sweeps: Sequence[SweepRows]) -> Iterator[Note]:
    """Yield what sweeps have planned and not measured, or measured by earlier plans."""
    for about in (sweep.about for sweep in sweeps):
        if about.outdated:
            yield make_note("earlier-plan", f"{about.name}: {about.outdated} trials")
        if about.left:
            yield make_note(
                "sweep-unfinished", f"{about.name}: {about.left} of {about.planned} trials"
            )


def grouped(remarks: Remarks, frame: pd.DataFrame) -> Iterator[Note]:
    """Yield the measurements' own notes, each once, with the trials that it is about.

    Notes whose evidence differs stay apart, unless it differs from trial to trial: then there are
    examples of it.
    """
    import numpy as np

    kept = np.flatnonzero(np.isin(remarks.rows, frame.index))
    kinds = np.asarray(remarks.evidence.dictionary_encode().indices)
    apart = []
    for group in _grouped_places(kept, remarks.numbers[kept]):
        different = _grouped_places(group, kinds[group])
        apart += different if len(different) <= _SHOWN else [group]
    labels = frame["_label"]
    for group in sorted(apart, key=lambda places: int(places[0])):
        identifier, message, remedy = remarks.notes[remarks.numbers[group[0]]]
        shown = group[:_SHOWN].tolist()
        names = [str(labels.loc[remarks.rows[place]]) for place in shown]
        evidence = [remarks.evidence[place].as_py() for place in shown]
        more = f" and {len(group) - len(shown)} more" if len(group) > len(shown) else ""
        if (kinds[group] == kinds[group[0]]).all():
            told = "; ".join([*filter(None, evidence[:1]), *names])
        else:
            told = "; ".join(f"{n}: {e}" for n, e in zip(names, evidence, strict=True))
        yield Note(identifier, message, f"{told}{more}", remedy)


def _grouped_places(places: NDArray[np.int64], keys: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return places with equal keys together, each group in its order."""
    import numpy as np

    if not len(places):
        return []
    _, counts = np.unique(keys, return_counts=True)
    return np.split(places[np.argsort(keys, kind="stable")], np.cumsum(counts)[:-1])


def rows_text(labels: Sequence[str]) -> str:
    """Return the number of rows, and the names of some."""
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    count = f"{len(labels)} {'row' if len(labels) == 1 else 'rows'}"
    return f"{count}: {'; '.join(labels[:_SHOWN])}{more}"
